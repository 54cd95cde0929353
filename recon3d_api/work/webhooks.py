"""Sends messages to webhooks, signed as the Standard Webhooks specification says.

A message may come twice when a server is killed between the answer and the row, always under the same
``webhook-id``.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import http.client
import time
from collections.abc import Callable

import recon3d
from recon3d_api.settings import Settings
from recon3d_api.store import webhooks
from recon3d_api.store.database import Database
from recon3d_api.work import outside


def signature(secret: str, message_id: str, timestamp: str, body: str) -> str:
    """Sign a message.

    Parameters
    ----------
    secret : str
    message_id, timestamp, body : str

    Returns
    -------
    str
        Value of the header ``webhook-signature``.
    """
    signed = f"{message_id}.{timestamp}.{body}".encode()
    digest = hmac.new(webhooks.key_of(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode('ascii')}"


class WebhookQueue:
    """Messages to webhooks, for the outbox.

    Parameters
    ----------
    settings : Settings
    database : Database
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def claim(self) -> Callable[[], None] | None:
        """Claim the message that is due longest.

        Returns
        -------
        callable or None
            Sends it.
        """
        message = webhooks.claim(self._database)
        return None if message is None else functools.partial(self._send, message)

    def wait(self) -> float | None:
        """Tell when the next message is due.

        Returns
        -------
        float or None
            Seconds; None when none waits.
        """
        return webhooks.wait(self._database)

    def forget(self) -> None:
        """Remove from each webhook's log all but the newest messages."""
        webhooks.forget_old(self._database)

    def _send(self, message: webhooks.Message) -> None:
        status, error = self._attempt(message)
        webhooks.conclude(self._database, message, status, error)

    def _attempt(self, message: webhooks.Message) -> tuple[int | None, str]:
        name, timestamp = f"msg_{message.id}", str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"recon3d/{recon3d.__version__}",
            "webhook-id": name,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(message.secret, name, timestamp, message.body),
        }
        try:
            status = outside.post(
                message.url, message.body.encode(), headers, self._settings.webhook_networks
            )
        except outside.Refused as error:
            return None, f"{error}."
        except (OSError, http.client.HTTPException, ValueError) as error:
            return None, f"{type(error).__name__}: {error}"
        if 200 <= status < 300:
            return status, ""
        moved = "; redirects are not followed" if 300 <= status < 400 else ""
        return status, f"The answer was {status}{moved}."

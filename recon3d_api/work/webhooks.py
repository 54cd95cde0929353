"""Sends messages to webhooks, signed as the Standard Webhooks specification says.

Any number of servers and workers share the queue: each message is sent at least once. It may come
twice when a server is killed between the answer and the row, always under the same ``webhook-id``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import logging
import threading
import time

from sqlalchemy.exc import SQLAlchemyError

import recon3d
from recon3d_api.settings import Settings
from recon3d_api.store import webhooks
from recon3d_api.store.database import Database
from recon3d_api.work import outside

logger = logging.getLogger("recon3d_api.work.webhooks")

_POLL, _THREADS, _FORGET = 2.0, 4, 3600.0


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


class WebhookSender:
    """Sends messages that are due, in threads of its own.

    Parameters
    ----------
    settings : Settings
    database : Database
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._free = threading.Semaphore(_THREADS)
        self._thread: threading.Thread | None = None
        self._forgot = time.monotonic()

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._work, name="recon3d-webhooks", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look into the queue at once."""
        self._wake.set()

    def stop(self) -> None:
        """End, after the messages that are on their way."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(5)
        deadline = time.monotonic() + 20
        for _ in range(_THREADS):
            self._free.acquire(timeout=max(deadline - time.monotonic(), 0))

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                while not self._stopping.is_set() and self._begin_one():
                    pass
                if time.monotonic() - self._forgot > _FORGET:
                    self._forgot = time.monotonic()
                    webhooks.forget_old(self._database)
            except SQLAlchemyError as error:
                logger.warning("The database does not answer: %s", error)
            self._wake.wait(_POLL)
            self._wake.clear()

    def _begin_one(self) -> bool:
        self._free.acquire()
        message = None
        try:
            message = webhooks.claim(self._database)
        finally:
            if message is None:
                self._free.release()
        if message is None:
            return False
        threading.Thread(target=self._send, args=(message,), daemon=True).start()
        return True

    def _send(self, message: webhooks.Message) -> None:
        try:
            status, error = self._attempt(message)
            webhooks.conclude(self._database, message, status, error)
        except SQLAlchemyError as problem:
            logger.warning("How a webhook went was not written; it is sent again: %s", problem)
        finally:
            self._free.release()
            self._wake.set()

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

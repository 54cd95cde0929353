"""Tells users by mail that their runs are over."""

from __future__ import annotations

import functools
import logging
import smtplib
from collections.abc import Callable

from recon3d_api.mail import Mail, Mailer, is_lasting
from recon3d_api.settings import Settings
from recon3d_api.store import run_mails
from recon3d_api.store.database import Database

logger = logging.getLogger("recon3d_api.mail")

_MOST_OF_ERROR = 1000


class RunMailQueue:
    """Mail about ends of runs, for the outbox.

    Parameters
    ----------
    settings : Settings
    database : Database
    mailer : Mailer
    """

    def __init__(self, settings: Settings, database: Database, mailer: Mailer) -> None:
        self._settings = settings
        self._database = database
        self._mailer = mailer

    def claim(self) -> Callable[[], None] | None:
        """Claim the mail that is due longest.

        Returns
        -------
        callable or None
            Sends it.
        """
        message = run_mails.claim(self._database)
        return None if message is None else functools.partial(self._send, message)

    def wait(self) -> float | None:
        """Tell when the next mail is due.

        Returns
        -------
        float or None
            Seconds; None when none waits.
        """
        return run_mails.wait(self._database)

    def forget(self) -> None:
        """Remove what is known of old mail."""
        run_mails.forget_old(self._database)

    def _send(self, message: run_mails.Message) -> None:
        error, lasting = "", False
        try:
            self._mailer.deliver(mail_of(message, self._settings.public_url))
            logger.info("Mail about a run sent", extra={"run": message.run_id})
        except (smtplib.SMTPException, OSError, ValueError) as problem:
            error, lasting = str(problem), is_lasting(problem)
            logger.warning("Mail about a run was not sent: %s", problem, extra={"run": message.run_id})
        run_mails.conclude(self._database, message, error, lasting=lasting)


def mail_of(message: run_mails.Message, public_url: str) -> Mail:
    """Write the mail.

    Parameters
    ----------
    message : Message
    public_url : str
        Address of the service; settings with a mail server have one.

    Returns
    -------
    Mail
    """
    name = " ".join(message.project.split())
    done = "is completed" if message.status == "completed" else "has failed"
    what = f"The reconstruction up to {message.until}" if message.until else "The reconstruction"
    parts = [f'{what} of "{name}" {done}.', message.verdict, (message.error or "")[:_MOST_OF_ERROR]]
    parts.append(f"{public_url}/#/projects/{message.project_id}")
    parts.append(
        f"The account {message.username} asks for this mail. To get no more, turn it off at "
        f"{public_url}/#/account, or send PUT {public_url}/api/v1/auth/notifications with "
        '{"run_ended": false}.'
    )
    text = "\n\n".join(part for part in parts if part)
    return Mail(message.to, f"{message.status.capitalize()}: {name}", f"{text}\n")

"""Mail over SMTP, sent by a thread of its own: no request waits for a mail server."""

from __future__ import annotations

import functools
import heapq
import itertools
import logging
import smtplib
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from typing import TypeAlias

from recon3d_api.settings import Settings

logger = logging.getLogger("recon3d_api.mail")

_PORTS = {"starttls": 587, "ssl": 465, "none": 25}
_WAITS = (5.0, 30.0, 120.0, 600.0)
#: More would be lost anyway when the process ends.
_MOST = 1000
_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Mail:
    """A mail of plain text."""

    to: str
    subject: str
    text: str


#: Makes a mail, or finds that there is none to send.
MakeMail: TypeAlias = Callable[[], Mail | None]


def _same(mail: Mail) -> Mail:
    return mail


class Mailer:
    """Sends mail as the settings say.

    Parameters
    ----------
    settings : Settings
    waits : tuple of float
        Seconds before each further attempt.
    """

    def __init__(self, settings: Settings, waits: tuple[float, ...] = _WAITS) -> None:
        self._settings = settings
        self._waits = waits
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, int, MakeMail]] = []
        self._stop_by: float | None = None
        self._thread: threading.Thread | None = None

    @property
    def enabled(self) -> bool:
        """Whether there is a mail server."""
        return bool(self._settings.smtp_host)

    def deliver(self, mail: Mail) -> None:
        """Send a mail now; for callers that may wait.

        Parameters
        ----------
        mail : Mail

        Raises
        ------
        smtplib.SMTPException
            The mail server refuses.
        OSError
            The mail server cannot be reached.
        """
        settings = self._settings
        message = self._message(mail)
        port = settings.smtp_port or _PORTS[settings.smtp_security]
        if settings.smtp_security == "ssl":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.smtp_host, port, timeout=settings.smtp_timeout, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(settings.smtp_host, port, timeout=settings.smtp_timeout)
        with server:
            if settings.smtp_security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if settings.smtp_user:
                server.login(settings.smtp_user, settings.smtp_password)
            server.send_message(message)

    def post(self, make: MakeMail | Mail) -> None:
        """Send a mail soon; failures are logged, and tried again a few times.

        Parameters
        ----------
        make : Mail or callable
            A callable is called in the mailer's thread.
        """
        work: MakeMail = functools.partial(_same, make) if isinstance(make, Mail) else make
        with self._changed:
            if len(self._due) >= _MOST or self._stop_by is not None:
                logger.error("A mail is dropped: %d wait already, or the server stops", len(self._due))
                return
            heapq.heappush(self._due, (time.monotonic(), next(self._numbers), 0, work))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="recon3d-mail", daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self) -> None:
        """End; mail that was not tried yet is tried for some seconds."""
        with self._changed:
            self._stop_by = time.monotonic() + _STOP_SECONDS
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(_STOP_SECONDS + self._settings.smtp_timeout)

    def _message(self, mail: Mail) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._settings.mail_from, mail.to, mail.subject
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=parseaddr(self._settings.mail_from)[1].rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        return message

    def _work(self) -> None:
        while (entry := self._next()) is not None:
            _, number, attempt, make = entry
            try:
                mail = make()
            except Exception:  # whatever one mail does, the next one is sent
                logger.exception("A mail cannot be made")
                continue
            if mail is None or (again := self._attempt(mail, attempt)) is None:
                continue
            # The same mail, not another one: it may hold a token that was made for it.
            made: MakeMail = functools.partial(_same, mail)
            with self._changed:
                heapq.heappush(self._due, (time.monotonic() + again, number, attempt + 1, made))

    def _next(self) -> tuple[float, int, int, MakeMail] | None:
        """Wait for what is due; None at the end."""
        with self._changed:
            while True:
                now = time.monotonic()
                if self._stop_by is not None and (
                    now > self._stop_by or not any(attempt == 0 for _, _, attempt, _ in self._due)
                ):
                    if self._due:
                        logger.error("The server stops; %d mails were not sent", len(self._due))
                    return None
                if self._due and self._due[0][0] <= now:
                    return heapq.heappop(self._due)
                self._changed.wait(self._due[0][0] - now if self._due else None)

    def _attempt(self, mail: Mail, attempt: int) -> float | None:
        """Try once; the seconds to wait for the next attempt, None when there is to be none."""
        try:
            self.deliver(mail)
            logger.info("Mail sent", extra={"subject": mail.subject})
            return None
        except (smtplib.SMTPException, OSError) as error:
            lasting = isinstance(error, smtplib.SMTPRecipientsRefused) and all(
                code >= 500 for code, _ in error.recipients.values()
            )
            if lasting or attempt >= len(self._waits):
                logger.error("A mail is given up after %d attempts: %s", attempt + 1, error)
                return None
            logger.warning("A mail is tried again in %g s: %s", self._waits[attempt], error)
            return self._waits[attempt]
        except ValueError as error:  # a header that cannot be
            logger.error("A mail cannot be made: %s", error)
            return None

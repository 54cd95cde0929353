"""Mail, sent to a real SMTP server."""

from __future__ import annotations

import contextlib
import email
import email.policy
import logging
import smtplib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from pydantic import ValidationError

from recon3d_api.mail import Mail, Mailer
from recon3d_api.settings import Settings
from tests.api.conftest import wait_for

MAIL = Mail("ada@example.org", "Grüße", "Ein Text.\n.\nMit Punkt.\n")
SENDER = {"mail_from": "recon3d <r@example.org>", "public_url": "https://recon3d.example.org/"}


class Inbox:
    """What a server does with mail: refuse some, keep the rest."""

    def __init__(self, refuse: int = 0, recipient: str = "250 OK") -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.refuse = refuse
        self.recipient = recipient
        self.asked = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, to: str, options: Any) -> str:
        self.asked += 1
        if self.recipient == "250 OK":
            envelope.rcpt_tos.append(to)
        return self.recipient

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        if self.refuse:
            self.refuse -= 1
            return "451 Try again later"
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append(message)
        self.recipients += envelope.rcpt_tos
        return "250 OK"


class AnyPort(Controller):
    """Listens on a free port, also with a certificate that this machine does not trust."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        with socket.create_connection((self.hostname, self.port), timeout=5) as plain:
            if self.ssl_context is None:
                plain.recv(1)
                return
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(plain) as wrapped:
                wrapped.recv(1)


@contextlib.contextmanager
def smtp_server(inbox: Inbox, **options: Any) -> Iterator[dict[str, Any]]:
    """Settings of a mail server that runs until the block ends."""
    controller = AnyPort(inbox, hostname="127.0.0.1", port=0, **options)
    controller.start()
    try:
        yield {**SENDER, "smtp_host": "localhost", "smtp_port": controller.port, "smtp_security": "none"}
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    kind = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", path, "-out", path.with_suffix(".crt")]
    subprocess.run(["openssl", "req", *kind, *names], check=True, capture_output=True)
    with open(path, "ab") as file:
        file.write(path.with_suffix(".crt").read_bytes())
    return path


def tls(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def test_a_mail_arrives_in_one_piece() -> None:
    inbox = Inbox()
    with smtp_server(inbox) as settings:
        Mailer(Settings(**settings)).deliver(MAIL)
    (mail,) = inbox.mails
    assert inbox.recipients == ["ada@example.org"]
    assert mail["From"] == "recon3d <r@example.org>"
    assert mail["Subject"] == "Grüße"
    assert mail.get_content().replace("\r\n", "\n") == MAIL.text
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail["Date"]


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # TLS is there already when the server is asked
@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_connections_are_protected(security: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is checked, and the password is sent only after that."""
    logins = []

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"pw", handled=False)

    inbox, context = Inbox(), tls(certificate)
    options: dict[str, Any] = {"authenticator": authenticate, "auth_required": True}
    options |= {"tls_context": context, "require_starttls": True} if security == "starttls" else {}
    options |= {"ssl_context": context, "auth_require_tls": False} if security == "ssl" else {}
    with smtp_server(inbox, **options) as settings:
        settings |= {"smtp_security": security, "smtp_user": "bot", "smtp_password": "pw"}
        with pytest.raises(ssl.SSLCertVerificationError):
            Mailer(Settings(**settings)).deliver(MAIL)
        assert logins == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
        Mailer(Settings(**settings)).deliver(MAIL)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            Mailer(Settings(**{**settings, "smtp_password": "wrong"})).deliver(MAIL)
    assert logins[0] == (b"bot", b"pw")
    assert len(inbox.mails) == 1


def test_a_server_without_starttls_gets_nothing() -> None:
    inbox = Inbox()
    with smtp_server(inbox) as settings, pytest.raises(smtplib.SMTPNotSupportedError):
        Mailer(Settings(**{**settings, "smtp_security": "starttls"})).deliver(MAIL)
    assert inbox.mails == []


def test_posting_does_not_wait_and_is_tried_again() -> None:
    inbox = Inbox(refuse=2)
    with smtp_server(inbox) as settings:
        mailer = Mailer(Settings(**settings), waits=(0.05, 0.05))
        began = time.monotonic()
        mailer.post(MAIL)
        assert time.monotonic() - began < 0.05
        wait_for(lambda: inbox.mails)
        mailer.stop()
    assert inbox.asked == 3


def test_a_mail_is_given_up_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox(refuse=100)
    caplog.set_level(logging.INFO, "recon3d_api.mail")
    with smtp_server(inbox) as settings:
        mailer = Mailer(Settings(**settings), waits=(0.02, 0.02))
        mailer.post(MAIL)
        wait_for(lambda: "given up after 3 attempts" in caplog.text)
        inbox.refuse = 0
        mailer.post(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        mailer.post(lambda: None)
        mailer.post(MAIL)
        wait_for(lambda: inbox.mails)
        mailer.stop()
    assert "A mail cannot be made" in caplog.text
    assert len(inbox.mails) == 1


def test_an_unknown_recipient_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox(recipient="550 No such user")
    with smtp_server(inbox) as settings:
        mailer = Mailer(Settings(**settings), waits=(0.0, 0.0))
        mailer.post(MAIL)
        wait_for(lambda: "given up after 1 attempts" in caplog.text)
        mailer.stop()
    assert inbox.asked == 1


def test_what_was_posted_is_sent_before_the_end(caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox()
    with smtp_server(inbox) as settings:
        mailer = Mailer(Settings(**settings))
        for _ in range(5):
            mailer.post(MAIL)
        mailer.stop()
        assert len(inbox.mails) == 5
        mailer.post(MAIL)
        assert "A mail is dropped" in caplog.text


def test_a_dead_server_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    mailer = Mailer(Settings(**SENDER, smtp_host="127.0.0.1", smtp_port=1), waits=(60.0,))
    mailer.post(MAIL)
    wait_for(lambda: "tried again in 60 s" in caplog.text)
    began = time.monotonic()
    mailer.stop()
    assert time.monotonic() - began < 2
    assert "1 mails were not sent" in caplog.text


@pytest.mark.parametrize("to", ["a@example.org\nBcc: b@example.org", "a@example.org\r\nX: y"])
def test_headers_cannot_be_injected(to: str) -> None:
    with pytest.raises(ValueError, match=r"linefeed|newline|header"):
        Mailer(Settings(**SENDER, smtp_host="127.0.0.1", smtp_port=1)).deliver(Mail(to, "s", "t"))


@pytest.mark.parametrize(
    ("values", "variable"),
    [
        ({"smtp_host": "mail", "public_url": "https://x.example"}, "mail_from"),
        ({"smtp_host": "mail", "mail_from": "r@example.org"}, "public_url"),
        ({"mail_from": "nobody"}, "mail_from"),
        ({"public_url": "x.example"}, "public_url"),
        ({"public_url": "https://x.example/?q"}, "public_url"),
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, Any], variable: str) -> None:
    with pytest.raises(ValidationError) as info:
        Settings(**values)
    assert [row["loc"] for row in info.value.errors()] == [(variable,)]

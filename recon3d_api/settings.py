"""What the service can be told: environment variables with the prefix ``RECON3D_API_``."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from email.utils import parseaddr
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from email_validator import EmailNotValidError, validate_email
from limits import parse
from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

MIN_SECRET_BYTES = 32
_SECRET_FILE = "secret.key"
_DEFAULTS = ("secret", "changeme", "change-me", "change_me", "password", "your-", "example", "default")


_RATES = ("rate_limit", "rate_limit_processing", "rate_limit_login")
_DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql+psycopg")


class InsecureSettings(ValueError):
    """The settings would make the service unsafe."""


class Settings(BaseSettings):
    """Settings of the service.

    Attributes
    ----------
    data_dir : Path
        Folder of the database, the secret, uploads and projects; all servers and workers of one
        service share it under the same path.
    database_url : str
        SQLAlchemy URL; by default SQLite in `data_dir`. PostgreSQL: ``postgresql://user:pw@host/db``.
    secret_key : str
        Key that tokens are signed with; by default a generated one in `data_dir`, mode 600.
    environment : {"development", "production"}
        Production refuses weak and well-known secrets.
    token_minutes : int
        How long a token is good for.
    max_upload_mb : int
        Largest file that is taken, in megabytes of 1024 x 1024 bytes.
    max_upload_files : int
        Files that one upload of images may hold.
    intakes : int
        Uploads that are checked at once; of one user one fewer, so that nobody waits for a busy user.
    min_free_mb : int
        Uploads are refused, and the service is not ready, when the disk has less room.
    rate_limit, rate_limit_processing, rate_limit_login : str
        As in ``10/second``; empty turns a limit off. Login counts failures, per user and address.
    redis_url : str
        Where rate limits are counted when several servers share them; by default in memory.
    cors_origins : list of str
        Origins that browsers may call from, separated by commas.
    runners : int
        Runs that this process works on at once; 0 leaves them to ``recon3d-api worker``.
    run_workers : int, optional
        Worker processes of a run; by default one a core.
    scheduler : str
        Address of a Dask scheduler that runs send their work to.
    engine : {"auto", "cpu", "cuda", "colmap-cuda"}
        Engine of the dense stage.
    lease_seconds : float
        A run whose runner was not heard of for so long is taken over.
    max_crashes : int
        A run whose process died so often without finishing a stage is given up.
    log_format : {"json", "text"}
    log_level : str
    audit_days : int
        How long the audit log keeps its entries.
    smtp_host : str
        Mail server; without one, the service sends no mail.
    smtp_port : int, optional
        By default 587 for STARTTLS, 465 for SSL, and 25 for neither.
    smtp_security : {"starttls", "ssl", "none"}
        How the connection to the mail server is protected.
    smtp_user, smtp_password : str
        Log in at the mail server; without a user, no login.
    smtp_timeout : float
        Seconds to wait for the mail server.
    mail_from : str
        Sender of the mail, as in ``Models <models@example.org>``.
    public_url : str
        Address of the service for its users, as in ``https://models.example.org``; links in mail begin
        with it.
    registration : {"open", "invitation", "closed"}
        Who may register: everybody, who has an invitation of ``recon3d-api user invite``, or nobody.
    refresh_days : int
        A session of ``POST /auth/session`` that is not used for so long ends.
    webhook_networks : list of str
        Networks that webhooks may reach although they are not public, as in ``10.1.0.0/16``, separated
        by commas.
    operations_token : str
        Bearer token that ``/metrics`` and ``/ready`` need; by default none.
    operations_host : str
        Address of `operations_port`.
    operations_port : int, optional
        Port of its own for ``/metrics`` and ``/ready``; by default the service's.
    quota_disk_mb, quota_projects, quota_queued_runs, quota_uploads : int
        What one user may have: megabytes on disk, projects, runs that wait, uploads at once on one
        server. 0 means no limit.
    body_seconds : float
        A request whose body brings less than 1 KiB a second for so long is refused; 0 means no limit.
    header_seconds : float
        A connection that brings no whole request head for so long is closed; 0 means no limit.
    connections_per_address : int
        Connections that one address may have; proxies in ``FORWARDED_ALLOW_IPS`` (by default
        127.0.0.1) may have any number. 0 means no limit.
    upload_hours : float
        A resumable upload is removed when nothing came of it for so long.
    max_resumable_uploads : int
        Resumable uploads that a user may have, finished ones of the last `upload_hours` included.
    """

    model_config = SettingsConfigDict(env_prefix="RECON3D_API_", extra="ignore")

    data_dir: Path = Path("recon3d-data")
    database_url: str = ""
    secret_key: str = ""
    environment: Literal["development", "production"] = "development"
    token_minutes: int = Field(default=720, ge=1)
    max_upload_mb: int = Field(default=500, ge=1)
    max_upload_files: int = Field(default=1000, ge=1)
    intakes: int = Field(default=2, ge=1, le=64)
    min_free_mb: int = Field(default=200, ge=0)
    rate_limit: str = "10/second"
    rate_limit_processing: str = "2/second"
    rate_limit_login: str = "10/minute"
    redis_url: str = ""
    cors_origins: Annotated[list[str], NoDecode] = []
    runners: int = Field(default=1, ge=0, le=64)
    run_workers: int | None = Field(default=None, ge=1)
    scheduler: str = ""
    engine: Literal["auto", "cpu", "cuda", "colmap-cuda"] = "auto"
    lease_seconds: float = Field(default=15.0, gt=0)
    max_crashes: int = Field(default=3, ge=1)
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    audit_days: int = Field(default=365, ge=1)
    smtp_host: str = ""
    smtp_port: int | None = Field(default=None, ge=1, le=65535)
    smtp_security: Literal["starttls", "ssl", "none"] = "starttls"
    smtp_user: str = ""
    smtp_password: str = ""
    smtp_timeout: float = Field(default=20.0, gt=0)
    mail_from: str = Field(default="", validate_default=True)
    public_url: str = Field(default="", validate_default=True)
    registration: Literal["open", "invitation", "closed"] = "open"
    refresh_days: int = Field(default=30, ge=1)

    webhook_networks: Annotated[list[str], NoDecode] = []
    operations_token: str = ""
    operations_host: str = "127.0.0.1"
    operations_port: int | None = Field(default=None, ge=1, le=65535)
    quota_disk_mb: int = Field(default=0, ge=0)
    quota_projects: int = Field(default=0, ge=0)
    quota_queued_runs: int = Field(default=100, ge=0)
    quota_uploads: int = Field(default=64, ge=0)
    body_seconds: float = Field(default=30.0, ge=0)
    header_seconds: float = Field(default=20.0, ge=0)
    connections_per_address: int = Field(default=200, ge=0)

    upload_hours: float = Field(default=24.0, gt=0)
    max_resumable_uploads: int = Field(default=5000, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, values: Any) -> Any:
        """Empty variables mean the default, except where they turn something off."""
        return {key: value for key, value in values.items() if value != "" or key in _RATES}

    @field_validator(*_RATES)
    @classmethod
    def _rate(cls, value: str) -> str:
        try:
            item = parse(value) if value.strip() else None
        except ValueError:
            item = None
        else:
            if item is None or (item.amount > 0 and item.multiples > 0):
                return value.strip()
        raise ValueError(f"{value!r} is not a rate. Write it as in 10/second, or leave it empty for no limit")

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        try:
            known = not value or make_url(_with_driver(value)).drivername in _DRIVERS
        except (ArgumentError, ValueError):
            known = False
        if not known:
            raise ValueError("Use postgresql://USER:PASSWORD@HOST/NAME or sqlite:////PATH, or leave it empty")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if value and not re.match(r"(rediss?|redis\+\w+)://.", value):
            raise ValueError("Use redis://HOST:PORT/NUMBER, or leave it empty to count in memory")
        return value

    @field_validator("cors_origins", "webhook_networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, value: str, info: ValidationInfo) -> str:
        _needed_for_mail(value, info)
        if value:
            try:
                validate_email(parseaddr(value)[1], check_deliverability=False)
            except EmailNotValidError as error:
                raise ValueError(f"{value!r} is no e-mail address. {error}") from error
        return value

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str, info: ValidationInfo) -> str:
        _needed_for_mail(value, info)
        if value and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
            raise ValueError("Use https://HOST, without a query")
        return value.rstrip("/")

    @field_validator("webhook_networks")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for text in value:
            try:
                ip_network(text)
            except ValueError as error:
                raise ValueError(f"{error}. Write networks as in 10.1.0.0/16, separated by commas") from error
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def max_upload_bytes(self) -> int:
        """Largest file that is taken."""
        return self.max_upload_mb * 1024 * 1024

    @property
    def resolved_database_url(self) -> str:
        """The database's URL, with the driver that is installed."""
        return _with_driver(self.database_url or f"sqlite:///{self.data_dir / 'recon3d.db'}")

    @property
    def projects_dir(self) -> Path:
        """Folder of the projects."""
        return self.data_dir / "projects"

    @property
    def incoming_dir(self) -> Path:
        """Folder of uploads that are on their way."""
        return self.data_dir / "incoming"

    @property
    def uploads_dir(self) -> Path:
        """Folder of uploads that resume."""
        return self.data_dir / "uploads"

    @property
    def trash_dir(self) -> Path:
        """Folder of the projects that users deleted, while their files are removed."""
        return self.data_dir / "trash"

    @property
    def quarantine_dir(self) -> Path:
        """Folder of what ``recon3d-api gc --apply`` has set aside."""
        return self.data_dir / "quarantine"

    def prepare(self) -> Settings:
        """Create the folders, for this user only, and choose the secret.

        Returns
        -------
        Settings
            The settings with a secret.

        Raises
        ------
        InsecureSettings
            Production with a secret that is short, well known or of few different characters.
        """
        for folder in (
            *(self.data_dir, self.projects_dir, self.incoming_dir, self.uploads_dir, self.trash_dir),
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.data_dir.stat().st_mode & 0o077:
            with contextlib.suppress(PermissionError):  # someone else's, who knows what they do
                self.data_dir.chmod(0o700)
        secret = self.secret_key or _kept_secret(self.data_dir / _SECRET_FILE)
        if self.environment == "production" and (problem := weakness(secret)):
            raise InsecureSettings(
                f"RECON3D_API_SECRET_KEY {problem}; production needs a better one: "
                "python -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
        return self.model_copy(update={"secret_key": secret})


def _needed_for_mail(value: str, info: ValidationInfo) -> None:
    if not value and info.data.get("smtp_host"):
        raise ValueError("Is needed with RECON3D_API_SMTP_HOST")


def _with_driver(url: str) -> str:
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def weakness(secret: str) -> str:
    """Tell why a secret is too weak.

    Parameters
    ----------
    secret : str

    Returns
    -------
    str
        Empty when it is strong enough.
    """
    if len(secret.encode()) < MIN_SECRET_BYTES:
        return f"has less than {MIN_SECRET_BYTES} bytes"
    if len(set(secret)) < 10:
        return "has too few different characters"
    if any(word in secret.lower() for word in _DEFAULTS):
        return "contains a well-known word"
    return ""


def _kept_secret(path: Path) -> str:
    """Read the generated secret; make it when it is not there."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            # A link fails when the name is taken: of two servers that start at once, one wins.
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_text(encoding="utf-8").strip()

"""The tables."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, ClassVar, Literal

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from recon3d import STAGE_NAMES
from recon3d_api.schemas import DeliveryStatus, JobStatus, ProjectStatus

RunStatus = Literal["queued", "running", "completed", "failed", "cancelled"]
#: Stages of a reconstruction, in order; the values of a job's `job_type`.
JOB_TYPES = STAGE_NAMES
ACTIVE_RUN = ("queued", "running")
ACTIVE_JOB = ("pending", "running")
#: SQLite would give the number of a deleted row to the next one.
_IDS_ONCE = {"sqlite_autoincrement": True}
#: Two requests may delete one row: for the second, nothing is left to do.
_DELETED_ONCE = {"confirm_deleted_rows": False}


class UtcDateTime(sa.TypeDecorator[datetime]):
    """Times with a zone, also on SQLite, which keeps none."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Convert a time to UTC for the database.

        Parameters
        ----------
        value : datetime or None
        dialect : sa.Dialect

        Returns
        -------
        datetime or None
        """
        return None if value is None else value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Mark a time from the database as UTC.

        Parameters
        ----------
        value : datetime or None
        dialect : sa.Dialect

        Returns
        -------
        datetime or None
        """
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def utcnow() -> datetime:
    """Read the time, with its zone.

    Returns
    -------
    datetime
    """
    return datetime.now(timezone.utc)


class Base(DeclarativeBase):
    """Base of the tables."""

    __mapper_args__ = _DELETED_ONCE
    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        dict[str, Any]: sa.JSON(none_as_null=True),
        float: sa.Double,
    }


class Timestamps:
    """When a row was made and last changed."""

    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, onupdate=utcnow)


class User(Base):
    """An account."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(sa.String(50))
    #: Names and addresses that differ in case only are the same.
    username_key: Mapped[str] = mapped_column(sa.String(50), unique=True)
    email: Mapped[str] = mapped_column(sa.String(320))
    email_key: Mapped[str] = mapped_column(sa.String(320), unique=True)
    full_name: Mapped[str | None] = mapped_column(sa.String(200))
    password_hash: Mapped[str] = mapped_column(sa.String(500))
    is_active: Mapped[bool] = mapped_column(default=True)
    #: Tokens issued until then are revoked.
    tokens_from: Mapped[float] = mapped_column(default=0.0, server_default="0")
    is_admin: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    #: Whether mail tells of the ends of the user's runs.
    mail_runs: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    __table_args__ = _IDS_ONCE


class Project(Timestamps, Base):
    """A project; its files are in ``DATA_DIR/projects/FOLDER``."""

    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(sa.String(200))
    description: Mapped[str | None] = mapped_column(sa.Text)
    folder: Mapped[str] = mapped_column(sa.String(32), unique=True)
    status: Mapped[ProjectStatus] = mapped_column(sa.String(20), default="draft")
    #: Status that an archived project goes back to, or a cancelled run leaves.
    previous_status: Mapped[ProjectStatus] = mapped_column(sa.String(20), default="draft")
    total_frames: Mapped[int] = mapped_column(default=0)
    processed_frames: Mapped[int] = mapped_column(default=0)
    reconstruction_quality: Mapped[float] = mapped_column(default=0.0)
    #: Seconds that the newest reconstruction took or takes.
    processing_time: Mapped[float] = mapped_column(default=0.0)
    #: Seconds of frame interval that the user asked for, which later runs keep.
    frame_interval: Mapped[float | None]
    #: Number of the newest event; counted here so that events commit in the order of their numbers.
    event_seq: Mapped[int] = mapped_column(default=0)
    #: Bytes of its files when they were last counted; None before, a negative mark while they are.
    disk_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)

    # Lists are read from an index, in its order, and end with the page.
    __table_args__ = (sa.Index("ix_projects_owner_id_id", "owner_id", "id"), _IDS_ONCE)


class Run(Timestamps, Base):
    """A call of the pipeline: a queue's entry, and the lease of whoever works on it."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    #: The project's owner, who never changes.
    owner_id: Mapped[int] = mapped_column(server_default="0")
    status: Mapped[RunStatus] = mapped_column(sa.String(20), default="queued", index=True)
    quality: Mapped[str] = mapped_column(sa.String(20))
    #: Last stage, and options by stage.
    until: Mapped[str | None] = mapped_column(sa.String(40))
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    #: Whether it is a reconstruction; extracting frames alone leaves the project's status.
    full: Mapped[bool] = mapped_column(default=True)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    #: The project's numbers that belong to an earlier run's results, should this one make none.
    kept_numbers: Mapped[dict[str, Any] | None]
    #: Number of the claim; a runner whose number is not this one any more writes nothing.
    attempt: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    runner: Mapped[str | None] = mapped_column(sa.String(200))
    lease_until: Mapped[float] = mapped_column(default=0.0)
    not_before: Mapped[float] = mapped_column(default=0.0)
    #: Seconds of finished attempts, and when the present one began.
    seconds: Mapped[float] = mapped_column(default=0.0)
    attempt_started: Mapped[float | None]
    fraction: Mapped[float] = mapped_column(default=0.0)
    #: None while it is not known.
    seconds_left: Mapped[float | None]
    error: Mapped[str | None] = mapped_column(sa.Text)
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]

    jobs: Mapped[list[Job]] = relationship(order_by="Job.position", back_populates="run")

    __table_args__ = (
        # The database itself sees to it that a project has one active run at most.
        sa.Index(
            "uq_runs_active_project",
            "project_id",
            unique=True,
            sqlite_where=sa.text("status IN ('queued', 'running')"),
            postgresql_where=sa.text("status IN ('queued', 'running')"),
        ),
        # When a user was last served.
        sa.Index("ix_runs_owner_id_started_at", "owner_id", "started_at"),
        _IDS_ONCE,
    )


class Job(Timestamps, Base):
    """A stage of a run."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("projects.id", ondelete="CASCADE"))
    #: The project's owner, who never changes.
    owner_id: Mapped[int] = mapped_column(server_default="0")
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    job_type: Mapped[str] = mapped_column(sa.String(40))
    status: Mapped[JobStatus] = mapped_column(sa.String(20), default="pending")
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str | None] = mapped_column(sa.Text)
    error_message: Mapped[str | None] = mapped_column(sa.Text)
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    eta: Mapped[float | None]
    cpu_usage: Mapped[float | None]
    memory_usage: Mapped[float | None]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]

    run: Mapped[Run] = relationship(back_populates="jobs")

    # Lists are read from an index, in its order, and end with the page.
    __table_args__ = (
        sa.Index("ix_jobs_owner_id_id", "owner_id", "id"),
        sa.Index("ix_jobs_owner_id_status_id", "owner_id", "status", "id"),
        sa.Index("ix_jobs_project_id_id", "project_id", "id"),
        _IDS_ONCE,
    )


class Event(Base):
    """A message of the WebSocket; `seq` counts from 1 in each project."""

    __tablename__ = "events"

    project_id: Mapped[int] = mapped_column(
        sa.ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    job_id: Mapped[int] = mapped_column(sa.ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    event: Mapped[str] = mapped_column(sa.String(20))
    job_type: Mapped[str] = mapped_column(sa.String(40))
    status: Mapped[str] = mapped_column(sa.String(20))
    progress: Mapped[float]
    message: Mapped[str | None] = mapped_column(sa.Text)
    error: Mapped[str | None] = mapped_column(sa.Text)
    #: When the newest frame or depth map was written, for the stages that make them.
    pictures: Mapped[datetime | None]
    timestamp: Mapped[datetime] = mapped_column(default=utcnow)


class Runner(Base):
    """A process that works on runs, and when it was last heard of."""

    __tablename__ = "runners"

    name: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    seen: Mapped[float]


class InstallationId(Base):
    """The id that this database shares with its data folder: one row, whose key is 1."""

    __tablename__ = "installation"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    uuid: Mapped[str] = mapped_column(sa.String(32))


class Deletion(Base):
    """A project's folder that its owner had deleted; the row goes when the files are gone."""

    __tablename__ = "deletions"

    folder: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    requested_at: Mapped[datetime] = mapped_column(default=utcnow)


class RevokedToken(Base):
    """A token that is not good any more, though its time is not over."""

    __tablename__ = "revoked_tokens"

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    expires: Mapped[float]


class Ticket(Base):
    """A one-time ticket, by its digest, and the token that it stands for."""

    __tablename__ = "tickets"

    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    target: Mapped[str] = mapped_column(sa.String(64))
    expires: Mapped[float]
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    token_id: Mapped[str] = mapped_column(sa.String(32))
    token_issued: Mapped[float]
    token_expires: Mapped[float]


class AuditEntry(Base):
    """What somebody did; without a foreign key, so that it outlives the account."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[float] = mapped_column(index=True)
    user_id: Mapped[int | None]
    username: Mapped[str] = mapped_column(sa.String(64))
    address: Mapped[str] = mapped_column(sa.String(64))
    action: Mapped[str] = mapped_column(sa.String(40))
    target: Mapped[str] = mapped_column(sa.String(200))
    request_id: Mapped[str] = mapped_column(sa.String(64))

    __table_args__ = _IDS_ONCE


class ApiKey(Base):
    """A key that programs use in the place of a token, by its digest."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(sa.String(100))
    #: First characters, by which its owner recognizes it.
    start: Mapped[str] = mapped_column(sa.String(12))
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

    __table_args__ = _IDS_ONCE


class Share(Base):
    """A link that shows a project's model to who has no account; the token itself is not kept."""

    __tablename__ = "shares"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    name: Mapped[str | None] = mapped_column(sa.String(200))
    #: Whether files may be downloaded.
    download: Mapped[bool] = mapped_column(default=False)
    expires_at: Mapped[datetime | None]
    views: Mapped[int] = mapped_column(default=0)
    viewed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    __table_args__ = _IDS_ONCE


class LoginSession(Base):
    """A login that is renewed: the digest of the only refresh token that is good now."""

    __tablename__ = "sessions"

    #: Also the id of the session's access tokens.
    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), index=True)
    digest: Mapped[str] = mapped_column(sa.String(64))
    #: When it was exchanged last, seconds since 1970.
    renewed: Mapped[float] = mapped_column(default=0.0, server_default="0")
    expires: Mapped[float]


class PasswordReset(Base):
    """A one-time token that sets a new password, by its digest."""

    __tablename__ = "resets"

    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created: Mapped[float]
    expires: Mapped[float]


class Invitation(Base):
    """A one-time code to register with, by its digest; for one address if it names one."""

    __tablename__ = "invitations"

    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    email_key: Mapped[str] = mapped_column(sa.String(320))
    expires: Mapped[float]


class Webhook(Base):
    """An address that is told how a project's runs end."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    url: Mapped[str] = mapped_column(sa.String(2000))
    #: Signs what is sent; it cannot be a digest.
    secret: Mapped[str] = mapped_column(sa.String(100))
    events: Mapped[list[str]] = mapped_column(sa.JSON)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    __table_args__ = _IDS_ONCE


class Delivery(Base):
    """A message to a webhook: queue's entry and log at once."""

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[int] = mapped_column(sa.ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    #: Of one owner, one message at a time is on its way.
    owner_id: Mapped[int]
    event: Mapped[str] = mapped_column(sa.String(40))
    body: Mapped[str] = mapped_column(sa.Text)
    status: Mapped[DeliveryStatus] = mapped_column(sa.String(20), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    #: When the next attempt is due; while an attempt goes on, when somebody else may try.
    due: Mapped[float] = mapped_column(default=0.0)
    in_flight: Mapped[bool] = mapped_column(default=False)
    response_status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(sa.String(500))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    attempted_at: Mapped[datetime | None]

    __table_args__ = (sa.Index("ix_deliveries_status", "status", "due"), _IDS_ONCE)


class RunMail(Base):
    """A mail about the end of a run; a run has at most one, whoever ends it."""

    __tablename__ = "run_mails"

    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    status: Mapped[str] = mapped_column(sa.String(20), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    #: When the next attempt is due, in seconds since 1970; during an attempt, when another server may try.
    due: Mapped[float] = mapped_column(default=0.0)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    __table_args__ = (sa.Index("ix_run_mails_status", "status", "due"),)

"""Mail about ends of runs: queued in the transaction that ends a run, claimed, and concluded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from recon3d_api.store.database import Database
from recon3d_api.store.tables import Job, Project, Run, RunMail, User, utcnow

#: Seconds between attempts.
WAITS = (30.0, 300.0, 1800.0, 7200.0)
#: An attempt takes less, also with a slow mail server.
LEASE = 900.0
#: Older news are none: they waited for a service that had no mail server.
_NEWS = timedelta(days=1)
_KEPT = timedelta(days=30)
#: Its end is no news to who waits for frames.
_SHORT = "frame_extraction"


@dataclass(frozen=True)
class Message:
    """What a mail tells of a run, and to whom."""

    run_id: int
    attempts: int
    to: str
    username: str
    project_id: int
    project: str
    status: str
    until: str | None
    error: str | None
    #: Of the stage that judged the model; empty before one did.
    verdict: str


def run_ended(session: Session, project: Project, run: Run) -> None:
    """Queue the mail that a run is completed or has failed, in the transaction that ends it.

    Cancelled runs are none: who owns a run cancels it.

    Parameters
    ----------
    session : Session
    project : Project
    run : Run
    """
    if run.status not in ("completed", "failed") or run.until == _SHORT:
        return
    owner = session.get(User, project.owner_id)
    if owner is not None and owner.mail_runs and session.get(RunMail, run.id) is None:
        session.add(RunMail(run_id=run.id))


def claim(database: Database) -> Message | None:
    """Claim the mail that is due longest.

    Parameters
    ----------
    database : Database

    Returns
    -------
    Message or None
    """
    with database.read() as session:
        now = database.now(session)
        due = _pending(now)
        if session.scalar(select(RunMail.run_id).where(*due).limit(1)) is None:
            return None
    with database.write(quiet=True) as session:
        now = database.now(session)
        free = select(RunMail.run_id).where(*_pending(now)).order_by(RunMail.due).limit(1)
        found = session.execute(
            update(RunMail)
            .where(RunMail.run_id == free.with_for_update(skip_locked=True).scalar_subquery())
            .values(due=now + LEASE, attempts=RunMail.attempts + 1)
            .returning(RunMail.run_id, RunMail.attempts)
            .execution_options(synchronize_session=False)
        ).first()
        if found is None:
            return None
        run = session.get_one(Run, found.run_id)
        project, owner = session.get_one(Project, run.project_id), session.get_one(User, run.owner_id)
        if not (owner.is_active and owner.mail_runs):  # decided otherwise meanwhile
            _write(session, found.run_id, found.attempts, status="dropped")
            return None
        told = session.scalars(select(Job.message).where(Job.run_id == run.id).order_by(Job.position))
        return Message(
            run_id=run.id,
            attempts=found.attempts,
            to=owner.email,
            username=owner.username,
            project_id=project.id,
            project=project.name,
            status=run.status,
            until=run.until,
            error=run.error,
            verdict=next((text for text in told if text and text.startswith("Verdict: ")), ""),
        )


def conclude(database: Database, message: Message, error: str, *, lasting: bool = False) -> None:
    """Write how an attempt went; after a failure another one follows, later each time.

    Parameters
    ----------
    database : Database
    message : Message
    error : str
        Empty when the mail was sent.
    lasting : bool
        Another attempt would fail, too.
    """
    with database.write() as session:
        if error and not lasting and message.attempts <= len(WAITS):
            due = database.now(session) + WAITS[message.attempts - 1]
            _write(session, message.run_id, message.attempts, due=due)
        else:
            _write(session, message.run_id, message.attempts, status="failed" if error else "sent")


def wait(database: Database) -> float | None:
    """Tell when the next mail is due.

    Parameters
    ----------
    database : Database

    Returns
    -------
    float or None
        Seconds; None when none waits.
    """
    with database.read() as session:
        recent = RunMail.created_at > utcnow() - _NEWS
        due = session.scalar(select(func.min(RunMail.due)).where(RunMail.status == "pending", recent))
        return None if due is None else max(due - database.now(session), 0.0)


def forget_old(database: Database) -> None:
    """Remove what is known of mail of a month ago.

    Parameters
    ----------
    database : Database
    """
    with database.write(quiet=True) as session:
        session.execute(delete(RunMail).where(RunMail.created_at < utcnow() - _KEPT))


def _pending(now: float) -> tuple[ColumnElement[bool], ...]:
    return RunMail.status == "pending", RunMail.due <= now, RunMail.created_at > utcnow() - _NEWS


def _write(session: Session, run_id: int, attempts: int, **values: object) -> None:
    # An attempt that outlived its lease does not overwrite what the next one wrote.
    session.execute(
        update(RunMail).where(RunMail.run_id == run_id, RunMail.attempts == attempts).values(**values)
    )

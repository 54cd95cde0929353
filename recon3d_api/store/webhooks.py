"""Messages to webhooks: queued in the transaction that ends a run, claimed, and kept as a log."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, aliased

from recon3d_api.store.database import Database
from recon3d_api.store.tables import Delivery, Project, Run, Webhook, utcnow

#: Webhooks that a project may have, and messages of each that the log keeps.
MOST, KEPT = 10, 200
#: Seconds between attempts, as the Standard Webhooks specification has them: a day in all.
WAITS = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
#: An attempt takes less; of one whose server was killed, another one follows after that.
LEASE = 60.0
TEST = "webhook.test"
_PREFIX = "whsec_"


@dataclass(frozen=True)
class Message:
    """A message that is to be sent now."""

    id: int
    attempts: int
    url: str
    secret: str
    body: str


def new_secret() -> str:
    """Make a secret that signs messages.

    Returns
    -------
    str
    """
    return _PREFIX + base64.b64encode(secrets.token_bytes(24)).decode("ascii")


def key_of(secret: str) -> bytes:
    """Decode a secret.

    Parameters
    ----------
    secret : str

    Returns
    -------
    bytes
    """
    return base64.b64decode(secret.removeprefix(_PREFIX))


def run_ended(session: Session, project: Project, run: Run) -> None:
    """Queue messages that a run has ended, in its own transaction: they are as certain as its end.

    Parameters
    ----------
    session : Session
    project : Project
    run : Run
    """
    event = f"run.{run.status}"
    for webhook in session.scalars(select(Webhook).where(Webhook.project_id == project.id)):
        if event in webhook.events:
            data = {
                "project_id": project.id,
                "project_name": project.name,
                "project_status": project.status,
                "run_id": run.id,
                "quality": run.quality,
                "until": run.until,
                "error": run.error,
            }
            session.add(message_for(webhook, project.owner_id, event, data))


def message_for(webhook: Webhook, owner_id: int, event: str, data: dict[str, object]) -> Delivery:
    """Make a message.

    Parameters
    ----------
    webhook : Webhook
    owner_id : int
    event : str
    data : dict

    Returns
    -------
    Delivery
    """
    now = utcnow()
    body = json.dumps({"type": event, "timestamp": now.isoformat(), "data": data}, ensure_ascii=False)
    return Delivery(webhook_id=webhook.id, owner_id=owner_id, event=event, body=body, created_at=now)


def claim(database: Database) -> Message | None:
    """Claim the message that is due longest; of each owner one is on its way at a time.

    Parameters
    ----------
    database : Database

    Returns
    -------
    Message or None
    """
    other = aliased(Delivery)
    with database.read() as session:
        now = database.now(session)
        waiting = select(Delivery.id).where(Delivery.status == "pending", Delivery.due <= now).limit(1)
        if session.scalar(waiting) is None:
            return None
    with database.write() as session:
        database.serialize(session)  # two that claim at once would not see each other's
        now = database.now(session)
        busy = (
            select(other.id)
            .where(
                other.status == "pending",
                other.owner_id == Delivery.owner_id,
                other.in_flight,
                other.due > now,
            )
            .exists()
        )
        free = (
            select(Delivery.id)
            .where(Delivery.status == "pending", Delivery.due <= now, ~busy)
            .order_by(Delivery.due, Delivery.id)
            .limit(1)
        )
        row = session.scalar(
            update(Delivery)
            .where(Delivery.id == free.scalar_subquery())
            .values(due=now + LEASE, in_flight=True, attempts=Delivery.attempts + 1, attempted_at=utcnow())
            .returning(Delivery)
            .execution_options(synchronize_session=False)
        )
        if row is None:
            return None
        webhook = session.get_one(Webhook, row.webhook_id)
        return Message(row.id, row.attempts, webhook.url, webhook.secret, row.body)


def conclude(database: Database, message: Message, status: int | None, error: str) -> None:
    """Write how an attempt went; after a failure another one follows, later each time.

    Parameters
    ----------
    database : Database
    message : Message
    status : int or None
        HTTP status of the answer; None without one.
    error : str
        Empty when the message was delivered.
    """
    with database.write() as session:
        values: dict[str, object] = {
            "in_flight": False,
            "response_status": status,
            "error": error[:500] or None,
        }
        if not error:
            values["status"] = "delivered"
        elif message.attempts > len(WAITS):
            values["status"] = "failed"
        else:
            values["due"] = database.now(session) + WAITS[message.attempts - 1]
        # An attempt that outlived its lease does not overwrite what the next one wrote.
        session.execute(
            update(Delivery)
            .where(Delivery.id == message.id, Delivery.attempts == message.attempts)
            .values(**values)
        )


def forget_old(database: Database) -> None:
    """Remove from each webhook's log all but the newest messages.

    Parameters
    ----------
    database : Database
    """
    with database.read() as session:
        full = session.scalars(
            select(Delivery.webhook_id).group_by(Delivery.webhook_id).having(func.count() > KEPT)
        ).all()
    for webhook_id in full:
        with database.write() as session:
            newest = (
                select(Delivery.id)
                .where(Delivery.webhook_id == webhook_id)
                .order_by(Delivery.id.desc())
                .limit(KEPT)
            )
            session.execute(
                delete(Delivery).where(
                    Delivery.webhook_id == webhook_id,
                    Delivery.status != "pending",
                    Delivery.id.not_in(newest),
                )
            )

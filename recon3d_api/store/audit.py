"""The audit log: who did what to whom, when and from where.

Entries keep names as they were, and outlive the accounts that they speak of.
"""

from __future__ import annotations

import logging
import time
from typing import Literal

from sqlalchemy import Select, delete, exists, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from recon3d_api import logs
from recon3d_api.store.database import Database
from recon3d_api.store.tables import AuditEntry, User

logger = logging.getLogger("recon3d_api.audit")

#: What is recorded. Other modules add their actions here.
Action = Literal[
    "login",
    "login.failed",
    "logout",
    "session.reused",
    "password.changed",
    "password.change_failed",
    "password.reset_requested",
    "password.reset",
    "password.reset_failed",
    "key.created",
    "key.revoked",
    "user.registered",
    "user.invited",
    "user.disabled",
    "user.enabled",
    "user.promoted",
    "user.demoted",
    "project.deleted",
    "share.created",
    "share.revoked",
    "webhook.created",
    "webhook.deleted",
]
_DAY = 86_400.0


def record(
    session: Session,
    action: Action,
    *,
    user: User | None = None,
    username: str = "",
    target: str = "",
) -> AuditEntry:
    """Record an action in the caller's transaction: both happen, or neither does.

    The address and the request's id are those of the present request.

    Parameters
    ----------
    session : Session
        One of ``Database.write``.
    action : str
        One of `Action`.
    user : User, optional
        Who acts; None for the operator's commands, and for who is not known.
    username : str
        The name that somebody gave who is not known.
    target : str
        What is acted on, as in ``project 7`` or ``user ada``.

    Returns
    -------
    AuditEntry
    """
    caller = logs.caller.get()
    entry = AuditEntry(
        time=time.time(),
        action=action,
        user_id=None if user is None else user.id,
        username=(username if user is None else user.username)[:64],
        address=caller.address[:64] if caller else "",
        target=target[:200],
        request_id=logs.request_id.get()[:64],
    )
    session.add(entry)
    return entry


def record_apart(
    database: Database,
    action: Action,
    *,
    user: User | None = None,
    username: str = "",
    target: str = "",
) -> None:
    """Record what must happen even when nothing can be written, such as a login on a full disk.

    An entry that the database cannot take goes to the log.

    Parameters
    ----------
    database : Database
    action : str
        One of `Action`.
    user : User, optional
        Who acts.
    username : str
        The name that somebody gave who is not known.
    target : str
        What is acted on.
    """
    try:
        with database.write() as session:
            record(session, action, user=user, username=username, target=target)
    except DBAPIError as error:
        caller = logs.caller.get()
        logger.error(
            "An audit entry cannot be written: %s",
            error.orig,
            extra={
                "action": action,
                "user": username if user is None else user.username,
                "address": caller.address if caller else "",
                "target": target,
            },
        )


def entries(
    *, username: str = "", action: str = "", since: float = 0.0, before: int | None = None
) -> Select[AuditEntry]:
    """Select entries, newest first.

    Parameters
    ----------
    username : str
        Whose; empty for all.
    action : str
        An action, or the part before its dot; empty for all.
    since : float
        Seconds since 1970.
    before : int, optional
        Only entries with a smaller id.

    Returns
    -------
    Select
    """
    wanted = select(AuditEntry).order_by(AuditEntry.id.desc())
    if username:
        wanted = wanted.where(AuditEntry.username == username)
    if action:
        wanted = wanted.where(
            (AuditEntry.action == action) | AuditEntry.action.startswith(f"{action}.", autoescape=True)
        )
    if since:
        wanted = wanted.where(AuditEntry.time >= since)
    if before is not None:
        wanted = wanted.where(AuditEntry.id < before)
    return wanted


def forget(database: Database, days: int) -> None:
    """Remove old entries.

    Parameters
    ----------
    database : Database
    days : int
        How long entries are kept.
    """
    old = AuditEntry.time < time.time() - days * _DAY
    with database.read() as session:
        if not session.scalar(select(exists().where(old))):
            return
    with database.write() as session:
        session.execute(delete(AuditEntry).where(old))

"""Rows whose time is over."""

from __future__ import annotations

import time

from sqlalchemy import delete, exists, or_, select

from recon3d_api.store.database import Database
from recon3d_api.store.tables import Invitation, LoginSession, PasswordReset, RevokedToken, Ticket

_TABLES = (RevokedToken, Ticket, LoginSession, PasswordReset, Invitation)


def forget_expired(database: Database) -> None:
    """Remove what would not be good any more anyway.

    Parameters
    ----------
    database : Database
    """
    now = time.time()
    with database.read() as session:
        if not session.scalar(select(or_(*(exists().where(table.expires < now) for table in _TABLES)))):
            return
    with database.write() as session:
        for table in _TABLES:
            session.execute(delete(table).where(table.expires < now))

"""Rows whose time is over."""

from __future__ import annotations

import time

from sqlalchemy import delete, exists, select

from recon3d_api.store.database import Database
from recon3d_api.store.tables import RevokedToken, Ticket


def forget_expired(database: Database) -> None:
    """Remove what would not be good any more anyway.

    Parameters
    ----------
    database : Database
    """
    now = time.time()
    with database.read() as session:
        old = exists().where(RevokedToken.expires < now) | exists().where(Ticket.expires < now)
        if not session.scalar(select(old)):
            return
    with database.write() as session:
        session.execute(delete(RevokedToken).where(RevokedToken.expires < now))
        session.execute(delete(Ticket).where(Ticket.expires < now))

"""Locks on rows: all transactions take them in one order, so that no two wait for each other.

The order is run, project, webhook, user, and last what belongs to a user: sessions, tickets, resets and
keys. Whoever changes or removes rows of a project or of a user locks that project or user first. The
deletion of a project removes its runs after it has locked the project: these are over, and whoever
locks a run that is over locks nothing after it. SQLite has one writer at a time, and needs none of this.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from recon3d_api.store.tables import User


def locked_user(session: Session, user_id: int) -> User:
    """Find a user, and lock the row until the transaction ends.

    Parameters
    ----------
    session : Session
        Of `Database.write`.
    user_id : int

    Returns
    -------
    User
        As other transactions have left it.
    """
    return session.get_one(User, user_id, with_for_update=True, populate_existing=True)

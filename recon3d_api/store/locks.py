"""Who waits for whom: transactions lock rows in one order, so that none waits for another in a circle.

The order is run, project, webhook, user, then what belongs to the user: sessions, tickets, resets and
keys. Whoever changes or removes one of several rows of a project or of a user locks that one first.
SQLite has one writer at a time, and needs none of this.
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

"""Links to models: made, listed, ended, and looked up by their token."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from recon3d_api.store.database import Database
from recon3d_api.store.tables import Project, Share, User, utcnow

#: Links that a project may have.
MOST = 100


def new_share(
    project_id: int, *, name: str | None, download: bool, expires_at: datetime | None
) -> tuple[Share, str]:
    """Make a link.

    Parameters
    ----------
    project_id : int
    name : str or None
    download : bool
    expires_at : datetime or None

    Returns
    -------
    (Share, str)
        A row to add, and the token, of which only the digest is kept.
    """
    token = secrets.token_urlsafe(32)
    share = Share(
        project_id=project_id, digest=_digest(token), name=name, download=download, expires_at=expires_at
    )
    return share, token


def find_share(session: Session, token: str) -> tuple[Share, Project] | None:
    """Find what a token shows now.

    Parameters
    ----------
    session : Session
    token : str

    Returns
    -------
    (Share, Project) or None
        None when the link is unknown, revoked or expired, its project archived or its owner disabled.
    """
    found = session.execute(
        select(Share, Project)
        .join(Project, Project.id == Share.project_id)
        .join(User, User.id == Project.owner_id)
        .where(
            Share.digest == _digest(token),
            or_(Share.expires_at.is_(None), Share.expires_at > utcnow()),
            Project.status != "archived",
            User.is_active,
        )
    ).first()
    return None if found is None else (found[0], found[1])


def count_view(database: Database, share: Share) -> None:
    """Count that somebody looked at a model.

    Parameters
    ----------
    database : Database
    share : Share
    """
    with database.write() as session:
        session.execute(
            update(Share).where(Share.id == share.id).values(views=Share.views + 1, viewed_at=utcnow())
        )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()

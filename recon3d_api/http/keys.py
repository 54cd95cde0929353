"""API keys: what programs send in the place of a token."""

from __future__ import annotations

import logging
import secrets
import time
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from recon3d_api.http.security import Token, digest
from recon3d_api.store.database import Database
from recon3d_api.store.tables import ApiKey, RevokedToken, User, utcnow

logger = logging.getLogger("recon3d_api.auth")

#: Scanners of repositories and people recognize a key by it.
PREFIX = "r3d_"
MOST_KEYS = 100
#: What a key opens, such as a WebSocket, is good for so long.
_OPEN_SECONDS = 12 * 3600
_NOTED_EVERY = timedelta(minutes=1)


def create(session: Session, user: User, name: str, expires_at: datetime | None) -> tuple[ApiKey, str]:
    """Make a key.

    Parameters
    ----------
    session : Session
    user : User
    name : str
    expires_at : datetime or None

    Returns
    -------
    row : ApiKey
    key : str
        Not kept anywhere.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(user_id=user.id, name=name, start=key[:12], digest=digest(key), expires_at=expires_at)
    session.add(row)
    session.flush()
    return row, key


def read(database: Database, key: str) -> Token | None:
    """Find what a key stands for, and note its use.

    Parameters
    ----------
    database : Database
    key : str

    Returns
    -------
    Token or None
        None when the key is not good; `access.active_user` checks the user.
    """
    now = utcnow()
    with database.read() as session:
        row = session.scalar(select(ApiKey).where(ApiKey.digest == digest(key)))
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        return None
    if row.last_used_at is None or now - row.last_used_at >= _NOTED_EVERY:
        try:
            with database.write() as session:
                session.execute(update(ApiKey).where(ApiKey.id == row.id).values(last_used_at=now))
        except DBAPIError as error:  # a full disk must not lock anybody out
            logger.warning("The use of an API key cannot be noted: %s", error.orig, extra={"key": row.id})
    expires = now.timestamp() + _OPEN_SECONDS
    if row.expires_at is not None:
        expires = min(expires, row.expires_at.timestamp())
    return Token(row.user_id, row.digest[:32], now.timestamp(), expires)


def revoke(session: Session, row: ApiKey) -> None:
    """Remove a key, and end what it opened.

    Parameters
    ----------
    session : Session
    row : ApiKey
    """
    session.delete(row)
    session.merge(RevokedToken(id=row.digest[:32], expires=time.time() + _OPEN_SECONDS))

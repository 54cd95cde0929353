"""Logins that are renewed by refresh tokens, each of which is good once.

The access tokens of a session share its id, so that one entry revokes them all. A refresh token that
comes a second time was copied: whoever has the copy and whoever has the original lose the session.
"""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from recon3d_api.http.security import digest
from recon3d_api.store import audit
from recon3d_api.store.database import Database
from recon3d_api.store.tables import LoginSession, RevokedToken, User

#: Refresh tokens renew access tokens, which therefore can be short-lived.
ACCESS_SECONDS = 900
PREFIX = "r3r_"
_DAY = 86_400


@dataclass(frozen=True)
class Renewed:
    """A session, and its only good refresh token."""

    id: str
    user_id: int
    refresh_token: str


def begin(database: Database, user_id: int, days: int) -> Renewed:
    """Open a session.

    Parameters
    ----------
    database : Database
    user_id : int
    days : int
        How long its refresh token is good for.

    Returns
    -------
    Renewed
    """
    number = uuid.uuid4().hex
    token = _token(number)
    row = LoginSession(id=number, user_id=user_id, digest=digest(token), expires=time.time() + days * _DAY)
    with database.write() as session:
        session.add(row)
    return Renewed(number, user_id, token)


def renew(database: Database, token: str, days: int) -> Renewed | None:
    """Exchange a refresh token for the next one.

    Parameters
    ----------
    database : Database
    token : str
    days : int
        How long the next one is good for.

    Returns
    -------
    Renewed or None
        None when the token is not good; an old one ends its session.
    """
    number = token.removeprefix(PREFIX).partition("_")[0]
    with database.read() as session:
        if session.get(LoginSession, number[:32]) is None:
            return None  # guesses take no lock for writing
    following, now = _token(number), time.time()
    active = select(User.id).where(User.is_active)
    with database.write() as session:
        user_id = session.scalar(
            update(LoginSession)
            .where(
                LoginSession.id == number,
                LoginSession.digest == digest(token),
                LoginSession.expires > now,
                LoginSession.user_id.in_(active),
            )
            .values(digest=digest(following), expires=now + days * _DAY)
            .returning(LoginSession.user_id)
        )
        if user_id is None:
            row = session.get(LoginSession, number)
            if row is not None:
                audit.record(session, "session.reused", user=session.get(User, row.user_id))
                end(session, number)
            return None
    return Renewed(number, user_id, following)


def end(session: Session, number: str) -> None:
    """End a session, if there is one of that id, with its access tokens.

    Parameters
    ----------
    session : Session
    number : str
    """
    session.execute(delete(LoginSession).where(LoginSession.id == number))
    session.merge(RevokedToken(id=number, expires=time.time() + ACCESS_SECONDS))


def _token(number: str) -> str:
    return f"{PREFIX}{number}_{secrets.token_urlsafe(32)}"

"""Logins that are renewed by refresh tokens, each of which is exchanged for one other.

The access tokens of a session share its id, so that one entry revokes them all. A refresh token that
comes again after its successor was used, or later than half a minute, was copied: whoever has the copy
and whoever has the original lose the session. Within that time it gets the same successor again, since
an answer can be lost on its way: a page that is reloaded while it renews its token never reads it.
"""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass

from sqlalchemy import delete
from sqlalchemy.orm import Session

from recon3d_api.http.security import Tokens, digest
from recon3d_api.store import audit
from recon3d_api.store.database import Database
from recon3d_api.store.locks import locked_user
from recon3d_api.store.tables import LoginSession, RevokedToken

#: Refresh tokens renew access tokens, which therefore can be short-lived.
ACCESS_SECONDS = 900
PREFIX = "r3r_"
#: How long a lost answer can be asked for again, seconds.
AGAIN_SECONDS = 30
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
    token = _token(number, secrets.token_urlsafe(32))
    row = LoginSession(id=number, user_id=user_id, digest=digest(token), expires=time.time() + days * _DAY)
    with database.write() as session:
        session.add(row)
    return Renewed(number, user_id, token)


def renew(database: Database, tokens: Tokens, token: str, days: int) -> Renewed | None:
    """Exchange a refresh token for the next one.

    Parameters
    ----------
    database : Database
    tokens : Tokens
        Derives the next one, so that a lost answer is given again although no token is kept.
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
        known = session.get(LoginSession, number[:32])
        if known is None:
            return None  # guesses take no lock for writing
    following, now = _token(number, tokens.following(token)), time.time()
    with database.write() as session:
        owner = locked_user(session, known.user_id)
        row = session.get(LoginSession, number, with_for_update=True, populate_existing=True)
        if row is None or not owner.is_active:
            usable = False
        elif usable := row.digest == digest(token) and row.expires > now:
            row.digest, row.renewed, row.expires = digest(following), now, now + days * _DAY
        else:
            usable = row.digest == digest(following) and now < row.renewed + AGAIN_SECONDS
        if not usable:
            # Of several requests with a copied token, the first ends the session.
            if end(session, number):
                audit.record(session, "session.reused", user=owner)
            return None
    return Renewed(number, owner.id, following)


def end(session: Session, number: str) -> bool:
    """End a session, if there is one of that id, with its access tokens.

    Parameters
    ----------
    session : Session
        One that has locked the session's user.
    number : str

    Returns
    -------
    bool
        False when it has ended already.
    """
    ended = session.scalar(delete(LoginSession).where(LoginSession.id == number).returning(LoginSession.id))
    if ended is not None:
        session.merge(RevokedToken(id=number, expires=time.time() + ACCESS_SECONDS))
    return ended is not None


def _token(number: str, secret: str) -> str:
    return f"{PREFIX}{number}_{secret}"

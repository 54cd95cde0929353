"""Who may come in: tokens that are good now, their revocation, and one-time tickets for addresses.

Browsers cannot send headers with a WebSocket or a link, and addresses end up in logs. A ticket in an
address is good for one use, for one purpose and for half a minute.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable

from sqlalchemy import bindparam, delete, exists, select
from sqlalchemy.orm import Session

from recon3d_api.http import keys
from recon3d_api.http.security import Token, Tokens, digest
from recon3d_api.store import audit
from recon3d_api.store.database import Database
from recon3d_api.store.tables import LoginSession, PasswordReset, RevokedToken, Ticket, User

TICKET_SECONDS = 30
_BATCH = 500
#: Built once: every request asks.
_OWNER = select(User).where(
    User.id == bindparam("user_id"),
    User.is_active,
    User.tokens_from < bindparam("issued"),
    ~exists().where(RevokedToken.id == bindparam("token_id")),
)


def identify(database: Database, tokens: Tokens, text: str) -> Token | None:
    """Read what a caller shows: an access token or an API key.

    Parameters
    ----------
    database : Database
    tokens : Tokens
    text : str

    Returns
    -------
    Token or None
        None when it is neither; `active_user` tells whether it is still good.
    """
    if text.startswith(keys.PREFIX):
        return keys.read(database, text)
    return tokens.read(text)


def active_user(database: Database, token: Token | None) -> User | None:
    """Find the user whom a token belongs to, if both are still good.

    Parameters
    ----------
    database : Database
    token : Token or None
        One whose signature was checked.

    Returns
    -------
    User or None
    """
    if token is None or token.expires <= time.time():
        return None
    values = {"user_id": token.user_id, "issued": token.issued, "token_id": token.id}
    with database.read() as session:
        return session.scalar(_OWNER, values)


def good_tokens(session: Session, tokens: Iterable[Token]) -> set[Token]:
    """Choose the tokens that are good now; many cost little more than one.

    Parameters
    ----------
    session : Session
    tokens : iterable of Token
        Ones whose signature was checked.

    Returns
    -------
    set of Token
    """
    now = time.time()
    asked = [token for token in tokens if token.expires > now]
    good: set[Token] = set()
    for start in range(0, len(asked), _BATCH):
        part = asked[start : start + _BATCH]
        users = {token.user_id for token in part}
        rows = session.execute(select(User.id, User.tokens_from).where(User.id.in_(users), User.is_active))
        since = {row.id: row.tokens_from for row in rows}
        ids = [token.id for token in part]
        revoked = set(session.scalars(select(RevokedToken.id).where(RevokedToken.id.in_(ids))))
        good.update(
            token
            for token in part
            if token.id not in revoked and since.get(token.user_id, math.inf) < token.issued
        )
    return good


def revoke(database: Database, token: Token, *, everywhere: bool) -> None:
    """Make a token useless.

    Parameters
    ----------
    database : Database
    token : Token
    everywhere : bool
        All tokens that the user has.
    """
    with database.write() as session:
        session.merge(RevokedToken(id=token.id, expires=token.expires))
        session.execute(delete(LoginSession).where(LoginSession.id == token.id))
        user = session.get_one(User, token.user_id)
        if everywhere:
            revoke_all(session, user)
        audit.record(session, "logout", user=user, target="everywhere" if everywhere else "")


def revoke_all(session: Session, user: User) -> None:
    """Make all tokens, sessions, tickets and password resets of a user useless; not the API keys.

    Parameters
    ----------
    session : Session
    user : User
    """
    user.tokens_from = time.time()
    for table in (LoginSession, PasswordReset, Ticket):
        session.execute(delete(table).where(table.user_id == user.id))


def issue_ticket(database: Database, token: Token, target: str) -> str:
    """Make a ticket in the place of a token.

    Parameters
    ----------
    database : Database
    token : Token
    target : str
        What it is good for.

    Returns
    -------
    str
    """
    ticket = secrets.token_urlsafe(32)
    row = Ticket(
        digest=digest(ticket),
        target=target,
        expires=time.time() + TICKET_SECONDS,
        user_id=token.user_id,
        token_id=token.id,
        token_issued=token.issued,
        token_expires=token.expires,
    )
    with database.write() as session:
        session.add(row)
    return ticket


def redeem_ticket(database: Database, ticket: str, target: str) -> Token | None:
    """Use a ticket up.

    Parameters
    ----------
    database : Database
    ticket : str
    target : str
        What it shall be good for.

    Returns
    -------
    Token or None
        The token that it stands for; None when it is not good.
    """
    wanted = (Ticket.digest == digest(ticket), Ticket.target == target, Ticket.expires > time.time())
    with database.read() as session:
        if session.scalar(select(Ticket.digest).where(*wanted)) is None:
            return None  # guesses take no lock for writing
    with database.write() as session:
        row = session.execute(
            delete(Ticket)
            .where(*wanted)
            .returning(Ticket.user_id, Ticket.token_id, Ticket.token_issued, Ticket.token_expires)
        ).first()
    return None if row is None else Token(*row)

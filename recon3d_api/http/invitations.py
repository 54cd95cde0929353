"""Invitations: codes to register with, good once."""

from __future__ import annotations

import secrets
import time

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from recon3d_api.http.security import digest
from recon3d_api.store import audit
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Invitation, User

DAYS = 14


class BadInvitation(Exception):
    """The invitation is unknown, used up, expired, or for another address."""

    def __init__(self) -> None:
        super().__init__("The invitation is missing, used, expired, or for another e-mail address")


def invite(session: Session, email: str = "", *, by: User | None = None) -> str:
    """Make an invitation.

    Parameters
    ----------
    session : Session
    email : str
        The only address that may register with it; empty for any.
    by : User, optional
        None for the operator.

    Returns
    -------
    str
        The code, which is not kept anywhere.
    """
    code = secrets.token_urlsafe(24)
    session.add(Invitation(digest=digest(code), email_key=email.lower(), expires=time.time() + DAYS * 86_400))
    audit.record(session, "user.invited", user=by, target=email)
    return code


def check(database: Database, code: str, email: str) -> None:
    """Refuse what is not good before a password is hashed for it.

    Parameters
    ----------
    database : Database
    code : str
    email : str

    Raises
    ------
    BadInvitation
    """
    with database.read() as session:
        if session.scalar(select(Invitation.digest).where(*_good(code, email))) is None:
            raise BadInvitation


def use(session: Session, code: str, email: str) -> None:
    """Use an invitation up, in the transaction that adds the user.

    Parameters
    ----------
    session : Session
    code : str
    email : str

    Raises
    ------
    BadInvitation
    """
    used = session.scalar(delete(Invitation).where(*_good(code, email)).returning(Invitation.digest))
    if used is None:
        raise BadInvitation


def _good(code: str, email: str) -> tuple[ColumnElement[bool], ...]:
    return (
        Invitation.digest == digest(code),
        Invitation.expires > time.time(),
        Invitation.email_key.in_(("", email.lower())),
    )

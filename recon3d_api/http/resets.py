"""One-time tokens that set a new password."""

from __future__ import annotations

import secrets
import time

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from recon3d_api.http import accounts
from recon3d_api.http.security import Passwords, digest, password_problem
from recon3d_api.mail import Mail
from recon3d_api.settings import Settings
from recon3d_api.store import audit
from recon3d_api.store.database import Database
from recon3d_api.store.tables import PasswordReset, User

MAIL_SECONDS = 3600
OPERATOR_SECONDS = 86_400
#: Nobody's inbox is filled by somebody else.
_MAIL_EVERY = 300


def issue(session: Session, user: User, seconds: int) -> str:
    """Make a token.

    Parameters
    ----------
    session : Session
    user : User
    seconds : int
        How long it is good for.

    Returns
    -------
    str
        Not kept anywhere.
    """
    token, now = secrets.token_urlsafe(32), time.time()
    session.add(PasswordReset(digest=digest(token), user_id=user.id, created=now, expires=now + seconds))
    return token


def link(settings: Settings, token: str) -> str:
    """Make the address of the page that asks for the new password.

    Parameters
    ----------
    settings : Settings
    token : str

    Returns
    -------
    str
        Empty when the service does not know its address.
    """
    # Browsers send no fragments, so that the token is in no log.
    return f"{settings.public_url}/reset-password#{token}" if settings.public_url else ""


def mail_for(database: Database, settings: Settings, email: str) -> Mail | None:
    """Make the mail for whoever forgot a password.

    Parameters
    ----------
    database : Database
    settings : Settings
    email : str

    Returns
    -------
    Mail or None
        None when there is no such account, or it was sent a mail just now.
    """
    with database.write() as session:
        user = accounts.find(session, email)
        audit.record(session, "password.reset_requested", username=email)
        if user is None or not user.is_active:
            return None
        recent = exists().where(
            PasswordReset.user_id == user.id, PasswordReset.created > time.time() - _MAIL_EVERY
        )
        if session.scalar(select(recent)):
            return None
        token = issue(session, user, MAIL_SECONDS)
    return Mail(
        user.email,
        "Reset your password",
        f"Somebody, probably you, asked to reset the password of the recon3d account {user.username}.\n\n"
        f"Choose a new password within an hour:\n\n{link(settings, token)}\n\n"
        "If it was not you, ignore this mail: nothing changes.\n",
    )


def redeem(database: Database, passwords: Passwords, token: str, password: str) -> bool:
    """Set a new password; uses the token up.

    Parameters
    ----------
    database : Database
    passwords : Passwords
    token : str
    password : str

    Returns
    -------
    bool
        False when the token is not good.

    Raises
    ------
    WeakPassword
        The password is refused; the token stays good.
    """
    good = (PasswordReset.digest == digest(token), PasswordReset.expires > time.time())
    with database.read() as session:
        user = session.scalar(
            select(User).join(PasswordReset, PasswordReset.user_id == User.id).where(User.is_active, *good)
        )
    if user is None:
        return False
    if problem := password_problem(password, user.username, user.email):
        raise accounts.WeakPassword(problem)
    hashed = passwords.hash(password)
    with database.write() as session:
        user_id = session.scalar(delete(PasswordReset).where(*good).returning(PasswordReset.user_id))
        owner = None if user_id is None else session.get(User, user_id)
        if owner is None or not owner.is_active:
            return False
        accounts.set_password(session, owner, hashed)
        audit.record(session, "password.reset", user=owner)
    return True

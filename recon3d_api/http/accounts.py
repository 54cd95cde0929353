"""Accounts: made, found, given a new password, disabled; for routes and for the command line."""

from __future__ import annotations

from sqlalchemy import delete, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from recon3d_api import schemas
from recon3d_api.http import access, invitations
from recon3d_api.http.security import Passwords, password_problem
from recon3d_api.store import audit
from recon3d_api.store import tables as models
from recon3d_api.store.database import Database


class AccountTaken(Exception):
    """The username or the e-mail address belongs to another account."""


class WeakPassword(Exception):
    """The password is too easy to guess."""


def add_user(
    database: Database, passwords: Passwords, body: schemas.Register, *, invited: bool = False
) -> models.User:
    """Create an account.

    Parameters
    ----------
    database : Database
    passwords : Passwords
    body : schemas.Register
    invited : bool
        An invitation is needed; one that is given is always checked and used up.

    Returns
    -------
    models.User

    Raises
    ------
    WeakPassword
        The password is too easy to guess.
    AccountTaken
        The username or the e-mail address belongs to another account.
    BadInvitation
        The invitation is not good.
    """
    code = body.invitation or ""
    asked = invited or bool(code)
    if asked:
        invitations.check(database, code, body.email)
    if problem := password_problem(body.password, body.username, body.email):
        raise WeakPassword(problem)
    user = models.User(
        username=body.username,
        username_key=body.username.lower(),
        email=body.email,
        email_key=body.email.lower(),
        full_name=body.full_name,
        password_hash=passwords.hash(body.password),
    )
    try:
        with database.write() as session:
            taken = session.scalars(
                select(models.User).where(
                    or_(
                        models.User.username_key == user.username_key, models.User.email_key == user.email_key
                    )
                )
            ).first()
            if taken is not None:
                same = taken.username_key == user.username_key
                raise AccountTaken(f"{'Username' if same else 'E-mail address'} is already registered")
            if asked:
                invitations.use(session, code, body.email)
            session.add(user)
            session.flush()
            audit.record(session, "user.registered", user=user)
    except IntegrityError as error:  # another request was faster
        raise AccountTaken("Username or e-mail address is already registered") from error
    return user


def find(session: Session, name: str) -> models.User | None:
    """Find the user of a username or an e-mail address; no username contains an @.

    Parameters
    ----------
    session : Session
    name : str

    Returns
    -------
    models.User or None
    """
    key = name.strip().lower()
    if not key.isprintable() or len(key) > 320:
        return None
    known = models.User.email_key if "@" in key else models.User.username_key
    return session.scalar(select(models.User).where(known == key))


def set_password(session: Session, user: models.User, hashed: str) -> None:
    """Give a user a new password, and revoke all that the old one gave access to.

    Parameters
    ----------
    session : Session
    user : models.User
    hashed : str
    """
    user.password_hash = hashed
    access.revoke_all(session, user)
    # Who knew the old password could have made keys.
    session.execute(delete(models.ApiKey).where(models.ApiKey.user_id == user.id))


def set_active(session: Session, user: models.User, active: bool) -> None:
    """Disable or enable an account; disabling ends its tokens, and suspends its API keys.

    Parameters
    ----------
    session : Session
    user : models.User
    active : bool
    """
    user.is_active = active
    if not active:
        access.revoke_all(session, user)

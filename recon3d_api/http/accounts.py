"""New accounts, for whoever registers and for the command line."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError

from recon3d_api import schemas
from recon3d_api.http.security import Passwords, password_problem
from recon3d_api.store import tables as models
from recon3d_api.store.database import Database


class AccountTaken(Exception):
    """The username or the e-mail address belongs to another account."""


class WeakPassword(Exception):
    """The password is too easy to guess."""


def add_user(database: Database, passwords: Passwords, body: schemas.Register) -> models.User:
    """Create an account.

    Parameters
    ----------
    database : Database
    passwords : Passwords
    body : schemas.Register

    Returns
    -------
    models.User

    Raises
    ------
    WeakPassword
        The password is too easy to guess.
    AccountTaken
        The username or the e-mail address belongs to another account.
    """
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
            session.add(user)
    except IntegrityError as error:  # another request was faster
        raise AccountTaken("Username or e-mail address is already registered") from error
    return user

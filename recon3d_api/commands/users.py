"""``recon3d-api user``: accounts, for the operator."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from recon3d_api import logs
from recon3d_api.commands.common import parts, refuse, settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from recon3d_api.settings import Settings
    from recon3d_api.store.database import Database
    from recon3d_api.store.tables import User

app = typer.Typer(help="List, add, disable, enable, reset, promote, demote and invite users.")
Name = Annotated[str, typer.Argument(help="Username or e-mail address.")]


@app.command("list")
def show() -> None:
    """List the users: username, e-mail address, date, and whether disabled or an administrator."""
    from sqlalchemy import select

    from recon3d_api.store.tables import User

    with _database() as (database, _), database.read() as session:
        for user in session.scalars(select(User).order_by(User.id)):
            marks = [*(["disabled"] if not user.is_active else []), *(["admin"] if user.is_admin else [])]
            typer.echo("  ".join([user.username, user.email, f"{user.created_at:%Y-%m-%d}", *marks]))


@app.command()
def add(
    username: Annotated[str, typer.Argument()],
    email: Annotated[str, typer.Argument()],
    full_name: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Make an account without a running server; asks for the password, or reads it from stdin."""
    from recon3d_api import schemas
    from recon3d_api.http import accounts
    from recon3d_api.http.security import Passwords

    with _database() as (database, _):
        if sys.stdin.isatty():
            password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        else:
            password = sys.stdin.readline().rstrip("\n")
        try:
            body = schemas.Register(
                username=username, email=email, password=password, full_name=full_name, invitation=None
            )
            made = accounts.add_user(database, Passwords(), body)
        except ValidationError as error:
            refuse("\n".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors()))
        except (accounts.WeakPassword, accounts.AccountTaken) as error:
            refuse(f"{error}.")
        typer.echo(f"Made the account {made.username}.")


@app.command()
def disable(name: Name) -> None:
    """Let a user no longer in: tokens are revoked, API keys refused; projects and runs stay."""
    from recon3d_api.http import accounts
    from recon3d_api.store import audit

    with _database() as (database, _), database.write() as session:
        user = _find(session, name)
        accounts.set_active(session, user, False)
        audit.record(session, "user.disabled", target=f"user {user.username}")
    typer.echo(f"{user.username} is disabled. `recon3d-api user enable {user.username}` undoes this.")


@app.command()
def enable(name: Name) -> None:
    """Let a disabled user in again; API keys are good again, tokens are not."""
    from recon3d_api.http import accounts
    from recon3d_api.store import audit

    with _database() as (database, _), database.write() as session:
        user = _find(session, name)
        accounts.set_active(session, user, True)
        audit.record(session, "user.enabled", target=f"user {user.username}")
    typer.echo(f"{user.username} can log in.")


@app.command()
def reset(name: Name) -> None:
    """Print a one-time link with which a user sets a new password, good for a day."""
    from recon3d_api.http import resets
    from recon3d_api.store import audit

    with _database() as (database, chosen), database.write() as session:
        user = _find(session, name)
        if not user.is_active:
            refuse(f"{user.username} is disabled. Enable first: `recon3d-api user enable {user.username}`.")
        token = resets.issue(session, user, resets.OPERATOR_SECONDS)
        audit.record(session, "password.reset_requested", target=f"user {user.username}")
    if link := resets.link(chosen, token):
        typer.echo(link)
    else:
        typer.echo(
            f"{token}\nSend this token and a new password to POST /api/v1/auth/password/reset. "
            "With RECON3D_API_PUBLIC_URL set, this command prints a link to a page."
        )


@app.command()
def promote(name: Name) -> None:
    """Make a user an administrator: sees users and the audit log, disables and enables users."""
    _set_admin(name, True)


@app.command()
def demote(name: Name) -> None:
    """Make an administrator an ordinary user."""
    _set_admin(name, False)


@app.command()
def invite(
    email: Annotated[str, typer.Argument(help="Only this address may use it; it gets a mail.")] = "",
) -> None:
    """Print a code to register with, good once and for two weeks."""
    import smtplib

    from email_validator import EmailNotValidError, validate_email

    from recon3d_api.http import invitations
    from recon3d_api.mail import Mail, Mailer

    if email:
        try:
            email = validate_email(email, check_deliverability=False).normalized
        except EmailNotValidError as error:
            refuse(f"{email}: {error}")
    with _database() as (database, chosen):
        with database.write() as session:
            code = invitations.invite(session, email)
        typer.echo(code)
        mailer = Mailer(chosen)
        if email and mailer.enabled:
            text = (
                f"You are invited to {chosen.public_url}.\n\nRegister with this e-mail address and the "
                f"invitation\n\n{code}\n\nwithin {invitations.DAYS} days: POST {chosen.public_url}"
                "/api/v1/auth/register takes it as `invitation`.\n"
            )
            try:
                mailer.deliver(Mail(email, "Invitation to recon3d", text))
            except (OSError, smtplib.SMTPException) as error:
                typer.echo(f"The mail to {email} was not sent: {error}. The code is good.", err=True)
                raise typer.Exit(1) from None
            typer.echo(f"Sent to {email}.")


def _set_admin(name: str, admin: bool) -> None:
    from recon3d_api.store import audit

    with _database() as (database, _), database.write() as session:
        user = _find(session, name)
        user.is_admin = admin
        action: audit.Action = "user.promoted" if admin else "user.demoted"
        audit.record(session, action, target=f"user {user.username}")
    typer.echo(f"{user.username} is {'an administrator' if admin else 'an ordinary user'} now.")


def _find(session: Session, name: str) -> User:
    from recon3d_api.http import accounts

    user = accounts.find(session, name)
    if user is None:
        refuse(f"There is no user {name}. `recon3d-api user list` shows all.")
    return user


@contextlib.contextmanager
def _database() -> Iterator[tuple[Database, Settings]]:
    """Give the database; what is recorded names the command line as the address."""
    chosen = settings()
    mark = logs.caller.set(logs.Caller("command line"))
    try:
        with parts(chosen) as (database, _, installation), installation.maintain():
            yield database, chosen
    finally:
        logs.caller.reset(mark)

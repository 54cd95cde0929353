"""The command line: ``recon3d-api`` serves, ``recon3d-api worker`` works on runs; the rest maintains."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from pydantic import ValidationError

from recon3d_api import logs
from recon3d_api.settings import InsecureSettings, Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from recon3d_api.files.installation import Installation
    from recon3d_api.files.storage import Storage
    from recon3d_api.store.database import Database
    from recon3d_api.work.orphans import Orphan

app = typer.Typer(
    help="The REST and WebSocket service of recon3d; settings come from RECON3D_API_… variables.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_EXIT_BAD_SETTINGS = 2


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
) -> None:
    """Serve the API, with as many runners as RECON3D_API_RUNNERS says."""
    if context.invoked_subcommand is not None:
        return
    settings = _settings()
    import uvicorn

    from recon3d_api.app import create_app

    # The application checks this again when it starts, but could not say it in one sentence.
    with _parts(settings) as (_, _, installation):
        installation.settle()
    uvicorn.run(
        create_app(settings),
        host=host,
        port=port,
        log_config=None,
        ws="websockets-sansio",
        ws_max_size=65_536,
        ws_ping_interval=20,
        timeout_graceful_shutdown=10,
    )


@app.command()
def worker() -> None:
    """Work on runs, without serving; share DATA_DIR and DATABASE_URL with the servers."""
    settings = _settings()
    from recon3d_api.work.runner import JobRunner
    from recon3d_api.work.startup import Sweeper, begin

    with _parts(settings) as (database, storage, installation):
        begin(installation, database, storage)
        runner = JobRunner(settings, database, storage, slots=max(settings.runners, 1))
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        sweeper = Sweeper(database, storage)
        runner.start()
        sweeper.start()
        ended.wait()
        runner.stop()
        sweeper.stop()
        installation.close()


@app.command()
def gc(
    apply: Annotated[bool, typer.Option("--apply", help="Move them to DATA_DIR/quarantine.")] = False,
    min_age: Annotated[
        float, typer.Option(help="Seconds that a folder must be unchanged to be moved.", min=0)
    ] = 60.0,
) -> None:
    """List folders that no project in the database owns; removes nothing."""
    from recon3d_api.work import orphans

    with _parts(_settings()) as (database, storage, installation), installation.maintain():
        root = storage.settings.data_dir
        found = [orphans.Orphan.of(path) for path in orphans.find(database, storage)]
        if not found:
            folders = len(storage.folders())
            if folders:
                typer.echo(f"Every folder in {root} belongs to a project in the database ({folders} found).")
            else:
                typer.echo(f"{root} holds no project folder. Check RECON3D_API_DATA_DIR.")
            return
        many = len(found) > 1
        typer.echo(f"{len(found)} folder{'s' * many} in {root} without a project in the database:")
        for orphan in found:
            typer.echo(f"  {_line(orphan, storage)}")
        if not apply:
            typer.echo(
                "Nothing was changed. `recon3d-api adopt USER` makes them projects of that user; "
                f"`recon3d-api gc --apply` moves them to {storage.settings.quarantine_dir}."
            )
            return
        moved, kept = [], 0
        for orphan in found:
            try:
                moved.append(orphans.set_aside(database, storage, orphan, min_age))
                typer.echo(f"Moved {orphan.path} to {moved[-1]}")
            except orphans.OrphanError as error:
                kept += 1
                typer.echo(f"Left {orphan.path}: {error}.", err=True)
        if moved:
            installation.tie()
            typer.echo(
                "Nothing was removed. To undo this, move a folder back, or make it a project: "
                f"`recon3d-api adopt USER {moved[0].name}`."
            )
        if kept:
            raise typer.Exit(1)


@app.command()
def adopt(
    user: Annotated[str, typer.Argument(help="Username of the owner.")],
    folders: Annotated[
        list[str] | None,
        typer.Argument(help="In projects or quarantine; by default all in projects without an owner."),
    ] = None,
) -> None:
    """Make folders without a project in the database projects of a user."""
    from sqlalchemy import select

    from recon3d_api.store.tables import User
    from recon3d_api.work import orphans

    with _parts(_settings()) as (database, storage, installation), installation.maintain():
        with database.read() as session:
            owner = session.scalar(select(User.id).where(User.username_key == user.lower()))
        if owner is None:
            _refuse(f"There is no user {user}. Make the account with `recon3d-api create-user {user} EMAIL`.")
        try:
            paths = (
                orphans.locate(storage, folders) if folders else orphans.find(database, storage, trash=False)
            )
        except orphans.OrphanError as error:
            _refuse(f"{error}. `recon3d-api gc` lists the folders without an owner.")
        adopted = kept = 0
        for path in paths:
            try:
                row = orphans.adopt(database, storage, owner, path)
                adopted += 1
                typer.echo(f"{path} is project {row.id} of {user}: {row.name} ({row.status})")
                if trouble := orphans.trouble(storage.root(row.folder)):
                    typer.echo(f"  It is an empty draft, because nothing could be read: {trouble}", err=True)
            except orphans.OrphanError as error:
                kept += 1
                typer.echo(f"Left {path}: {error}.", err=True)
        if adopted:
            installation.tie()
        elif not kept:
            typer.echo("There is nothing to adopt: every folder in projects has an owner.")
        if not folders and (aside := orphans.quarantined(storage)):
            names = " ".join(path.name for path in aside)
            typer.echo(f"In quarantine, to be adopted by name: {names}")
        if kept:
            raise typer.Exit(1)


@app.command("create-user")
def create_user(
    username: Annotated[str, typer.Argument()],
    email: Annotated[str, typer.Argument()],
    full_name: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Make an account without a running server; asks for the password, or reads it from stdin."""
    from recon3d_api import schemas
    from recon3d_api.http import accounts
    from recon3d_api.http.security import Passwords

    with _parts(_settings()) as (database, _, installation), installation.maintain():
        if sys.stdin.isatty():
            password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        else:
            password = sys.stdin.readline().rstrip("\n")
        try:
            body = schemas.Register(username=username, email=email, password=password, full_name=full_name)
            made = accounts.add_user(database, Passwords(), body)
        except ValidationError as error:
            _refuse("\n".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors()))
        except (accounts.WeakPassword, accounts.AccountTaken) as error:
            _refuse(f"{error}.")
        typer.echo(f"Made the account {made.username}.")


@app.command()
def relink() -> None:
    """Declare that DATABASE_URL and DATA_DIR belong together; changes no project and no row."""
    with _parts(_settings()) as (database, storage, installation):
        installation.relink()
        typer.echo(
            f"{database.url} and {storage.settings.data_dir} belong together now. "
            "`recon3d-api gc` lists folders without a project in the database."
        )


def _line(orphan: Orphan, storage: Storage) -> str:
    changed = datetime.fromtimestamp(orphan.changed, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    path = orphan.path.relative_to(storage.settings.data_dir)
    return f"{path}  {orphan.size / 2**20:.1f} MiB  changed {changed}  {orphan.holds}"


@contextlib.contextmanager
def _parts(settings: Settings) -> Iterator[tuple[Database, Storage, Installation]]:
    """Give the parts that all commands need; an end with words where they cannot be used."""
    from sqlalchemy.exc import SQLAlchemyError

    from recon3d_api.files.installation import DataFolderBusy, Installation, InstallationMismatch
    from recon3d_api.files.storage import Storage
    from recon3d_api.store.database import Database

    try:
        database, storage = Database(settings.resolved_database_url), Storage(settings)
    except SQLAlchemyError as error:
        _refuse(f"RECON3D_API_DATABASE_URL: {error}")
    try:
        yield database, storage, Installation(database, storage)
    except (InstallationMismatch, DataFolderBusy) as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(_unusable(error))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        _refuse(f"The database {database.url} fails: {reason}\nCheck RECON3D_API_DATABASE_URL.")
    finally:
        database.dispose()


def _settings() -> Settings:
    """Settings that are good, or an end with words; what takes long to import comes after."""
    os.umask(0o077)  # all that is made from here on is this user's only
    try:
        settings = Settings().prepare()
    except InsecureSettings as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(_unusable(error))
    except ValidationError as error:
        _refuse("\n".join(_wrong(row) for row in error.errors()))
    logs.configure(settings.log_level, settings.log_format)
    return settings


def _wrong(row: ErrorDetails) -> str:
    return f"RECON3D_API_{str(row['loc'][0]).upper()}: {row['msg'].removeprefix('Value error, ')}."


def _unusable(error: OSError) -> str:
    return (
        f"{error.filename}: {error.strerror}. Set RECON3D_API_DATA_DIR to a folder that this user may write."
    )


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    raise typer.Exit(_EXIT_BAD_SETTINGS)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()

"""The command line: ``recon3d-api`` serves, ``recon3d-api worker`` works on runs; the rest maintains."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recon3d_api.commands import audit_log, users
from recon3d_api.commands.common import loading
from recon3d_api.commands.common import parts as _parts
from recon3d_api.commands.common import refuse as _refuse
from recon3d_api.commands.common import settings as _settings

if TYPE_CHECKING:
    from recon3d_api.files.storage import Storage
    from recon3d_api.work.orphans import Orphan

app = typer.Typer(
    help="The REST and WebSocket service of recon3d; settings come from RECON3D_API_… variables.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(users.app, name="user")
app.command("create-user", hidden=True)(users.add)  # its name until `user add` came
app.add_typer(audit_log.app)


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
    with loading():
        from uvicorn import Config
        from uvicorn.config import STARTUP_FAILURE

        from recon3d_api.app import create_app
        from recon3d_api.http.connections import limited_protocol
        from recon3d_api.http.serving import Server

    # The application checks this again when it starts, but could not say it in one sentence.
    with loading(), _parts(settings) as (_, _, installation):
        installation.settle()
    if settings.operations_port is not None:
        try:
            socket.create_server((settings.operations_host, settings.operations_port)).close()
        except OSError as error:
            _refuse(
                f"Port {settings.operations_port} of {settings.operations_host}: "
                f"{os.strerror(error.errno or 0)}. Choose another RECON3D_API_OPERATIONS_PORT."
            )
    with loading():
        application = create_app(settings)
    server = Server(
        Config(
            application,
            host=host,
            port=port,
            log_config=None,
            http=limited_protocol(settings),
            ws="websockets-sansio",
            ws_max_size=65_536,
            # Beside the heartbeats, and what the kernel finds out: for who is behind a proxy.
            ws_ping_interval=300,
            ws_ping_timeout=60,
            ws_per_message_deflate=False,  # messages are a few hundred bytes
            timeout_graceful_shutdown=10,
        )
    )
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise typer.Exit(STARTUP_FAILURE)


@app.command()
def worker() -> None:
    """Work on runs, without serving; share DATA_DIR and DATABASE_URL with the servers."""
    settings = _settings()
    from recon3d_api.work.runner import JobRunner
    from recon3d_api.work.startup import Sweeper, begin

    with _parts(settings) as (database, storage, installation):
        begin(installation, database, storage)
        runner = JobRunner(settings, database, storage, slots=max(settings.runners, 1))
        # No event: a handler that sets one waits for ever if it interrupts the event's own lock.
        ending: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: ending.append(number))
        sweeper = Sweeper(database, storage)
        database.changes.start()
        runner.start()
        sweeper.start()
        while not ending:
            time.sleep(0.1)
        runner.stop()
        sweeper.stop()
        database.changes.stop()
        installation.close()


@app.command()
def gc(
    apply: Annotated[bool, typer.Option("--apply", help="Move them to DATA_DIR/quarantine.")] = False,
    min_age: Annotated[
        float, typer.Option(help="Seconds that a folder must be unchanged to be moved.", min=0)
    ] = 60.0,
) -> None:
    """List folders that no project in the database owns, and abandoned uploads; removes nothing."""
    from recon3d_api.work import abandoned, orphans

    with _parts(_settings()) as (database, storage, installation), installation.maintain():
        root = storage.settings.data_dir
        if left := abandoned.uploads(database, storage):
            typer.echo(f"{len(left)} abandoned upload{'s' * (len(left) > 1)} in {root}:")
            for upload in left:
                size = f"{upload.size / 1e6:.1f} MB"
                typer.echo(f"  {upload.path.relative_to(root)}  {size}  {upload.fate}")
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
            _refuse(f"There is no user {user}. Make the account with `recon3d-api user add {user} EMAIL`.")
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


@app.command()
def relink() -> None:
    """Declare that DATABASE_URL and DATA_DIR belong together; changes no project and no row."""
    with _parts(_settings()) as (database, storage, installation):
        installation.relink()
        typer.echo(
            f"{database.url} and {storage.settings.data_dir} belong together now. "
            "`recon3d-api gc` lists folders without a project in the database."
        )


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="DEST", help="A new folder, outside of DATA_DIR.")],
) -> None:
    """Copy the database and the projects; the service may run meanwhile."""
    from recon3d_api.work.backup import BackupError, back_up

    with _parts(_settings()) as (database, storage, installation):
        installation.settle()
        try:
            files = back_up(database, storage, target)
        except BackupError as error:
            _refuse(f"{error}.")
        typer.echo(f"{target} holds the database and {files} files. Keep it private: it holds secrets.")


@app.command("restore")
def restore_backup(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="What `recon3d-api backup` made.")],
) -> None:
    """Put a backup into an empty database and an empty data folder; overwrites nothing."""
    from recon3d_api.work.backup import BackupError, restore

    with _parts(_settings()) as (database, storage, installation):
        try:
            files = restore(database, storage, source)
        except BackupError as error:
            _refuse(f"{error}.")
        installation.settle()
        typer.echo(f"Restored the database and {files} files. Start the service; interrupted runs resume.")


def _line(orphan: Orphan, storage: Storage) -> str:
    changed = datetime.fromtimestamp(orphan.changed, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    path = orphan.path.relative_to(storage.settings.data_dir)
    return f"{path}  {orphan.size / 2**20:.1f} MiB  changed {changed}  {orphan.holds}"


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()

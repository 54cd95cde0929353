"""The command line: ``recon3d-api`` serves, ``recon3d-api worker`` only works on runs."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from recon3d_api import logs
from recon3d_api.settings import InsecureSettings, Settings

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
    from recon3d_api.files.storage import Storage
    from recon3d_api.store.database import Database
    from recon3d_api.work.runner import JobRunner

    database = Database(settings.resolved_database_url)
    database.migrate()
    runner = JobRunner(settings, database, Storage(settings), slots=max(settings.runners, 1))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    runner.start()
    ended.wait()
    runner.stop()
    database.dispose()


def _settings() -> Settings:
    """Settings that are good, or an end with words; what takes long to import comes after."""
    try:
        settings = Settings().prepare()
    except InsecureSettings as error:
        _refuse(str(error))
    except ValidationError as error:
        _refuse("\n".join(f"RECON3D_API_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()))
    logs.configure(settings.log_level, settings.log_format)
    return settings


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    raise typer.Exit(_EXIT_BAD_SETTINGS)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()

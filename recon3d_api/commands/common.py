"""What the commands share: settings, the parts that they work on, and an end with words."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import typer
from pydantic import ValidationError

from recon3d_api import logs
from recon3d_api.settings import InsecureSettings, Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from recon3d_api.files.installation import Installation
    from recon3d_api.files.storage import Storage
    from recon3d_api.store.database import Database

_EXIT_BAD_SETTINGS = 2


@contextlib.contextmanager
def parts(chosen: Settings) -> Iterator[tuple[Database, Storage, Installation]]:
    """Give the parts that all commands need; an end with words where they cannot be used.

    Parameters
    ----------
    chosen : Settings

    Yields
    ------
    database : Database
    storage : Storage
    installation : Installation
    """
    from sqlalchemy.exc import SQLAlchemyError

    from recon3d_api.files.installation import DataFolderBusy, Installation, InstallationMismatch
    from recon3d_api.files.storage import Storage
    from recon3d_api.store.database import Database

    try:
        database, storage = Database(chosen.resolved_database_url), Storage(chosen)
    except SQLAlchemyError as error:
        refuse(f"RECON3D_API_DATABASE_URL: {error}")
    try:
        yield database, storage, Installation(database, storage)
    except (InstallationMismatch, DataFolderBusy) as error:
        refuse(str(error))
    except OSError as error:
        refuse(_unusable(error))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        refuse(f"The database {database.url} fails: {reason}\nCheck RECON3D_API_DATABASE_URL.")
    finally:
        database.dispose()


def settings() -> Settings:
    """Read settings that are good, or end with words; what takes long to import comes after.

    Returns
    -------
    Settings
    """
    os.umask(0o077)  # all that is made from here on is this user's only
    try:
        found = Settings().prepare()
    except InsecureSettings as error:
        refuse(str(error))
    except OSError as error:
        refuse(_unusable(error))
    except ValidationError as error:
        refuse("\n".join(_wrong(row) for row in error.errors()))
    logs.configure(found.log_level, found.log_format)
    return found


def _wrong(row: ErrorDetails) -> str:
    return f"RECON3D_API_{str(row['loc'][0]).upper()}: {row['msg'].removeprefix('Value error, ')}."


def _unusable(error: OSError) -> str:
    return (
        f"{error.filename}: {error.strerror}. Set RECON3D_API_DATA_DIR to a folder that this user may write."
    )


def refuse(message: str) -> NoReturn:
    """End with a message, and the status of wrong use.

    Parameters
    ----------
    message : str

    Raises
    ------
    typer.Exit
    """
    sys.stderr.write(f"{message}\n")
    raise typer.Exit(_EXIT_BAD_SETTINGS)

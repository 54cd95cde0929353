"""Backups: a consistent copy of the database, then the projects' files; and the way back.

The database comes first: a project that is made between the two steps is then a folder without a row,
which nobody loses. Artifacts do not change once they are finished, so runs may go on meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

import recon3d
from recon3d_api.files.storage import Storage
from recon3d_api.store.database import Database

_MANIFEST, _SQLITE, _POSTGRES, _DATA = "backup.json", "database.sqlite", "database.pgdump", "data"
#: What a data folder is beside its projects; the rest is made anew.
_FILES = ("installation.id", "installation.id.next", "secret.key")
_FOLDERS = ("projects", "quarantine")


class BackupError(Exception):
    """A backup cannot be made or restored; the message says why, and what was changed."""


def back_up(database: Database, storage: Storage, target: Path) -> int:
    """Copy everything that cannot be made again.

    Parameters
    ----------
    database : Database
    storage : Storage
    target : Path
        A folder that does not exist yet.

    Returns
    -------
    int
        Files of projects.

    Raises
    ------
    BackupError
        Something could not be copied; nothing is left at `target`.
    """
    target = target.absolute()
    data = storage.settings.data_dir.resolve()
    if os.path.lexists(target):
        raise BackupError(f"{target} exists. Choose a new folder; nothing is overwritten")
    if data == target.resolve() or data in target.resolve().parents:
        raise BackupError(f"{target} is in the data folder. Choose a folder outside")
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    partial.mkdir(mode=0o700, parents=True)
    try:
        copy = partial / (_SQLITE if database.is_sqlite else _POSTGRES)
        (_dump_sqlite if database.is_sqlite else _dump_postgres)(database, copy)
        copied = dict(_copy(data, partial / _DATA))
        manifest = {
            "recon3d": recon3d.__version__,
            "database": copy.name,
            "sha256": _digest(copy),
            "files": copied,
        }
        (partial / _MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")
        os.rename(partial, target)
    except OSError as error:
        raise BackupError(f"{error.filename or target}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(copied)


def restore(database: Database, storage: Storage, source: Path) -> int:
    """Put a backup into an empty database and an empty data folder, after checking that it is whole.

    Parameters
    ----------
    database : Database
    storage : Storage
    source : Path
        What `back_up` made.

    Returns
    -------
    int
        Files of projects.

    Raises
    ------
    BackupError
        The backup is not whole or of another kind of database, or something is there already.
    """
    source = source.absolute()
    name = _SQLITE if database.is_sqlite else _POSTGRES
    files = _verify(source, name)
    data = storage.settings.data_dir
    if storage.folders() or any((data / file).exists() for file in _FILES if file != "secret.key"):
        raise BackupError(f"{data} is in use already. Restore into an empty data folder; nothing was changed")
    if database.exists:
        with database.engine.connect() as connection:
            tables = sa.inspect(connection).get_table_names()
        if tables:
            raise BackupError(
                f"The database {database.url} is not empty. Restore into an empty one; nothing was changed"
            )
    try:
        for relative in files:
            target = data / relative
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy2(source / _DATA / relative, target)
        if database.is_sqlite:
            place = Path(database.url.database or "")
            database.dispose()
            for suffix in ("", "-wal", "-shm"):
                place.with_name(f"{place.name}{suffix}").unlink(missing_ok=True)
            shutil.copyfile(source / name, place)
            place.chmod(0o600)
        else:
            _postgres(
                database, "pg_restore", "--exit-on-error", "--no-owner", "--single-transaction", source / name
            )
    except OSError as error:
        raise BackupError(f"{error.filename or data}: {error.strerror}. {data} is half filled") from error
    return len(files)


def _verify(source: Path, name: str) -> list[str]:
    try:
        manifest = json.loads((source / _MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, int] = manifest["files"]
        kept, digest = manifest["database"], manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{source} is no backup of recon3d-api: {_MANIFEST} cannot be read") from error
    if kept != name:
        wanted = "PostgreSQL" if kept == _POSTGRES else "SQLite"
        raise BackupError(f"The backup is of {wanted}; set RECON3D_API_DATABASE_URL to such a database")
    if not (source / name).is_file() or _digest(source / name) != digest:
        raise BackupError(f"{source / name} is damaged; nothing was changed")
    for relative, size in files.items():
        path = source / _DATA / relative
        if ".." in Path(relative).parts or Path(relative).is_absolute():
            raise BackupError(f"{source / _MANIFEST} names {relative}; nothing was changed")
        if not path.is_file() or path.stat().st_size != size:
            raise BackupError(f"{path} is missing or damaged; nothing was changed")
    return list(files)


def _copy(data: Path, target: Path) -> Iterator[tuple[str, int]]:
    """Copy files; what a run removes meanwhile is left out."""
    for path in _paths(data):
        relative = path.relative_to(data)
        place = target / relative
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            shutil.copy2(path, place)
        except FileNotFoundError:
            place.unlink(missing_ok=True)
            continue
        yield relative.as_posix(), place.stat().st_size


def _paths(data: Path) -> Iterator[Path]:
    yield from (data / name for name in _FILES if (data / name).exists())
    for folder in _FOLDERS:
        for parent, _, names in os.walk(data / folder):
            for name in names:
                path = Path(parent) / name
                with contextlib.suppress(FileNotFoundError):
                    if path.is_file() and not path.is_symlink():
                        yield path


def _dump_sqlite(database: Database, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(f"file:{database.url.database}?mode=ro", uri=True)) as source,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
        (found,) = copy.execute("PRAGMA integrity_check").fetchone()
    if found != "ok":
        raise BackupError(f"{database.url.database} is damaged: {found}")


def _dump_postgres(database: Database, target: Path) -> None:
    _postgres(database, "pg_dump", "--format=custom", "--no-owner", f"--file={target}")


def _postgres(database: Database, program: str, *arguments: str | Path) -> None:
    """Run a program of PostgreSQL; the password is not among its arguments, which others can see."""
    url = database.url
    address = url.set(drivername="postgresql", password=None).render_as_string()
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    try:
        done = subprocess.run(
            [program, f"--dbname={address}", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise BackupError(f"{program} is missing: apt-get install postgresql-client") from error
    if done.returncode:
        raise BackupError(f"{program}: {done.stderr.strip()}")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()

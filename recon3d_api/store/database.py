"""The database: SQLite or PostgreSQL, one session a request, migrations at start."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import event
from sqlalchemy.orm import Session

from recon3d_api.store.changes import CHANNEL, Changes

# Any numbers that no other use of the database has.
_MIGRATION_LOCK = 0x7265636F
FOLDERS, CLAIMS = 0x72656370, 0x72656371
#: A host that does not answer at all would hold callers for minutes.
_CONNECT_SECONDS = 10
_WRITE = "recon3d_write"
_NOTIFY = sa.text(f"NOTIFY {CHANNEL}")


class Database:
    """Engine and sessions.

    Parameters
    ----------
    url : str
        SQLAlchemy URL of SQLite or PostgreSQL.

    Attributes
    ----------
    changes : Changes
        Tells when there is something new.
    """

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_pre_ping": not self.is_sqlite, "pool_size": 10, "max_overflow": 40}
        if self.is_sqlite:
            options["connect_args"] = {"check_same_thread": False, "timeout": 30}
        elif "connect_timeout" not in self.url.query:
            options["connect_args"] = {"connect_timeout": _CONNECT_SECONDS}
        self.engine = sa.create_engine(self.url, **options)
        self.changes = Changes(self.engine)
        if self.is_sqlite:
            event.listen(self.engine, "do_connect", self._keep_private)
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that only reads.

        Yields
        ------
        Session
        """
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextlib.contextmanager
    def write(self, *, quiet: bool = False) -> Iterator[Session]:
        """Open a session that commits at the end, or rolls back when the block raises.

        Parameters
        ----------
        quiet : bool
            Nobody is told of the change: it is none that others wait for.

        Yields
        ------
        Session
        """
        with Session(self.engine, expire_on_commit=False) as session:
            # SQLite: taking the write lock first means that no transaction fails half way.
            session.connection(execution_options={_WRITE: True})
            with contextlib.ExitStack() as undo:
                undo.callback(session.rollback)
                yield session
                if not quiet and not self.is_sqlite:
                    session.execute(_NOTIFY)
                session.commit()
                undo.pop_all()
        if not quiet:
            self.changes.tell()

    def serialize(self, session: Session, kind: int = FOLDERS) -> None:
        """Make transactions of one kind wait for each other.

        Holds until the transaction of `write` ends. SQLite has one writer anyway.

        Parameters
        ----------
        session : Session
        kind : int
            `FOLDERS` for those that tie folders to rows, `CLAIMS` for those that claim runs.
        """
        if not self.is_sqlite:
            session.execute(sa.text(f"SELECT pg_advisory_xact_lock({kind})"))

    @property
    def exists(self) -> bool:
        """Whether there is a database; SQLite would make its file when asked."""
        return not (self.is_sqlite and self.url.database) or Path(self.url.database or "").exists()

    def now(self, session: Session) -> float:
        """Read the clock that all runners share.

        Parameters
        ----------
        session : Session

        Returns
        -------
        float
            Seconds since 1970.
        """
        if self.is_sqlite:
            return time.time()
        return float(session.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)

    def migrate(self) -> None:
        """Bring the tables up to date; of several servers that start at once, one does it."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with contextlib.ExitStack() as stack:
            if self.is_sqlite and self.url.database:
                stack.enter_context(filelock.FileLock(f"{self.url.database}.migrate.lock", timeout=120))
            connection = stack.enter_context(self.engine.connect())
            if not self.is_sqlite:
                connection.execute(sa.text(f"SELECT pg_advisory_lock({_MIGRATION_LOCK})"))
                connection.commit()
            try:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
            finally:
                if not self.is_sqlite:
                    connection.rollback()
                    connection.execute(sa.text(f"SELECT pg_advisory_unlock({_MIGRATION_LOCK})"))
                    connection.commit()

    def _keep_private(self, *_: object) -> None:
        """Make SQLite's file readable for this user only; its other files get the same mode."""
        path = Path(self.url.database or "")
        if path.name and path.name != ":memory:":
            with contextlib.suppress(OSError):  # SQLite says what is wrong
                # An existing file must not be opened here: closing it would drop the locks of this
                # process's other connections, and other processes would remove the log in use.
                if not path.exists():
                    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
                if path.stat().st_mode & 0o077:
                    path.chmod(0o600)

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _configure_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where _begin_sqlite says
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    # SQLite's own knows the letters of ASCII only.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

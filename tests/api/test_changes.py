"""Changes of the database are told: inside the process, and by other processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from recon3d_api.settings import Settings
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Runner
from tests.api import forks
from tests.api.conftest import wait_for

_WRITE = """
import sys
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Runner
database = Database(sys.argv[1])
with database.write() as session:
    session.add(Runner(name=sys.argv[2], seen=1.0))
database.dispose()
"""


def write_elsewhere(database: Database, name: str) -> None:
    url = database.url.render_as_string(hide_password=False)
    done = forks.run(["-c", _WRITE, url, name], env=os.environ, timeout=240)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def database(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Database]:
    database = Database(Settings(data_dir=tmp_path, database_url=new_database()).resolved_database_url)
    database.migrate()
    yield database
    database.changes.stop()
    database.dispose()


def test_own_changes_are_told_at_once(database: Database) -> None:
    told: list[float] = []
    with database.changes.listener(lambda: told.append(time.monotonic())):
        known = database.changes.number
        waiting = threading.Thread(target=database.changes.wait, args=(known, 30))
        waiting.start()
        with database.write() as session:
            session.add(Runner(name="own", seen=1.0))
            assert not told
        assert len(told) == 1
        waiting.join(30)
        assert not waiting.is_alive()
        with database.write(quiet=True) as session:
            session.add(Runner(name="quiet", seen=1.0))
        with pytest.raises(ZeroDivisionError), database.write() as session:
            raise ZeroDivisionError
        assert len(told) == 1
    assert database.changes.number == known + 1


def test_changes_of_other_processes_are_told(database: Database) -> None:
    database.changes.start()
    wait_for(lambda: database.changes.number)
    known = database.changes.number
    assert database.changes.wait(known, 0.3) == known
    write_elsewhere(database, "other")
    assert database.changes.wait(known, 30) > known
    began = time.monotonic()
    database.changes.stop()
    assert time.monotonic() - began < 10  # it does not wait for its next look at the server, of 30 s


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True, scope="session")  # SQLite has no server
def test_following_goes_on_when_the_connection_is_lost(database: Database) -> None:
    database.changes.start()
    wait_for(lambda: database.changes.number)
    known = database.changes.number
    with database.engine.connect() as connection:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'"
        assert connection.execute(sa.text(ended + " AND datname = current_database()")).all()
    assert wait_for(lambda: database.changes.number > known)  # what was missed meanwhile
    time.sleep(0.3)
    known = database.changes.number
    write_elsewhere(database, "later")
    assert database.changes.wait(known, 30) > known


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True, scope="session")
def test_another_process_that_ends_leaves_the_log_of_this_one(database: Database) -> None:
    """A closed descriptor drops a process's locks: SQLite then takes the log for unused."""
    log = Path(f"{database.url.database}-wal")
    with database.read() as first, database.read() as second:
        for session in (first, second):  # connections that the pool keeps
            assert session.scalar(sa.select(sa.func.count()).select_from(Runner)) == 0
    number = log.stat().st_ino
    for index in range(3):
        write_elsewhere(database, f"other {index}")
        assert log.stat().st_ino == number
        with database.write() as session:
            session.add(Runner(name=f"own {index}", seen=1.0))
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Runner)) == 6
    write_elsewhere(database, "last")
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Runner)) == 7
        assert session.scalar(sa.text("PRAGMA integrity_check")) == "ok"

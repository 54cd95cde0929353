"""A service that has nothing to do sleeps, and yet misses nothing."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from recon3d_api.http import connections, serving
from recon3d_api.settings import Settings
from recon3d_api.store import changes, inotify
from recon3d_api.store import database as store_database
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Job, Project, Run, User
from tests.api.conftest import Api, wait_for
from tests.api.test_changes import database, write_elsewhere

__all__ = ["database"]

_SERVER = """
import uvicorn
from alembic.config import Config
from alembic.script import ScriptDirectory
from recon3d_api.http import serving
serving._TICK = 60
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive(); await send({"type": "lifespan.startup.complete"})
        print("up", flush=True)
        await receive(); await send({"type": "lifespan.shutdown.complete"})
serving.Server(uvicorn.Config(app, port=0, log_level="critical")).run()
"""


def test_an_idle_service_asks_its_database_nothing(
    serve: Callable[..., AbstractContextManager[Api]],
) -> None:
    asked: list[str] = []
    with serve(runners=2, lease_seconds=60.0) as api:
        time.sleep(1.0)  # the looks at the start
        sa.event.listen(
            api.service.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2])
        )
        time.sleep(2.6)
        assert asked == []
        with api.client(api.user()[1]) as client:
            assert client.get("/auth/me").status_code == 200
        assert asked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_between_two_ticks(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(number)
        process.wait(10)
    assert time.monotonic() - began < 5


def test_the_server_wakes_once_a_second_and_keeps_its_date(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []

    class Counted(serving.Server):
        async def on_tick(self, counter: int) -> bool:
            ticks.append(time.monotonic())
            return await super().on_tick(counter)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    listener = socket.create_server(("127.0.0.1", 0))
    server = Counted(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    wait_for(lambda: server.started)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    first = parsedate_to_datetime(httpx.get(url).headers["date"])
    time.sleep(2.2)
    assert parsedate_to_datetime(httpx.get(url).headers["date"]) > first
    # Uvicorn's own server ticks ten times a second.
    passed = time.monotonic() - ticks[0]
    assert len(ticks) <= passed + 2
    # Asked to end, it does not wait for the next tick.
    monkeypatch.setattr(serving, "_TICK", 60.0)
    known = len(ticks)
    assert wait_for(lambda: len(ticks) > known)
    server.ask_to_end()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True, scope="session")
@pytest.mark.parametrize("told", [True, False])
def test_sqlite_is_not_looked_at_all_the_time(
    database: Database, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of writes; where it does not, looking goes on."""
    monkeypatch.setattr(changes, "_LOOK", 60.0)
    if not told:
        monkeypatch.setattr(inotify, "watch", lambda folder: None)
    database.changes.start()
    wait_for(lambda: database.changes.number)
    for index in range(5):
        known = database.changes.number
        write_elsewhere(database, f"other {index}")
        assert wait_for(lambda known=known: database.changes.number > known, 5)
        time.sleep(0.1)  # the looks after a write


def test_the_kernel_notices_a_listener_that_is_silently_gone() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    protocol = connections.limited_protocol(Settings(connections_per_address=0))
    held: list[socket.socket] = []

    class Kept(protocol):  # type: ignore[misc, valid-type]
        def handle_websocket_upgrade(self, *arguments: Any) -> None:
            held.append(self.transport.get_extra_info("socket"))
            super().handle_websocket_upgrade(*arguments)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    server = serving.Server(
        uvicorn.Config(app, log_config=None, lifespan="off", http=Kept, ws="websockets-sansio")
    )
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        wait_for(lambda: server.started)
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            assert client.recv(1000).startswith(b"HTTP/1.1 101")
            (there,) = held
            assert there.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
            assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 90_000
    finally:
        server.ask_to_end()
        thread.join(10)


def test_the_newest_migration_is_the_one_that_alembic_finds(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(store_database._MIGRATIONS))
    assert store_database._newest_migrations() == set(ScriptDirectory.from_config(config).get_heads())
    # An older database is brought up to date, one that is current is left alone.
    asked: list[str] = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    database.migrate()
    assert not [text for text in asked if text.split()[0] in ("CREATE", "ALTER", "UPDATE", "INSERT")]
    columns = (("users", "mail_runs"), ("events", "pictures"), ("runs", "seconds_left"))

    def there() -> set[tuple[str, str]]:
        found = sa.inspect(database.engine)
        return {pair for pair in columns if pair[1] in {c["name"] for c in found.get_columns(pair[0])}}

    with database.write() as session:
        user = User(
            username="migrated", username_key="migrated", email="m@x", email_key="m@x", password_hash="x"
        )
        session.add(user)
        session.flush()
        project = Project(name="migrated", owner_id=user.id, folder="migrated")
        session.add(project)
        session.flush()
        run = Run(project_id=project.id, owner_id=user.id, quality="low", status="completed")
        session.add(run)
        session.flush()
        session.add(Job(project_id=project.id, run_id=run.id, job_type="texturing", position=0))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0041")
    assert there() == set()
    database.migrate()
    assert there() == set(columns)
    # What refers to the rows of a table that a migration changes is still there.
    with database.read() as session:
        kept = sa.select(Job.job_type, Run.quality, Project.name).join_from(Job, Run).join(Project)
        found = session.execute(kept.where(Project.name == "migrated")).all()
        assert [tuple(row) for row in found] == [("texturing", "low", "migrated")]

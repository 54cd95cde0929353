"""The service, really served, on SQLite and on a PostgreSQL server that is started here."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
import uvicorn
from PIL import Image

import recon3d
from recon3d_api.app import create_app
from recon3d_api.http import security
from recon3d_api.http.dependencies import Service
from recon3d_api.settings import Settings
from recon3d_api.store.tables import Project, User
from recon3d_api.work.claims import Claim
from tests.api.fake_run import command_for
from tests.api.passwords import CheapHasher
from tests.synthetic import media

BACKENDS = ("sqlite", "postgresql")
#: Tests of what the databases do differently.
_ON_BOTH = ("test_changes.py", "test_installation.py", "test_races.py")
_numbers = itertools.count(1)
_served: dict[str, Api] = {}
_held: list[Path] = []


# --- databases --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a fresh PostgreSQL server, without the database's name."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = found[-1] if found else Path(shutil.which("initdb") or "/missing")
    if not initdb.exists():
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # PostgreSQL refuses to run as root.
    user: list[str] = []
    if os.getuid() == 0:
        if subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode:
            pytest.skip("there is no user postgres to run PostgreSQL as")
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    root = Path(tempfile.mkdtemp(prefix="recon3d-pg-"))
    try:
        if user:
            shutil.chown(root, "postgres", "postgres")
        quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "cwd": root}
        subprocess.run(
            [*user, initdb, "-D", root / "data", "-U", "recon3d", "-A", "trust", "-E", "UTF8", "--no-sync"],
            **quiet,
        )
        options = f"-c listen_addresses= -c unix_socket_directories={root} -c max_connections=300"
        # Nothing outlives the tests, and a vacuum would visit hundreds of databases in turn.
        options += " -c fsync=off -c full_page_writes=off -c autovacuum=off"
        options += " -c checkpoint_timeout=1d -c max_wal_size=8GB"
        server = subprocess.Popen(
            [*user, initdb.with_name("postgres"), "-D", root / "data", *options.split()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=root,
        )
        try:
            wait_for((root / ".s.PGSQL.5432").exists)
            yield f"postgresql+psycopg://recon3d@/{{}}?host={root}"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: without writing what is thrown away
            server.wait(timeout=30)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Which database."""
    return str(request.param)


@pytest.fixture(scope="session")
def new_database(backend: str, request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes an empty database, and gives its URL; empty for the default, SQLite."""
    if backend == "sqlite":
        return lambda: ""
    url = request.getfixturevalue("postgres")

    def make() -> str:
        name = f"test{next(_numbers)}"
        engine = sa.create_engine(url.format("postgres"), isolation_level="AUTOCOMMIT")

        def created() -> bool:
            try:
                with engine.connect() as connection:
                    connection.execute(sa.text(f"CREATE DATABASE {name}"))
            except sa.exc.OperationalError:  # the server is starting
                return False
            return True

        wait_for(created)
        engine.dispose()
        return str(url.format(name))

    return make


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run each test on one of the databases by default, by turns: on the other it is slow.

    Attacks, and what depends on how a database locks and migrates, run on both.
    """
    for item in items:
        if item.path.parent != Path(__file__).parent or item.path.name in _ON_BOTH:
            continue
        spec = getattr(item, "callspec", None)
        backend = spec.params.get("backend") if spec else None
        chosen = any(marker.args[0] == "backend" for marker in item.iter_markers("parametrize"))
        if backend is None or chosen or item.get_closest_marker("attack"):
            continue
        name = item.nodeid.replace(str(backend), "")
        if backend != BACKENDS[zlib.crc32(name.encode()) % len(BACKENDS)]:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _attack(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Keep what an attack is, and what must hold, beside its result."""
    if marker := request.node.get_closest_marker("attack"):
        record_property("attack", marker.args[0])
        record_property("bar", marker.args[1])


@pytest.fixture(autouse=True)
def _held_runs_go_on() -> Iterator[None]:
    """Let go of what a test holds: it would take the turn of the next test's run."""
    yield
    while _held:
        with contextlib.suppress(FileNotFoundError):  # the test has deleted its project
            (_held.pop() / "go").touch()


@pytest.fixture(scope="session", autouse=True)
def _cheap_passwords() -> Iterator[None]:
    """Only `tests/api/test_security.py` is about their cost."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(security, "Argon2Hasher", CheapHasher)
        yield


# --- servers ----------------------------------------------------------------------------------------


@dataclass
class Api:
    """A served service, and a way to call it."""

    url: str
    service: Service

    def client(self, token: str = "") -> httpx.Client:
        """An HTTP client for the contract's base URL."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=120)

    def user(self, **columns: Any) -> tuple[User, str]:
        """A new user and a token; without the cost of a password."""
        name = f"user{next(_numbers)}"
        user = User(
            username=name,
            username_key=name,
            email=f"{name}@example.com",
            email_key=f"{name}@example.com",
            password_hash="none",
            **columns,
        )
        with self.service.database.write() as session:
            session.add(user)
        return user, self.service.tokens.issue(user.id)

    def root(self, project_id: int) -> Path:
        """Folder of a project."""
        with self.service.database.read() as session:
            return self.service.storage.root(session.get_one(Project, project_id).folder)

    def behave(self, project_id: int, **behaviour: Any) -> None:
        """Tell the stand-in what to do with a project."""
        root = self.root(project_id)
        root.mkdir(exist_ok=True)
        if "hold" in behaviour:
            _held.append(root)
        (root / "behaviour.json").write_text(json.dumps(behaviour))


@contextlib.contextmanager
def served(settings: Settings, fake: bool = True) -> Iterator[Api]:
    """Serve until the block ends."""
    holder: list[Service] = []

    def command(claim: Claim) -> list[str]:
        root = holder[0].storage.root(claim.folder)
        return command_for(claim.quality, claim.until, root)

    app = create_app(settings, command=command if fake else None)
    holder.append(app.state.service)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, ws="websockets-sansio", ws_max_size=65_536)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 120
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the server did not start")
        time.sleep(0.02)
    try:
        api = Api(f"http://127.0.0.1:{sock.getsockname()[1]}", app.state.service)
        _served[api.url] = api
        yield api
    finally:
        server.should_exit = True
        thread.join(60)
        sock.close()


NO_LIMITS: dict[str, Any] = {"rate_limit": "", "rate_limit_processing": "", "rate_limit_login": ""}


@pytest.fixture(scope="session")
def serve(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., contextlib.AbstractContextManager[Api]]:
    """Serves on a new database with the given settings."""

    def make(*, fake: bool = True, **values: Any) -> contextlib.AbstractContextManager[Api]:
        chosen = {
            "data_dir": tmp_path_factory.mktemp("data"),
            "database_url": new_database(),
            "min_free_mb": 1,
            **NO_LIMITS,
            **values,
        }
        return served(Settings(**chosen), fake)

    return make


@pytest.fixture(scope="session")
def idle(serve: Callable[..., contextlib.AbstractContextManager[Api]]) -> Iterator[Api]:
    """A service without a runner: what is started waits."""
    with serve(runners=0, max_upload_mb=2) as api:
        yield api


@pytest.fixture(scope="session")
def working(serve: Callable[..., contextlib.AbstractContextManager[Api]]) -> Iterator[Api]:
    """A service whose runner starts the stand-in."""
    with serve(runners=4, lease_seconds=20.0) as api:
        yield api


@pytest.fixture
def client(idle: Api) -> Iterator[httpx.Client]:
    """A logged-in client of the idle service."""
    with idle.client(idle.user()[1]) as client:
        yield client


@pytest.fixture
def stranger(idle: Api) -> Iterator[httpx.Client]:
    """Another user's client of the idle service."""
    with idle.client(idle.user()[1]) as client:
        yield client


@pytest.fixture
def worker(working: Api) -> Iterator[httpx.Client]:
    """A logged-in client of the working service."""
    with working.client(working.user()[1]) as client:
        yield client


# --- what is uploaded -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small video."""
    frames = media.slide(media.texture(600, 300), range(0, 40, 2), (160, 120))
    return media.write_video(tmp_path_factory.mktemp("video") / "clip.mp4", frames)


def photo(seed: int = 0, kind: str = "JPEG") -> bytes:
    """A small photo."""
    pixels = np.random.default_rng(seed).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def new_project(client: httpx.Client, name: str = "Bust") -> int:
    """Create a project, and give its number."""
    answer = client.post("/projects", json={"name": name})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def upload_photos(client: httpx.Client, project_id: int, count: int = 3) -> httpx.Response:
    """Upload photos."""
    files = [("files", (f"p{i}.jpg", photo(i), "image/jpeg")) for i in range(count)]
    return client.post("/files/upload/images", data={"project_id": str(project_id)}, files=files)


def plant(client: httpx.Client, project_id: int) -> int:
    """Give a project three photos and a video, without the cost of uploading them."""
    api = _served[f"{client.base_url}".removesuffix("/api/v1/")]
    shutil.copytree(template(), api.root(project_id) / "model")
    return project_id


@functools.cache
def template() -> Path:
    """A project of recon3d with three photos and a video."""
    folder = Path(tempfile.mkdtemp(prefix="recon3d-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for number in range(3):
        (folder / f"p{number}.jpg").write_bytes(photo(number))
    frames = media.slide(media.texture(600, 300), range(0, 40, 2), (160, 120))
    project = recon3d.Project.create(folder / "model")
    project.add_photos([folder / f"p{number}.jpg" for number in range(3)])
    project.add_video(media.write_video(folder / "clip.mp4", frames))
    return folder / "model"


def started(client: httpx.Client, project_id: int | None = None) -> int:
    """A project with inputs and a started reconstruction."""
    project_id = project_id or plant(client, new_project(client))
    answer = client.post(f"/projects/{project_id}/start-reconstruction?quality=low")
    assert answer.status_code == 200, answer.text
    return project_id


def wait_for(condition: Callable[[], Any], timeout: float = 120.0) -> Any:
    """Wait until the condition gives something true, and give that."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come true")
        time.sleep(0.03)
    return found


def wait_status(
    client: httpx.Client, project_id: int, *statuses: str, timeout: float = 180.0
) -> dict[str, Any]:
    """Wait until a project has one of the statuses."""

    def look() -> dict[str, Any] | None:
        project: dict[str, Any] = client.get(f"/projects/{project_id}").json()
        return project if project["status"] in statuses else None

    found: dict[str, Any] = wait_for(look, timeout)
    return found


def jobs_of(client: httpx.Client, project_id: int) -> list[dict[str, Any]]:
    """Jobs of a project, in the order of its newest run."""
    jobs: list[dict[str, Any]] = client.get(f"/jobs/project/{project_id}/status").json()["jobs"]
    return jobs

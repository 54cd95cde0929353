"""A server that is started as an operator would, filled with rows, and measured from outside."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import psutil
import sqlalchemy as sa

TREE = Path(__file__).parents[2]
PROJECTS, RUNS = 1003, 1001
_STAGES = (
    "frame_extraction",
    "feature_extraction",
    "feature_matching",
    "sparse_reconstruction",
    "dense_reconstruction",
    "mesh_generation",
    "texturing",
)
_PASSWORD = "correct horse battery"


@dataclass
class Served:
    """A server process."""

    url: str
    database_url: str
    process: psutil.Process
    #: Seconds from the start of the process to its first answer.
    start_seconds: float

    @property
    def cpu(self) -> float:
        """CPU seconds of the process so far, ended threads included."""
        # The kernel's clock of a process: clock_getcpuclockid(3), which Python does not wrap.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    @property
    def memory(self) -> float:
        """Resident MiB."""
        return float(self.process.memory_info().rss / 2**20)

    def user(self, name: str) -> str:
        """Make an account, and give its token."""
        with httpx.Client(base_url=f"{self.url}/api/v1", timeout=60) as client:
            account = {"username": name, "email": f"{name}@example.com", "password": _PASSWORD}
            client.post("/auth/register", json=account).raise_for_status()
            answer = client.post("/auth/token", data={"username": name, "password": _PASSWORD})
            return str(answer.raise_for_status().json()["access_token"])


def load() -> str:
    """How busy the machine is."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(
    command: list[str], port: int, environment: dict[str, str], cwd: Path
) -> Iterator[tuple[psutil.Process, float]]:
    """Start a server, wait for its first answer, and end it with the block."""
    began = time.perf_counter()
    server = subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            if server.poll() is not None or time.perf_counter() - began > 60:
                raise RuntimeError(f"{command} did not start")
            try:
                httpx.get(f"http://127.0.0.1:{port}/health")
                break
            except httpx.TransportError:
                time.sleep(0.02)
        yield psutil.Process(server.pid), time.perf_counter() - began
    finally:
        server.terminate()
        server.wait(timeout=60)


@contextlib.contextmanager
def served(tree: Path, database_url: str = "", **settings: object) -> Iterator[Served]:
    """Serve from a checkout, on SQLite in a new folder unless told otherwise."""
    with tempfile.TemporaryDirectory(prefix="recon3d-bench-") as folder:
        values: dict[str, object] = {
            "rate_limit": "100000/second",
            "rate_limit_processing": "100000/second",
            "data_dir": f"{folder}/data",
            "database_url": database_url,
            **settings,
        }
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        environment |= {f"RECON3D_API_{name.upper()}": str(value) for name, value in values.items()}
        port = free_port()
        command = [sys.executable, "-m", "recon3d_api", "--port", str(port)]
        with process(command, port, environment, tree) as (found, seconds):
            url = database_url or f"sqlite:///{folder}/data/recon3d.db"
            yield Served(f"http://127.0.0.1:{port}", url, found, seconds)


def fill(database_url: str, username: str, projects: int = PROJECTS, runs: int = RUNS) -> None:
    """Give a user projects, and a completed run with seven jobs to most of them."""
    engine = sa.create_engine(database_url)
    metadata = sa.MetaData()
    metadata.reflect(engine)
    users, tables = metadata.tables["users"], metadata.tables
    moment = datetime(2026, 1, 1, tzinfo=timezone.utc)
    with engine.begin() as connection:
        owner = connection.scalar(sa.select(users.c.id).where(users.c.username_key == username))
        first = (connection.scalar(sa.select(sa.func.max(tables["projects"].c.id))) or 0) + 1

        def insert(name: str, rows: list[dict[str, Any]]) -> None:
            known = tables[name].c.keys()
            connection.execute(
                sa.insert(tables[name]), [{k: v for k, v in row.items() if k in known} for row in rows]
            )

        common: dict[str, Any] = {"owner_id": owner, "created_at": moment, "updated_at": moment}
        insert(
            "projects",
            [
                {
                    **common,
                    "id": first + number,
                    "name": f"Bust of philosopher {number}",
                    "description": "From a phone's video, filmed on a cloudy day",
                    "folder": f"{first + number:032x}",
                    "status": "completed",
                    "previous_status": "draft",
                    "total_frames": 40,
                    "processed_frames": 40,
                    "reconstruction_quality": 0.82,
                    "processing_time": 95.4,
                    "event_seq": 14,
                }
                for number in range(projects)
            ],
        )
        insert(
            "runs",
            [
                {
                    **common,
                    "id": first + number,
                    "project_id": first + number,
                    "status": "completed",
                    "quality": "medium",
                    "options": {},
                    "full": True,
                    "cancel_requested": False,
                    "attempt": 1,
                    "crashes": 0,
                    "lease_until": 0.0,
                    "not_before": 0.0,
                    "seconds": 95.4,
                    "fraction": 1.0,
                    "started_at": moment,
                    "completed_at": moment + timedelta(seconds=96),
                }
                for number in range(runs)
            ],
        )
        insert(
            "jobs",
            [
                {
                    **common,
                    "project_id": first + number,
                    "run_id": first + number,
                    "position": position,
                    "job_type": stage,
                    "status": "completed",
                    "progress": 100.0,
                    "message": "Done",
                    "parameters": {"quality": "medium"},
                    "cpu_usage": 186.0,
                    "memory_usage": 731.2,
                    "started_at": moment + timedelta(seconds=13 * position),
                    "completed_at": moment + timedelta(seconds=13 * position + 12),
                }
                for number in range(runs)
                for position, stage in enumerate(_STAGES)
            ],
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))
    engine.dispose()


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """URL of a new database on a PostgreSQL server of our own."""
    initdb = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    user: list[str] = []
    if os.getuid() == 0:
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    root = Path(tempfile.mkdtemp(prefix="recon3d-pg-"))
    if user:
        shutil.chown(root, "postgres", "postgres")
    data = ["-D", str(root / "data")]
    try:
        subprocess.run(
            [*user, initdb, *data, "-U", "recon3d", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=root,
        )
        options = f"-c listen_addresses= -c unix_socket_directories={root} -c max_connections=300"
        server = subprocess.Popen(
            [*user, initdb.with_name("postgres"), *data, *options.split()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=root,
        )
        try:
            url = f"postgresql+psycopg://recon3d@/postgres?host={root}"
            engine = sa.create_engine(url)
            for _ in range(100):
                with contextlib.suppress(sa.exc.OperationalError), engine.connect():
                    break
                time.sleep(0.1)
            engine.dispose()
            yield url
        finally:
            server.send_signal(2)
            server.wait(timeout=30)
    finally:
        shutil.rmtree(root, ignore_errors=True)

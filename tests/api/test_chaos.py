"""Servers that are killed, and servers that share a database: real processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from recon3d_api.client import Client, ReconstructionFailed
from recon3d_api.store.database import Database
from recon3d_api.store.tables import JOB_TYPES, Event, Job, Project, Run
from recon3d_api.work.processes import MARK
from tests.api import forks
from tests.api.conftest import NO_LIMITS, template, wait_for
from tests.processes import alive

ROOT = Path(__file__).parents[2]


class Server:
    """A server process, with stand-ins for runs unless it is the real command."""

    def __init__(self, data: Path, database_url: str, *, real: bool = False, **settings: object) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = data
        values: dict[str, object] = {**NO_LIMITS, **settings}
        values |= {"data_dir": data, "database_url": database_url}
        self.environment = {**os.environ, **{f"RECON3D_API_{k.upper()}": str(v) for k, v in values.items()}}
        self.command = ["-m", "tests.api.server", str(self.port)]
        if real:
            self.command = ["-m", "recon3d_api", "--port", str(self.port)]
        self.process: forks.Process | None = None

    def start(self) -> None:
        with open(self.data / f"log-{self.port}", "ab") as log:
            self.process = forks.start(self.command, env=self.environment, stderr=log)

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_for(answers)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)


@contextlib.contextmanager
def servers(count: int, data: Path, url: str, **settings: Any) -> Iterator[list[Server]]:
    made = [Server(data, url, **settings) for _ in range(count)]
    try:
        for server in made:
            server.start()
        yield made
    finally:
        for server in made:
            if server.process is not None and server.process.poll() is None:
                server.kill()


def project_with_input(client: Client, data: Path, url: str, behaviour: str) -> tuple[int, Path]:
    """A project, and its folder, with inputs put there without uploading."""
    number = client.create_project("chaos").id
    database = Database(url or f"sqlite:///{data}/recon3d.db")
    with database.read() as session:
        root = data / "projects" / session.get_one(Project, number).folder
    database.dispose()
    shutil.copytree(template(), root / "model")
    (root / "behaviour.json").write_text(behaviour)
    return number, root


def register(client: Client) -> None:
    client.register("chaos", "chaos@example.com", "correct horse")


class Watch(threading.Thread):
    """A listener that reconnects, and keeps every event."""

    def __init__(self, url: str, token: str, number: int) -> None:
        super().__init__(daemon=True)
        self.client = Client(url, token, retries=60)
        self.number = number
        self.events: list[dict[str, Any]] = []
        self.states = 0
        self.start()

    def run(self) -> None:
        for message in self.client.events(self.number, after=0):
            if message["event"] == "state":
                self.states += 1
                continue
            self.events.append(message)
            if message["event"] == "job_completed" and message["job_type"] == "texturing":
                self.client.close()
                return


def mostly_on(backend: str) -> pytest.MarkDecorator:
    """Processes take long to start: on the other database a test is slow."""
    other = {"sqlite": "postgresql", "postgresql": "sqlite"}[backend]
    values = [backend, pytest.param(other, marks=pytest.mark.slow)]
    return pytest.mark.parametrize("backend", values, indirect=True, scope="session")


@pytest.mark.attack("B5: kill -9 in the middle of a form upload, then restart", "no partial file after 5 s")
def test_a_killed_servers_upload_is_gone_after_a_restart(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    with servers(1, tmp_path, new_database(), runners=0) as (server,):
        with Client(server.url) as client:
            register(client)
            number, token = client.create_project("cut off").id, client.token
        head = (
            "POST /api/v1/files/upload/video HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            "Content-Length: 9000000\r\n\r\n"
            f"--b\r\nContent-Disposition: form-data; name=project_id\r\n\r\n{number}\r\n"
            '--b\r\nContent-Disposition: form-data; name=file; filename="v.mp4"\r\n\r\n'
        )
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head.encode() + b"\0" * 4_000_000)
            incoming = tmp_path / "incoming"
            wait_for(lambda: sum(file.stat().st_size for file in incoming.rglob("*.mp4")) > 2_000_000)
            server.kill()
            server.start()
        wait_for(lambda: not list(incoming.iterdir()), timeout=5)


@pytest.mark.attack(
    "kill -9 of the server during a run", "no orphan process; the run resumes; each event once"
)
@mostly_on("sqlite")
@pytest.mark.parametrize(
    "stages",
    [("dense_reconstruction",), pytest.param(JOB_TYPES, marks=pytest.mark.slow)],
    ids=["one stage", "every stage"],
)
def test_killed_servers_runs_are_resumed(
    new_database: Callable[[], str], tmp_path: Path, stages: tuple[str, ...]
) -> None:
    url = new_database()
    with servers(1, tmp_path, url, lease_seconds=5) as (server,), Client(server.url, retries=30) as client:
        register(client)
        number, root = project_with_input(client, tmp_path, url, '{"seconds": 1.5, "steps": 10}')
        watch = Watch(server.url, client.token, number)
        client.start_reconstruction(number, "low")
        for stage in stages:

            def in_stage(stage: str = stage) -> bool:
                job = client.status(number).current_job
                return bool(job and job.job_type == stage and job.progress > 0)

            wait_for(in_stage)
            pid = int((root / "begun").read_text().split()[-1])
            server.kill()
            # The kernel ends the run with its runner.
            wait_for(lambda pid=pid: not alive(pid))
            server.start()
        client.wait(number, progress=False)
        watch.join(timeout=120)
        jobs = client.jobs(project_id=number)
    assert {job.status for job in jobs} == {"completed"}
    assert len((root / "begun").read_text().split()) == len(stages) + 1
    # The listener was cut off with the server, came back, and has every event once.
    assert watch.states >= 2
    assert [event["seq"] for event in watch.events] == list(range(1, len(watch.events) + 1))
    for job_type in JOB_TYPES:
        own = [event for event in watch.events if event["job_type"] == job_type]
        assert [e["event"] for e in own if e["event"] != "job_progress"] == ["job_started", "job_completed"]
        assert [e["progress"] for e in own] == sorted(e["progress"] for e in own)


@pytest.mark.attack("Two servers share a database, up to 20 runs", "each run once")
@mostly_on("postgresql")
@pytest.mark.parametrize("runs", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_two_servers_run_nothing_twice(
    new_database: Callable[[], str],
    tmp_path: Path,
    runs: int,
    record_property: Callable[[str, object], None],
) -> None:
    url = new_database()
    with (
        servers(2, tmp_path, url, runners=3) as (first, second),
        Client(first.url) as one,
        Client(second.url) as two,
    ):
        register(one)
        two.login("chaos", "correct horse")
        made = [project_with_input(one, tmp_path, url, '{"seconds": 0.1}') for _ in range(runs)]
        for index, (number, _) in enumerate(made):
            (one, two)[index % 2].start_reconstruction(number, "low")
        for number, _ in made:
            assert two.wait(number, progress=False).status == "completed"
    for _, root in made:
        assert len((root / "begun").read_text().split()) == 1
    database = Database(url or f"sqlite:///{tmp_path}/recon3d.db")
    with database.read() as session:
        assert {run.attempt for run in session.query(Run)} == {1}
        assert session.query(Job).filter_by(status="completed").count() == 7 * runs
    record_property("seen", f"{runs} runs, each begun once")
    database.dispose()


@pytest.mark.attack(
    "Two servers share a database, one is killed with kill -9, up to 20 runs", "each run is completed once"
)
@mostly_on("sqlite")
@pytest.mark.parametrize("runs", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_servers_runs_go_to_the_other(
    new_database: Callable[[], str],
    tmp_path: Path,
    runs: int,
    record_property: Callable[[str, object], None],
) -> None:
    """Two servers on one database file, one killed in the middle: each run is finished once."""
    url, slots = new_database(), 2
    with (
        servers(2, tmp_path, url, runners=slots, lease_seconds=5) as (first, second),
        Client(first.url) as one,
        Client(second.url) as two,
    ):
        register(one)
        two.login("chaos", "correct horse")
        made = [project_with_input(one, tmp_path, url, '{"seconds": 0.2}') for _ in range(runs)]
        for number, _ in made:
            one.start_reconstruction(number, "low")
        wait_for(lambda: sum((root / "begun").exists() for _, root in made) > slots)
        first.kill()
        for number, _ in made:
            assert two.wait(number, progress=False).status == "completed"
    database = Database(url or f"sqlite:///{tmp_path}/recon3d.db")
    with database.read() as session:
        if database.is_sqlite:
            assert session.scalar(sa.text("PRAGMA integrity_check")) == "ok"
        found = {run.project_id: run for run in session.query(Run)}
        ends = session.query(Event).filter_by(event="job_completed").all()
        assert len(found) == runs
        assert len(ends) == len({event.job_id for event in ends}) == len(JOB_TYPES) * runs
        again = [run for run in found.values() if run.attempt > 1]
        assert len(again) <= slots
        for number, root in made:
            run = found[number]
            assert run.status == "completed"
            assert 1 <= len((root / "begun").read_text().split()) <= run.attempt <= 2
    record_property("seen", f"{runs} runs completed once, {len(again)} of them resumed")
    database.dispose()


@pytest.mark.attack("SIGTERM during a run", "the run returns to the queue within 15 s and is completed later")
@mostly_on("sqlite")
def test_a_server_that_ends_in_order_hands_its_runs_back(
    new_database: Callable[[], str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    url = new_database()
    with servers(1, tmp_path, url) as (server,), Client(server.url, retries=30) as client:
        register(client)
        number, root = project_with_input(client, tmp_path, url, '{"seconds": 0.4, "steps": 4}')
        client.start_reconstruction(number, "low")
        wait_for(lambda: client.status(number).progress.percentage > 10)
        began = time.monotonic()
        assert server.end() in (0, -signal.SIGTERM)
        record_property("seen", f"ended after {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began < 15
        database = Database(url or f"sqlite:///{tmp_path}/recon3d.db")
        with database.read() as session:
            run = session.query(Run).one()
            assert (run.status, run.crashes) == ("queued", 0)
        database.dispose()
        server.start()
        assert client.wait(number, progress=False).status == "completed"
    assert len((root / "begun").read_text().split()) == 2


@mostly_on("postgresql")
def test_worker_and_server_apart(new_database: Callable[[], str], tmp_path: Path) -> None:
    """`recon3d-api worker` works on what a server without runners takes in."""
    url = new_database()
    with servers(1, tmp_path, url, real=True, runners=0, max_crashes=1) as (server,):
        worker = subprocess.Popen(
            [sys.executable, "-m", "recon3d_api", "worker"],
            env=server.environment,
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
        try:
            with Client(server.url) as client:
                register(client)
                number, _ = project_with_input(client, tmp_path, url, "{}")
                client.extract_frames(number, 0.2)
                # Real frames of the small video and photos, by the real command line.
                with contextlib.suppress(ReconstructionFailed):
                    client.wait(number, progress=False)
                (job,) = client.jobs(project_id=number)
                assert job.status == "completed", job
                assert client.project(number).total_frames >= 3
                assert client.download(number, "frames", tmp_path / "f.zip").stat().st_size > 1000
                ready = client._http.get("/ready")
                assert ready.status_code == 200, ready.text
        finally:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=120) == 0


@pytest.mark.attack("kill -9 in each of the seven stages of a real run", "finished stages are not repeated")
@pytest.mark.slow
@mostly_on("sqlite")
def test_killed_in_each_stage_of_the_real_thing(
    new_database: Callable[[], str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """recon3d itself: what was finished, whole stages and single views, is used after each kill."""
    url = new_database()
    settings = {"real": True, "lease_seconds": 5}
    with servers(1, tmp_path, url, **settings) as (server,), Client(server.url, retries=60) as client:
        register(client)
        number = client.create_project("real").id
        client.upload_video(number, ROOT / "examples" / "data" / "bust.mp4")
        client.extract_frames(number, 0.3)
        watch = Watch(server.url, client.token, number)
        client.wait(number, progress=False)
        client.start_reconstruction(number, "low")
        killed = []
        while (status := client.status(number)).status == "processing":
            job = status.current_job
            if job and job.job_type not in killed and (job.progress > 0 or len(killed) == 3):
                server.kill()
                killed.append(job.job_type)
                server.start()
            time.sleep(0.05)
        project = client.project(number)
        watch.join(timeout=120)
        jobs = client.jobs(project_id=number, limit=7)
    assert project.status == "completed", jobs
    assert project.reconstruction_quality > 0
    assert {job.status for job in jobs} == {"completed"}
    told = f"killed in {', '.join(killed)}; completed after {project.processing_time:.0f} s"
    record_property("seen", told)
    assert len(killed) >= 5
    seqs = [event["seq"] for event in watch.events]
    assert seqs == sorted(set(seqs))
    ends = [event["job_type"] for event in watch.events if event["event"] == "job_completed"]
    assert ends == ["frame_extraction", *JOB_TYPES]


@pytest.mark.slow
@pytest.mark.attack("Cancel in each of the seven stages of a real run", "no process left after 2 s")
@mostly_on("sqlite")
def test_cancelled_in_each_stage_of_the_real_thing(
    new_database: Callable[[], str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Nothing of the run is left, and the next run goes on from what was finished."""
    seconds: dict[str, float] = {}
    with servers(1, tmp_path, new_database(), real=True) as (server,), Client(server.url) as client:
        register(client)
        number = client.create_project("real").id
        client.upload_video(number, ROOT / "examples" / "data" / "bust.mp4")
        for stage in JOB_TYPES:
            client.start_reconstruction(number, "low")

            def works(stage: str = stage) -> bool:
                job = client.status(number).current_job
                return bool(job and job.job_type == stage and job.status == "running")

            wait_for(works, timeout=300)
            assert server.process is not None
            (mark,) = set(marked(psutil.Process(server.process.pid).children(recursive=True)).values())
            began = time.monotonic()
            client.cancel(client.status(number).current_job.id)  # type: ignore[union-attr]
            wait_for(lambda mark=mark: mark not in marked(psutil.process_iter()).values())
            seconds[stage] = time.monotonic() - began
            project = wait_for(lambda: (p := client.project(number)).status != "processing" and p)
            assert project.status == "draft"
        client.start_reconstruction(number, "low")
        client.wait(number, progress=False)
        assert client.project(number).status == "completed"
    record_property("seen", "; ".join(f"{stage} {value:.2f} s" for stage, value in seconds.items()))
    assert max(seconds.values()) < 2, seconds


def marked(processes: Iterable[psutil.Process]) -> dict[int, str]:
    """Those that work on a run, and the mark that the runner gave them; descendants inherit it."""
    found = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and MARK in (environment := process.environ()):
                found[process.pid] = environment[MARK]
    return found

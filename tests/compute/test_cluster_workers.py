"""Workers of `recon3d cluster`, over TLS: set up as local ones, checked, cancelled, given up."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import pytest
from PIL import Image

from recon3d.compute import Cluster, StageContext, cluster_for_run
from recon3d.compute import admission as admission_module
from recon3d.compute.facts import folder_problem
from recon3d.compute.settings import ALLOCATION, DASK_SETTINGS, THREADS
from recon3d.compute.versions import versions
from recon3d.errors import Cancelled, EngineUnavailable, OptionError
from recon3d.events import Event, StageSkipped
from recon3d.pipeline.pipeline import Pipeline
from recon3d.project import Project
from tests.compute import clusters
from tests.processes import alive


class Running:
    """The cluster of this module."""

    def __init__(self, folder: Path, address: str, environment: dict[str, str]) -> None:
        self.address, self.environment = address, environment
        self.client = distributed.Client(address, set_as_default=False)
        self.file = folder / "scheduler.json"


@pytest.fixture(scope="module")
def one_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("cluster")
    environment = clusters.tls_environment(folder)
    settings = clusters.as_settings(environment)
    environment["RECON3D_CACHE"] = str(folder / "cache")
    with (
        dask.config.set(settings),
        clusters.scheduler(folder, "--protocol", "tls", environment=environment) as (_, address),
        clusters.workers(folder / "scheduler.json", folder, "--processes", "2", environment=environment),
    ):
        assert address.startswith("tls://")
        made = Running(folder, address, environment)
        yield made
        made.client.close()


@pytest.fixture
def running(one_cluster: Running) -> Running:
    """The cluster, with both workers: an earlier test may have ended one, which is started anew."""
    one_cluster.client.wait_for_workers(2, timeout=60)
    return one_cluster


def square(x: int) -> int:
    return x * x


def process(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def set_up(_: int) -> dict[str, Any]:
    import cv2
    import numba

    began = Path("/proc/self/environ").read_text().split("\0")
    return {
        "environment": [entry for entry in began if entry.split("=")[0] in {**ALLOCATION, **THREADS}],
        "dask": {key: dask.config.get(key) for key in DASK_SETTINGS},
        "cv2": cv2.getNumThreads(),
        "numba": numba.get_num_threads(),
        "faulthandler": __import__("faulthandler").is_enabled(),
    }


def hold(path: str) -> None:
    """A native call that holds the GIL, as those do for which a worker's heartbeat stops."""
    Path(path).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(300)


def gone(pid: int, seconds: float = 2.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False


def read_pid(file: Path) -> int:
    deadline = time.monotonic() + 60
    while not file.exists() or not file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(file.read_text())


async def told_of_another_disk(client: Any, workers: Any, file: str, token: str, cancelled: Any) -> Any:
    """The workers' answers when the file that they are asked for is on a disk that they do not have."""
    return await ASK_ALL(client, workers, f"/nowhere{file}", token, cancelled)


ASK_ALL = admission_module._ask_all


def context_of(running: Running, **how: Any) -> Any:
    return cluster_for_run(lambda: Cluster(running.file, **how))


def test_remote_workers_are_set_up_as_local_ones(running: Running, tmp_path: Path) -> None:
    with context_of(running, folder=tmp_path) as cluster:
        remote = StageContext(cluster, lambda *_: None)
        assert remote.map(square, [1, 2, 3]) == [1, 4, 9]
        found = remote.call(set_up, 0)
        assert remote.fallbacks == []
        assert remote.workers == 2
        assert cluster().memory > 0
    assert not list(tmp_path.iterdir())
    with cluster_for_run(lambda: Cluster(workers=1)) as cluster:
        expected = StageContext(cluster, lambda *_: None).call(set_up, 0)
    assert found == expected
    assert found["cv2"] == found["numba"] == 1
    assert found["dask"]["distributed.scheduler.worker-ttl"] is None


def test_tasks_go_where_their_memory_is(running: Running) -> None:
    with context_of(running) as cluster:
        context = StageContext(cluster, lambda *_: None)
        everywhere = set(context.map(process, [0.2] * 6, memory=1000))
        assert len(everywhere) == 2
        half = int(cluster().memory * 0.5)
        assert cluster().room(half, gpu=False)[0] == 1
        assert len(set(context.map(process, [0.1] * 6, memory=half))) == 1
        assert set(context.map(process, [0.0], memory=half * 10)) <= everywhere
        with pytest.raises(EngineUnavailable, match="No worker offers a GPU"):
            context.call(process, 0.0, gpu=True)


def test_a_client_is_used_and_stays_open(running: Running) -> None:
    with distributed.Client(running.address, set_as_default=False) as client:
        with cluster_for_run(lambda: Cluster(client)) as cluster:
            context = StageContext(cluster, lambda *_: None)
            assert context.map(square, [2]) == [4]
            assert context.threads == 1  # the other cores may be other runs'
        assert client.submit(square, 5).result() == 25
    with pytest.raises(EngineUnavailable, match="client is closed"):
        Cluster(client)


def two_photos(folder: Path) -> Project:
    project = Project.create(folder / "project")
    for seed in (1, 2):
        pixels = np.random.default_rng(seed).integers(0, 255, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
        project.add_photos(folder / f"{seed}.png")
    return project


def test_a_pipeline_runs_on_a_cluster_and_its_folder_is_checked(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = two_photos(tmp_path)
    pipeline = Pipeline("low", scheduler=running.file)
    assert str(running.file) in pipeline._repr_html_()
    pipeline.run(project, until="frame_extraction")
    assert project.artifacts["frame_extraction"].manifest.workers == 2
    monkeypatch.setattr(admission_module, "_ask_all", told_of_another_disk)
    with pytest.raises(EngineUnavailable, match=r"tls://.*does not see .*project/runs/.*is not there"):
        pipeline.run(project, until="frame_extraction", rerun_from="frame_extraction")
    assert [path.name for path in (project.path / "runs").rglob(".seen-*")] == []


def place(path: Path) -> tuple[Path, tuple[str, ...]]:
    return path, path.parts


async def told_of_another_storage(client: Any, workers: Any, file: str, token: str, cancelled: Any) -> Any:
    return await ASK_ALL(client, workers, file, f"{token} of another one", cancelled)


def test_workers_get_and_give_files_through_a_storage(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = two_photos(tmp_path)
    pipeline = Pipeline("low", scheduler=running.file, storage=f"file://{tmp_path}/store")
    assert f"through file://{tmp_path}/store" in pipeline._repr_html_()
    pipeline.run(project, until="frame_extraction")
    size = sum(path.stat().st_size for path in tmp_path.glob("*.png"))
    artifact = project.artifacts["frame_extraction"]
    notes = artifact.manifest.moved["sent"] - size
    assert 0 < notes < 2000  # a photo that is taken as it is, and its row
    assert artifact.manifest.moved == {
        "uploaded": size,
        "fetched": size,
        "cached": 0,
        "sent": size + notes,
        "downloaded": size + notes,
    }
    assert "uploaded 0.1 MB" in (project.results.folder / "report.html").read_text()
    # A project elsewhere, of the same photos, takes the finished stage.
    twin = Project.create(tmp_path / "twin")
    for seed in (1, 2):
        twin.add_photos(tmp_path / f"{seed}.png")
    events = list[Event]()
    pipeline.run(twin, until="frame_extraction", on_event=events.append)
    (skipped,) = [event for event in events if isinstance(event, StageSkipped)]
    assert skipped.reason == f"fetched from file://{tmp_path}/store"
    assert twin.artifacts["frame_extraction"].manifest == artifact.manifest
    assert clusters.digests(twin.path) == clusters.digests(project.path)
    with context_of(running, folder=project.path, storage=f"file://{tmp_path}/store") as cluster:
        same, parts = StageContext(cluster, lambda *_: None).call(place, artifact.path)
        assert same == artifact.path
        assert "tasks" in parts  # on the worker it was elsewhere
    monkeypatch.setattr(admission_module, "_ask_all", told_of_another_storage)
    with pytest.raises(
        EngineUnavailable, match=r"tls://.*cannot use the storage file://.*other content"
    ) as told:
        pipeline.run(project, until="frame_extraction", rerun_from="frame_extraction")
    assert "credentials" in told.value.hint
    assert list((tmp_path / "store").glob(".seen-*")) == []


@pytest.mark.parametrize("wrong", ["bucket/prefix", "ftp://host/folder", "s3://", ""])
def test_what_is_no_storage_is_refused_before_the_run(wrong: str) -> None:
    with pytest.raises(OptionError, match="is not the address of a storage"):
        Pipeline(scheduler="tcp://127.0.0.1:8786", storage=wrong)
    with pytest.raises(OptionError, match="workers of this machine read the project's folder"):
        Pipeline(storage="s3://bucket/prefix")


def test_what_is_no_scheduler_is_refused_before_the_run(tmp_path: Path) -> None:
    for wrong in (5, object(), ""):
        with pytest.raises(OptionError, match="scheduler"):
            Pipeline(scheduler=wrong)  # type: ignore[arg-type]
    with pytest.raises(EngineUnavailable, match=r"no scheduler file .*missing\.json"):
        Cluster(tmp_path / "missing.json")
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(EngineUnavailable, match=r"other\.json is not a scheduler file"):
        Cluster(str(tmp_path / "other.json"))


@pytest.mark.parametrize("package", ["recon3d", "pycolmap", "Dask"])
def test_a_worker_with_another_version_is_refused_by_name(
    running: Running, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setattr(admission_module, "versions", lambda: {**versions(), package: "9.9"})
    with pytest.raises(EngineUnavailable, match=rf"tls://127.*1 more.*has {package} .*9\.9") as told:
        Cluster(running.address)
    assert "Install recon3d" in told.value.hint


def test_a_worker_with_other_code_of_the_same_version_is_refused(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_module, "code_digest", lambda: "other")
    with pytest.raises(EngineUnavailable, match="runs changed code of recon3d"):
        Cluster(running.address)


def test_a_worker_that_comes_later_with_other_code_is_refused_by_its_first_task(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon3d.compute.remote_engine.code_digest", lambda: "other")
    with context_of(running) as cluster, pytest.raises(EngineUnavailable, match=r"tls://.*other code"):
        StageContext(cluster, lambda *_: None).map(square, [2])


def test_other_packages_and_clocks_are_told(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "versions", lambda: {**versions(), "numba": "9.9"})
    ahead = time.time
    monkeypatch.setattr(admission_module, "time", type("Clock", (), {"time": lambda: ahead() + 60}))
    with context_of(running) as cluster:
        context = StageContext(cluster, lambda *_: None)
        assert context.map(square, [2]) == [4]
    assert len(context.fallbacks) == 2
    assert "has numba" in context.fallbacks[0]
    assert "results may differ" in context.fallbacks[0]
    assert "has a clock 60 s behind" in context.fallbacks[1]
    assert all("tls://127.0.0.1" in text for text in context.fallbacks)


def test_a_folder_that_is_not_the_same_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon3d.compute.facts._VISIBLE", 0.1)
    file = tmp_path / "seen"
    assert "missing" in folder_problem(str(file), "a")
    assert "not there" in folder_problem(str(tmp_path / "none" / "seen"), "a")
    file.write_text("b")
    assert "other content" in folder_problem(str(file), "a")
    assert folder_problem(str(file), "b") == ""
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("through_a_storage", [False, True])
def test_cancel_ends_a_native_call_of_a_remote_worker_within_two_seconds(
    running: Running, tmp_path: Path, through_a_storage: bool
) -> None:
    how = {"folder": tmp_path / "project", "storage": f"file://{tmp_path}/store"} if through_a_storage else {}
    cancelled = threading.Event()
    began: list[float] = []

    def cancel() -> None:
        try:
            pids.extend(read_pid(tmp_path / name) for name in "ab")
        finally:
            began.append(time.monotonic())
            cancelled.set()

    pids: list[int] = []
    thread = threading.Thread(target=cancel)
    with context_of(running, **how) as cluster:
        context = StageContext(cluster, lambda *_: None, cancelled)
        thread.start()
        with pytest.raises(Cancelled):
            context.map(hold, [str(tmp_path / name) for name in "ab"])
        assert time.monotonic() - began[0] < 2
        assert len(pids) == 2
        assert all(gone(pid) for pid in pids)
        thread.join()
        again = StageContext(cluster, lambda *_: None)
        assert again.map(square, [3]) == [9]


def test_the_native_call_of_a_killed_run_is_ended(running: Running, tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import pathlib, sys
        from recon3d.compute import Cluster, StageContext
        from tests.compute.test_cluster_workers import hold
        cluster = Cluster(pathlib.Path(sys.argv[1]))
        StageContext(lambda: cluster, lambda *_: None).call(hold, sys.argv[2])
        """
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script, str(running.file), str(tmp_path / "pid")],
        env={**os.environ, **running.environment},
    )
    pid = read_pid(tmp_path / "pid")
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert gone(pid, 5)

"""A scheduler and workers that Dask's own commands start, without recon3d's preload."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed.protocol import pickle

from recon3d.compute import Cluster, StageContext, cluster_for_run
from recon3d.compute.preload import preparing_plugin
from recon3d.errors import Cancelled, EngineUnavailable
from tests.compute import clusters


def square(x: int) -> int:
    return x * x


def hang(_: int) -> None:
    time.sleep(300)


def crash_once(marker: str) -> bool:
    """End the first process; tell of the second one whether it is prepared."""
    import distributed

    if not Path(marker).exists():
        Path(marker).touch()
        os.abort()
    return bool(getattr(distributed.get_worker(), "recon3d_prepared", False))


def set_up(_: int) -> tuple[int, int, str | None]:
    import cv2
    import numba

    return cv2.getNumThreads(), numba.get_num_threads(), os.environ.get("OMP_NUM_THREADS")


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A scheduler's address, and the command of a worker."""
    file = tmp_path / "scheduler.json"
    command = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with clusters.started([*command, "--scheduler-file", file], log=tmp_path / "log") as scheduler:
        address = clusters.address_in(file, scheduler)
        yield address, ["distributed.cli.dask_worker", address, "--no-dashboard"]


def test_foreign_workers_are_prepared_used_and_left_running(
    foreign: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, worker = foreign
    with clusters.started([*worker, "--nthreads", "1"], log=tmp_path / "log") as process:
        cancelled = threading.Event()
        with cluster_for_run(lambda: Cluster(address)) as cluster:
            context = StageContext(cluster, lambda *_: None, cancelled)
            assert context.map(square, [1, 2, 3]) == [1, 4, 9]
            assert context.call(set_up, 0) == (1, 1, "1")
            # Dask's own default: only the scheduler's process can have another.
            assert len(context.fallbacks) == 1
            assert "gives up workers that are silent for 5 minutes" in context.fallbacks[0]
            assert "recon3d cluster scheduler" in context.fallbacks[0]
            threading.Timer(0.3, cancelled.set).start()
            with pytest.raises(Cancelled):
                context.map(hang, [1])
        with cluster_for_run(lambda: Cluster(address)) as cluster:
            assert StageContext(cluster, lambda *_: None).call(square, 3) == 9
        assert process.poll() is None


def test_a_worker_without_recon3d_can_load_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = pickle.dumps(preparing_plugin())
    monkeypatch.setitem(sys.modules, "recon3d.compute.preload", None)
    plugin = pickle.loads(sent)
    assert plugin.name == "recon3d"
    plugin.setup(worker=None)


#: Where the C library has no name that `None` stands for, as on Windows.
WINDOWS = """
import ctypes, os, sys
from types import SimpleNamespace
import numba, cv2
from recon3d.compute.preload import is_prepared, prepare
def nameless(name, *args, **kwargs):
    raise TypeError("argument of type 'NoneType' is not iterable")
sys.platform, ctypes.CDLL = "win32", nameless
added = []
loop = SimpleNamespace(add_callback=lambda call, plugin: added.append(plugin.name))
worker = SimpleNamespace(loop=loop, plugin_add=None)
prepare(worker)
assert added == ["recon3d-fetch-ahead"]
print(is_prepared(worker), numba.get_num_threads(), os.environ["OMP_NUM_THREADS"])
"""


def test_a_worker_is_prepared_where_the_c_library_has_no_name() -> None:
    done = subprocess.run([sys.executable, "-c", WINDOWS], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["True", "1", "1"], "")


@pytest.mark.slow
def test_a_foreign_worker_that_crashed_is_prepared_anew(
    foreign: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, worker = foreign
    with (
        clusters.started([*worker, "--nthreads", "1"], log=tmp_path / "log"),
        cluster_for_run(lambda: Cluster(address)) as cluster,
    ):
        assert StageContext(cluster, lambda *_: None).call(crash_once, str(tmp_path / "marker"))


@pytest.mark.slow
def test_what_cannot_be_set_any_more_is_told_and_threads_are_refused(
    foreign: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, worker = foreign
    unpinned = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "4")
    command = [*worker, "--no-nanny", "--nthreads"]
    with (
        clusters.started([*command, "1"], log=tmp_path / "log", environment=unpinned),
        cluster_for_run(lambda: Cluster(address)) as cluster,
    ):
        context = StageContext(cluster, lambda *_: None)
        assert context.call(square, 3) == 9
        text = " ".join(context.fallbacks)
        assert "has no nanny" in text
        assert "OMP_NUM_THREADS and OPENBLAS_NUM_THREADS and MKL_NUM_THREADS set to 1" in text
    with clusters.started([*command, "2"], log=tmp_path / "log"):
        with pytest.raises(EngineUnavailable, match=r"tcp://127.*runs 2 tasks at once") as refused:
            Cluster(address)
        assert "--nthreads 1" in refused.value.hint

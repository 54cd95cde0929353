"""Worker processes: results, errors by name, crashes, cancelling."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import psutil
import pytest

from recon3d import Pipeline
from recon3d.compute import Cluster, StageContext, cluster_for_run, task_progress, usable_cores
from recon3d.errors import (
    Cancelled,
    EngineUnavailable,
    InputError,
    OptionError,
    OutOfMemory,
    StageError,
)
from tests.processes import alive

Told = list[tuple[float, float, str, str]]


def square(x: int) -> int:
    return x * x


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def crash(_: int) -> None:
    os.abort()


def be_killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def be_killed_until(task: tuple[list[str], int]) -> int:
    """Is killed until all markers exist, one at a time."""
    markers, value = task
    for marker in markers:
        with contextlib.suppress(FileExistsError):
            Path(marker).touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
    return value * value


def crash_at_two(index: int) -> int:
    time.sleep(0.2)
    return index if index != 2 else os.abort()


def worker_settings() -> tuple[str, str, bool, str]:
    import dask

    return (
        os.environ["MALLOC_MMAP_THRESHOLD_"],
        os.environ["MALLOC_TRIM_THRESHOLD_"],
        dask.config.get("distributed.worker.profile.enabled"),
        dask.config.get("distributed.admin.tick.interval"),
    )


def crash_once(marker: str) -> int:
    # Two tasks start at once, and one of them must die.
    with contextlib.suppress(FileExistsError):
        Path(marker).touch(exist_ok=False)
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def fail(kind: str) -> None:
    if kind == "memory":
        raise MemoryError
    if kind == "ours":
        raise InputError("b.jpg is damaged.", "Leave it out.")
    raise ValueError("odd value")


def count_up(total: int) -> int:
    for done in range(total + 1):
        task_progress(done, total)
        time.sleep(0.25)
    return total


def hang(_: int) -> None:
    time.sleep(300)


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    block = bytearray(60_000_000)
    while time.process_time() < end:
        block[0] ^= 1


@pytest.fixture
def context(tmp_path: Path) -> Iterator[StageContext]:
    told: Told = []
    with cluster_for_run(lambda: Cluster(workers=2, log_path=tmp_path / "workers.log")) as cluster:
        made = StageContext(cluster=cluster, emit=lambda *what: told.append(what))
        made.counts["told"] = told
        yield made


def test_results_come_in_order_with_progress_and_cost(context: StageContext) -> None:
    assert context.map(square, list(range(7)), unit="views", done=3) == [x * x for x in range(7)]
    assert [t[:3] for t in context.counts["told"]] == [(3 + n, 10, "views") for n in range(8)]
    assert context.call(count_up, 4) == 4
    inside = [t[0] for t in context.counts["told"][8:]]
    assert inside == sorted(inside)
    assert inside[-1] == 4
    context.call(burn, 0.5)
    assert 0.45 <= context.usage.cpu_seconds < 5  # the two clocks differ by a tick
    assert context.usage.peak_memory > 60_000_000


def test_a_failure_names_its_item_and_leaves_the_context_usable(context: StageContext) -> None:
    with pytest.raises(StageError, match=r"IMG_2.*odd value") as caught:
        context.map(fail, ["value"], names=["IMG_2"])
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(InputError, match=r"b\.jpg"):
        context.map(fail, ["ours"], names=["IMG_3"])
    with pytest.raises(OutOfMemory, match="IMG_4"):
        context.map(fail, ["memory"], names=["IMG_4"])
    assert context.call(square, 3) == 9


def test_a_native_crash_is_an_error_with_the_logs_tail(context: StageContext) -> None:
    with pytest.raises(StageError, match="crashed on IMG_5") as caught:
        context.map(crash, [1], names=["IMG_5"])
    assert "Fatal Python error: Aborted" in caught.value.log_tail


def test_a_crash_is_blamed_on_what_was_running_not_on_what_was_queued(context: StageContext) -> None:
    names = [f"IMG_{i}" for i in range(6)]
    with pytest.raises(StageError, match="crashed on IMG_2"):
        context.map(crash_at_two, range(6), names=names, memory=1)


def test_workers_keep_freed_memory_and_dask_does_not_measure_itself(context: StageContext) -> None:
    assert context.call(worker_settings) == (str(2**25), str(2**27), False, "1s")


def test_what_somebody_kills_again_and_again_is_told_and_is_not_out_of_memory(
    context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon3d.compute.cluster.MOST_LOST", 4)
    with pytest.raises(StageError) as told:
        context.map(be_killed, [1], names=["IMG_5"])
    assert not isinstance(told.value, OutOfMemory)
    assert re.match(
        r"Somebody ended the worker process that worked on IMG_5 by signal 9, 4 times, and not for its "
        r"memory: it held 0\.\d GB while \d+\.\d GB were free",
        told.value.message,
    )
    assert "run the same command again" in told.value.hint
    assert any("IMG_5 is run again: somebody ended its process" in row[3] for row in context.counts["told"])


def test_a_task_that_is_killed_more_often_than_dask_tries_ends_with_its_result(
    context: StageContext, tmp_path: Path
) -> None:
    """Dask gives up after two."""
    markers = [str(tmp_path / name) for name in ("a", "b", "c")]
    assert context.map(be_killed_until, [(markers, 7)]) == [49]
    assert all(Path(marker).exists() for marker in markers)
    assert context.map(be_killed_until, [(markers, index) for index in range(4)]) == [0, 1, 4, 9]


def test_tasks_that_are_alone_stay_with_one_worker_and_survive_it(context: StageContext) -> None:
    assert len(set(context.map(pid_after, [0.3] * 4))) == 2  # both workers are there
    pids = {context.call(pid_after, 0.0) for _ in range(6)}
    assert len(pids) == 1
    context.map(pid_after, [0.3] * 4)
    assert context.call(pid_after, 0.0) in pids
    os.kill(pids.pop(), signal.SIGKILL)
    assert context.call(square, 3) == 9


def test_a_lost_worker_is_replaced(context: StageContext, tmp_path: Path) -> None:
    pids = context.map(crash_once, [str(tmp_path / "marker")] * 2)
    assert all(pids)
    assert context.workers == 2


def test_cancelling_ends_a_running_call_within_two_seconds(context: StageContext) -> None:
    context.call(square, 1)
    workers = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):  # of an earlier test
            if "dask_worker" in " ".join(child.cmdline()):
                workers.append(child)
    assert workers
    cancelled: list[float] = []

    def cancel() -> None:
        cancelled.append(time.monotonic())
        context.cancelled.set()

    threading.Timer(0.5, cancel).start()
    with pytest.raises(Cancelled):
        context.map(hang, [1, 2])
    assert time.monotonic() - cancelled[0] < 2
    psutil.wait_procs(workers, timeout=2)
    assert not any(alive(p) for p in workers)


def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, pathlib, sys, time
        from recon3d.compute import Cluster
        cluster = Cluster(workers=1)
        pids = list(cluster.client.run(os.getpid).values())
        pathlib.Path(sys.argv[1]).write_text(str(pids[0]))
        time.sleep(100)
        """
    )
    pid_file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", script, str(pid_file)])
    while not pid_file.exists() or not pid_file.read_text():
        assert parent.poll() is None
        time.sleep(0.1)
    worker = psutil.Process(int(pid_file.read_text()))
    parent.kill()
    parent.wait()
    worker.wait(timeout=5)


def test_memory_limits_how_many_tasks_run_at_once(context: StageContext) -> None:
    cluster = context.cluster()
    assert cluster.room(0, gpu=False)[0] == 2
    assert cluster.room(int(cluster.memory * 0.5), gpu=False)[0] == 1
    assert cluster.room(cluster.memory * 3, gpu=False)[0] == 1
    with pytest.raises(EngineUnavailable):
        cluster.room(0, gpu=True)


def test_a_lone_task_may_use_the_cores_of_all_local_workers(context: StageContext) -> None:
    assert context.threads == min(2, usable_cores())


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon3d.compute.remote_engine._PATIENCE", 0.3)
    began = time.monotonic()
    with pytest.raises(EngineUnavailable) as told:
        Cluster("tcp://127.0.0.1:9")
    assert time.monotonic() - began < 5  # Dask alone tries for 15 s
    assert told.value.message == "No scheduler answers at tcp://127.0.0.1:9: Connection refused."
    assert "recon3d cluster scheduler" in told.value.hint


@pytest.mark.parametrize("text", ["nonsense", "tcp://host", "host:99999", "http://host:8787", "sched uler:1"])
def test_what_is_no_address_is_told_before_a_run(text: str) -> None:
    with pytest.raises(OptionError) as told:
        Pipeline("low", scheduler=text)
    assert told.value.message == f"{text!r} is not the address of a scheduler."
    assert "tcp://HOST:PORT" in told.value.hint


@pytest.mark.parametrize("text", ["host:8786", "tls://[fe80::1]:8786", "inproc://10.0.0.1/7/1", "later.json"])
def test_addresses_and_files_are_taken(text: str) -> None:
    Pipeline("low", scheduler=text)


def test_a_host_that_does_not_answer_does_not_hold_up_a_cancelled_run() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        cancelled = threading.Event()
        threading.Timer(0.3, cancelled.set).start()
        began = time.monotonic()
        with pytest.raises(Cancelled):
            Cluster(f"tcp://127.0.0.1:{silent.getsockname()[1]}", cancelled=cancelled)
        assert time.monotonic() - began < 2


def test_a_cancelled_start_does_not_wait_for_the_workers() -> None:
    cancelled = threading.Event()
    cancelled.set()
    resource_tracker.ensure_running()  # Python keeps it; another test may not have started it
    children = {p.pid for p in psutil.Process().children(recursive=True)}
    began = time.monotonic()
    with pytest.raises(Cancelled):
        Cluster(workers=2, cancelled=cancelled)
    assert time.monotonic() - began < 2
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= children


def test_workers_that_cannot_start_are_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho libc is too old >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    began = time.monotonic()
    with pytest.raises(StageError, match="worker processes have ended") as told:
        Cluster(workers=1, log_path=tmp_path / "workers.log")
    assert time.monotonic() - began < 10
    assert "libc is too old" in told.value.log_tail


def test_usable_cores_are_those_of_the_affinity() -> None:
    assert usable_cores() == len(os.sched_getaffinity(0))


def seen_devices(_: int) -> str | None:
    time.sleep(0.3)  # long enough for both workers to get some
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_each_gpu_has_a_worker_that_sees_only_it() -> None:
    with cluster_for_run(lambda: Cluster(workers=1, gpus=["3", "GPU-8932f937"])) as cluster:
        context = StageContext(cluster=cluster, emit=lambda *_: None)
        assert context.gpus == 2
        assert set(context.map(seen_devices, [0, 1, 2, 3], gpu=True)) == {"3", "GPU-8932f937"}

"""Faults of a cluster, with real processes: the same bytes at the end, or one sentence."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from recon3d.compute import Cluster, StageContext, cluster_for_run
from recon3d.errors import OutOfMemory, StageError
from tests.compute import clusters
from tests.compute.memory_groups import NO_GROUPS, limited_to
from tests.processes import alive


@pytest.fixture
def cluster_of_two(tmp_path: Path) -> Iterator[tuple[psutil.Popen, psutil.Popen, Path]]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with (
        clusters.scheduler(folder) as (scheduler, _),
        clusters.workers(folder / "scheduler.json", folder, "--processes", "2") as workers,
    ):
        yield scheduler, workers, folder / "scheduler.json"


def nap(seconds: float) -> int:
    """Hold the GIL, as a native call does."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return os.getpid()


def take_memory(size: int) -> None:
    block = bytearray(size)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(60)


def be_killed_often(count: str) -> str:
    with open(count, "a+") as file:
        file.seek(0)
        if len(file.read()) < 5:
            file.write("x")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    return "IMG_5 is whole"


@pytest.mark.slow
def test_a_lost_scheduler_is_one_sentence_and_workers_join_the_next_one(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    with (
        clusters.scheduler(tmp_path) as (scheduler, address),
        clusters.workers(file, tmp_path, "--processes", "1") as workers,
    ):
        with cluster_for_run(lambda: Cluster(file)) as cluster:
            context = StageContext(cluster, lambda *_: None)
            context.call(nap, 0)
            threading.Timer(0.5, scheduler.kill).start()
            began = time.monotonic()
            with pytest.raises(StageError, match=rf"connection to the scheduler {address} is lost") as told:
                context.call(nap, 3)
            assert time.monotonic() - began < 3
            assert "finished work is reused" in told.value.hint
        with clusters.scheduler(tmp_path) as (_, next_address):
            assert next_address != address
            with cluster_for_run(lambda: Cluster(file)) as cluster:
                assert StageContext(cluster, lambda *_: None).call(nap, 0) > 0
        assert workers.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_command(
    cluster_of_two: tuple[psutil.Popen, psutil.Popen, Path], number: signal.Signals
) -> None:
    _, workers, file = cluster_of_two
    with cluster_for_run(lambda: Cluster(file)) as cluster:
        StageContext(cluster, lambda *_: None).call(nap, 0)
    processes = workers.children(recursive=True)
    assert len(clusters.worker_processes(workers)) >= 1
    workers.send_signal(number)
    assert workers.wait(20) == (0 if number == signal.SIGTERM else -number)
    psutil.wait_procs(processes, timeout=5)
    assert not any(alive(p) for p in processes)


@pytest.mark.slow
def test_a_worker_that_is_stopped_for_half_a_minute_goes_on(
    cluster_of_two: tuple[psutil.Popen, psutil.Popen, Path],
) -> None:
    file = cluster_of_two[2]
    with cluster_for_run(lambda: Cluster(file)) as cluster:
        context = StageContext(cluster, lambda *_: None)
        pids = set(context.map(nap, [1.0] * 4))
        assert len(pids) == 2
        stopped = psutil.Process(pids.pop())
        stopped.suspend()
        threading.Timer(30, stopped.resume).start()
        began = time.monotonic()
        done = context.map(nap, [0.2] * 8)
        assert time.monotonic() - began > 25
        assert set(done) == {stopped.pid, *pids}


@pytest.mark.slow
def test_a_worker_above_its_memory_limit_is_out_of_memory(tmp_path: Path) -> None:
    with (
        clusters.scheduler(tmp_path) as (_, address),
        clusters.workers(address, tmp_path, "--processes", "1", "--memory-limit", "1GB"),
        cluster_for_run(lambda: Cluster(address)) as cluster,
    ):
        assert cluster().memory == 10**9
        context = StageContext(cluster, lambda *_: None)
        with pytest.raises(OutOfMemory, match=r"IMG_5.*memory") as told:
            context.map(take_memory, [1_500_000_000], names=["IMG_5"])
        assert "exceeded 95% memory budget" in told.value.log_tail
        assert "of its limit of 1.0 GB" in told.value.message
        assert context.call(nap, 0) > 0


@pytest.mark.slow
@pytest.mark.skipif(bool(NO_GROUPS), reason=NO_GROUPS)
def test_a_worker_that_the_kernel_ends_for_memory_is_out_of_memory(tmp_path: Path) -> None:
    with (
        limited_to(1_000_000_000) as prefix,
        clusters.scheduler(tmp_path) as (_, address),
        clusters.workers(address, tmp_path, "--processes", "1", prefix=prefix),
        cluster_for_run(lambda: Cluster(address)) as cluster,
    ):
        context = StageContext(cluster, lambda *_: None)
        with pytest.raises(OutOfMemory, match=r"IMG_5 was killed for its memory"):
            context.map(take_memory, [1_500_000_000], names=["IMG_5"])
        assert context.call(nap, 0) > 0


@pytest.mark.slow
def test_a_killed_worker_with_little_memory_is_not_out_of_memory(tmp_path: Path) -> None:
    """Five times: a cluster's scheduler gives up after four."""
    with (
        clusters.scheduler(tmp_path) as (_, address),
        clusters.workers(address, tmp_path, "--processes", "1", "--memory-limit", "1GB"),
        cluster_for_run(lambda: Cluster(address)) as cluster,
    ):
        notes: list[str] = []
        context = StageContext(cluster, lambda *told: notes.append(told[3]))
        assert context.map(be_killed_often, [str(tmp_path / "count")], names=["IMG_5"]) == ["IMG_5 is whole"]
        assert (tmp_path / "count").read_text() == "xxxxx"
        assert [note for note in notes if note.startswith("IMG_5")] != []
        assert "of its limit of 1.0 GB" in "".join(notes)


@pytest.mark.slow
def test_workers_killed_every_few_seconds_make_the_same_model(
    cluster_of_two: tuple[psutil.Popen, psutil.Popen, Path], tmp_path: Path, local_model: dict[str, str]
) -> None:
    _, workers, file = cluster_of_two
    run = clusters.small_run(tmp_path / "remote", "--scheduler", file)
    choose, killed = random.Random(5), 0
    while run.poll() is None:
        time.sleep(6)
        running = clusters.worker_processes(workers)
        if running and run.poll() is None:
            choose.choice(running).send_signal(signal.SIGKILL)
            killed += 1
    assert run.returncode == 0
    assert killed >= 3
    assert clusters.digests(tmp_path / "remote") == local_model

"""Short calls go to workers together; what fails among them is still known by its name."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recon3d.compute import Cluster, StageContext, reads
from recon3d.compute.grouping import Grouping, grouped
from recon3d.compute.reading import declared_reads
from recon3d.errors import InputError, StageError


def sizes(grouping: Grouping, seconds: float) -> list[int]:
    """Sizes of the groups when each call takes so long."""
    found = []
    while group := grouping.take():
        found.append(len(group))
        grouping.ended(group, seconds * len(group))
    return found


def test_the_first_calls_go_alone_and_short_ones_go_together_then() -> None:
    found = sizes(Grouping(10_000, 64), 0.1)
    assert found[0] == 1
    assert max(found) == 26  # 64 tasks of 2.56 s leave 40 ms for each
    assert sum(found) == 10_000
    assert found[-100:] == [1] * 100  # all workers end at about the same time


def test_long_calls_and_few_calls_go_alone() -> None:
    assert max(sizes(Grouping(1000, 2), 0.1)) == 1
    assert max(sizes(Grouping(100, 64), 0.001)) == 1
    assert max(sizes(Grouping(10_000, 64, most=1), 0.001)) == 1
    # No worker takes more than some seconds of work along when it is lost.
    assert max(sizes(Grouping(1_000_000, 1000), 0.1)) == 50


def test_calls_that_are_tried_alone_come_first() -> None:
    grouping = Grouping(1000, 1)
    grouping.ended(grouping.take(), 0.01)
    group = grouping.take()
    assert len(group) > 1
    grouping.alone(group)
    assert [grouping.take() for _ in group] == [(index,) for index in group]
    assert grouping.take()[0] == group[-1] + 1


@reads(lambda path, other: [path, other])
def both(path: Path, other: Path) -> None:
    """Nothing is read here; only what is declared counts."""


def test_a_group_reads_what_its_calls_read_and_each_file_once() -> None:
    calls = [(Path("a"), Path("b")), (Path("b"), Path("c")), (Path("d"), Path("e"))]
    assert declared_reads(*grouped(both, calls, (0, 1))) == [Path("a"), Path("b"), Path("c")]
    assert declared_reads(*grouped(both, calls, (2,))) == [Path("d"), Path("e")]
    assert declared_reads(*grouped(len, [((),), ((),)], (0, 1))) is None


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster(workers=2)
    yield made
    made.close()


def worker_of(number: int) -> tuple[int, int]:
    time.sleep(0.001)
    return number, os.getpid()


def test_results_come_in_the_order_of_the_calls(cluster: Cluster) -> None:
    told: list[float] = []
    context = StageContext(lambda: cluster, lambda done, *_: told.append(done))
    found = context.map(worker_of, range(400))
    assert [number for number, _ in found] == list(range(400))
    assert len({pid for _, pid in found}) == 2
    assert told == sorted(told)
    assert told[-1] == 400
    assert len(told) < 200  # fewer tasks than calls


def fail_at(number: int) -> int:
    time.sleep(0.001)
    if number == 333:
        raise InputError(f"photo {number} is bad.", "Leave it out.")
    return number


def crash_at(number: int) -> int:
    time.sleep(0.001)
    if number == 333:
        ctypes.string_at(0)
    return number


def test_the_one_that_fails_is_named(cluster: Cluster) -> None:
    context = StageContext(lambda: cluster, lambda *_: None)
    with pytest.raises(InputError, match=r"photo 333 is bad\."):
        context.map(fail_at, range(400))


def test_the_one_that_crashes_is_named() -> None:
    cluster = Cluster(workers=2)
    try:
        context = StageContext(lambda: cluster, lambda *_: None, threading.Event())
        with pytest.raises(StageError, match=r"crashed on IMG_333, twice"):
            context.map(crash_at, range(400), names=[f"IMG_{k}" for k in range(400)])
    finally:
        cluster.close()

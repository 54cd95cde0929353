"""What tasks cost, and what their workers hold at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recon3d.compute import Cluster, StageContext, Usage
from recon3d.compute.cluster import cluster_for_run
from recon3d.compute.usage import TaskCost


def test_memory_is_what_workers_hold_at_the_same_time() -> None:
    usage = Usage()
    assert usage.peak_memory == 0
    usage.add("a", TaskCost(4, 3, peak=900, held=200), ended=14)
    usage.add("b", TaskCost(2, 1, peak=600, held=150), ended=16.5)
    # They never ran together: one holds what its task left, or about what it will leave.
    assert usage.peak_memory == 900 + 150
    usage.add("a", TaskCost(1, 1, peak=700, held=210), ended=15.5)
    assert usage.peak_memory == 700 + 600
    assert usage.cpu_seconds == 5


def test_a_task_whose_predecessor_was_told_late_counts() -> None:
    usage = Usage()
    usage.add("a", TaskCost(4, 3, peak=300, held=200), ended=14.5)
    usage.add("a", TaskCost(2, 1, peak=900, held=200), ended=16)
    assert usage.peak_memory == 900


@pytest.fixture
def context(tmp_path: Path) -> Iterator[StageContext]:
    with cluster_for_run(lambda: Cluster(workers=1, log_path=tmp_path / "workers.log")) as cluster:
        yield StageContext(cluster=cluster, emit=lambda *_: None)


#: Lies behind what was freed, so that the C library cannot give it back by itself.
PINS: list[bytes] = []


def fill(pieces: int) -> None:
    held = [b"x" * 100_000 for _ in range(pieces)]
    PINS.append(b"y" * 100_000)
    del held


def held_now(context: StageContext) -> int:
    (changes,) = context.usage._held.values()
    return changes[-1][1]


def test_a_worker_gives_back_what_a_task_has_freed(context: StageContext) -> None:
    context.call(fill, 1)
    before = held_now(context)
    context.call(fill, 3000)
    assert context.usage.peak_memory > before + 250_000_000
    assert held_now(context) < before + 60_000_000

"""The simulated cluster of the benchmark of large runs, and what it foretells from small ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.benchmarks.scale import simulate
from tests.benchmarks.scale_tasks import Call, Table
from tests.benchmarks.simulated_cluster import Cluster, Simulation, Task

_FREE = {"latency": 0.0, "dispatch": 0.0}


def test_one_worker_takes_the_sum_and_many_share_it() -> None:
    tasks = [Task(1.0 + k % 3) for k in range(300)]
    alone = Simulation(Cluster(1, **_FREE)).execute("work", tasks)
    assert alone.seconds == pytest.approx(600)
    assert (alone.computed, alone.tasks) == (600, 300)
    shared = Simulation(Cluster(30, **_FREE)).execute("work", tasks)
    assert 20 <= shared.seconds < 26  # the last tasks do not end together


def test_every_task_costs_the_client_and_the_way_to_a_worker() -> None:
    took = Simulation(Cluster(100, latency=0.0, dispatch=0.01)).execute("work", [Task(0.1)] * 1000)
    assert took.seconds == pytest.approx(1000 * 0.01 * 1.0, rel=0.03)  # 100 a second, for 1000 workers' worth
    took = Simulation(Cluster(1, latency=0.5, dispatch=0.0)).execute("work", [Task(1.0)])
    assert took.seconds == pytest.approx(0.5 + 1.0 + 0.5 + 0.5)


def test_bytes_take_the_slower_of_link_and_storage() -> None:
    tasks = [Task(1.0, read=300, written=100)] * 8
    fast_storage = Simulation(Cluster(4, link=100, storage=1e9, **_FREE)).execute("work", tasks)
    # While a task computes, what the next one reads is on its way, and what it made waits for that.
    assert fast_storage.seconds == pytest.approx(3 + 1 + 2 + 1 + 1 + 1)
    shared_storage = Simulation(Cluster(4, link=100, storage=200, **_FREE)).execute("work", tasks)
    assert shared_storage.seconds == pytest.approx(6 + 1 + 5 + 2 + 1 + 2)
    assert shared_storage.bytes == 8 * 400


def test_tasks_that_need_much_memory_run_fewer_at_once() -> None:
    tasks = [Task(1.0)] * 16
    took = Simulation(Cluster(8, memory=10, **_FREE)).execute("work", tasks, memory=32)
    assert took.seconds == pytest.approx(8)  # two at once: 80 % of 80 bytes hold two of 32


def test_a_simulation_goes_on_with_the_next_call() -> None:
    simulation = Simulation(Cluster(2, **_FREE))
    simulation.execute("first", [Task(1.0)] * 4)
    assert simulation.execute("second", [Task(3.0)]).seconds == pytest.approx(3)
    assert simulation.now == pytest.approx(5)


def _table() -> Table:
    def calls(images: int) -> tuple[Call, ...]:
        return (
            Call("feature_extraction", "_extract", True, 1e8, (Task(2.0, 10, 5),) * images),
            Call("feature_extraction", "_write", False, 0, (Task(1 + 0.1 * images, 10 * images),)),
            Call("sparse_reconstruction", "place", False, 0, (Task(3.0 * images),)),
            Call("mesh_generation", "_mesh", False, 1e9 + 1e6 * images, (Task(40.0 - images),)),
        )

    return Table(((10, calls(10)), (20, calls(20))), 0.0, ((45, 10.0), (90, 40.0), (180, 160.0)))


def test_a_larger_run_has_more_tasks_of_images_and_longer_ones_of_the_whole_set() -> None:
    extract, write, place, mesh = _table().foretell(200)
    assert len(extract.tasks) == 200
    assert write.tasks[0].seconds == pytest.approx(21)
    assert write.tasks[0].read == pytest.approx(2000)
    assert place.tasks[0].seconds == pytest.approx(60 * 10**2)  # twice the images took four times as long
    assert mesh.tasks[0].seconds == 20  # nothing shrinks
    assert mesh.memory == pytest.approx(1e9 + 2e8)


def test_a_stage_that_was_measured_on_a_repeated_set_goes_on_from_there() -> None:
    def calls(seconds: float, tasks: int) -> tuple[Call, ...]:
        return (
            Call("texturing", "plan", False, 0, (Task(seconds),)),
            Call("texturing", "rate_view", True, 0, (Task(0.5),) * tasks),
        )

    table = replace(_table(), repeated=((160, calls(4.0, 160)), (640, calls(5.0, 640))))
    *_, plan, rate = table.foretell(1600)
    assert plan.tasks[0].seconds == pytest.approx(7)
    assert len(rate.tasks) == 1600


def test_what_runs_alone_counts_against_the_run_and_parts_of_it_do_not() -> None:
    whole = simulate(_table(), 200, Cluster(10, **_FREE))
    assert whole.shared_efficiency > 0.99
    assert whole.run_efficiency == pytest.approx(
        (400 + 21 + 6000 + 20) / (10 * (40 + 21 + 6000 + 20)), rel=0.01
    )
    assert whole.stages["mesh_generation"].memory == pytest.approx(1.2e9)
    parts = simulate(_table(), 200, Cluster(10, **_FREE), parts=20)
    # 13 parts of a hundredth of the time each, on ten workers.
    assert parts.stages["sparse_reconstruction"].shared.seconds == pytest.approx(120)
    assert parts.run_efficiency > whole.run_efficiency


def test_calls_that_go_together_read_once_what_they_share() -> None:
    calls = [Task(0.01, read=100, written=10, again=80)] * 1000
    took = Simulation(Cluster(4, **_FREE)).execute("work", calls)
    assert took.computed == pytest.approx(10)
    assert took.tasks < 400
    # All but the first of each task read 20 of their own.
    assert took.bytes == pytest.approx(took.tasks * 100 + (1000 - took.tasks) * 20 + 1000 * 10)


def test_large_clouds_are_read_by_many() -> None:
    """20 photos gave two million points: of 200, that is more than is kept, and 64 views go to a task."""

    def calls(images: int) -> tuple[Call, ...]:
        return (
            Call("mesh_generation", "read_points", False, 1e9, (Task(0.1 * images, 60 * images, 5),)),
            Call("mesh_generation", "see_through", False, 1e9, (Task(0.05 * images, 20 * images, 4),)),
        )

    table = Table(
        ((10, calls(10)), (20, calls(20))), 0.0, ((30, 1.0), (60, 2.0)), points=1e5, span=8.0, joining=0.5
    )
    whole, seeing = table.foretell(100)
    assert (whole.function, whole.many, whole.tasks[0].seconds) == ("read_points", False, pytest.approx(10))
    assert (seeing.many, len(seeing.tasks), seeing.tasks[0].seconds) == (True, 2, pytest.approx(3.2))
    spans, joining, seeing = table.foretell(200)
    assert (spans.function, spans.many, len(spans.tasks)) == ("read_span", True, 3)
    assert spans.tasks[0].seconds == 8
    assert sum(task.read for task in spans.tasks) == pytest.approx(60 * 200)
    assert (joining.function, joining.many) == ("read_points", False)
    assert joining.tasks[0].seconds == pytest.approx(20 * 0.5)
    assert table.foretell(10_000)[1].tasks[0].seconds == pytest.approx(48 * 0.5)
    assert len(seeing.tasks) == 4

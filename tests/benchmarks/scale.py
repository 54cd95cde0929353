"""What a run of many images takes on a cluster: measured tasks, replayed through Dask's own scheduler.

``python -m tests.benchmarks.scale [IMAGES WORKERS ...]`` prints for each pair (10000 64 and 100000 1000 by
default), stage by stage: tasks, core-hours, hours of the tasks that are shared among workers and how busy
they keep them, hours of single tasks that all workers wait for, and bytes read and written. ``--series
IMAGES`` prints one line for each of 1 to 1000 workers. ``--parts N`` maps parts of N images at the same time,
as many as in a run by default; 0 maps all in one task. `tests.benchmarks.scale_tasks` measures the tasks, and
`tests.benchmarks.simulated_cluster` says what is simulated. ``--json FILE`` keeps all figures. ``--check``
compares the simulation with real workers of this machine, whose tasks sleep.
"""

from __future__ import annotations

import argparse
import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from recon3d import compute
from recon3d.options import SparseReconstructionOptions
from recon3d.stage_table import STAGE_NAMES
from recon3d.stages.sparse_reconstruction.partition import size_of_parts
from tests.benchmarks.scale_tasks import MAPPING, Call, Table
from tests.benchmarks.simulated_cluster import Cluster, Outcome, Simulation, Task

#: Dollars for an hour of a core with 8 GB, about what large clouds ask.
_PRICE = 0.05
#: Images of a part that is mapped on its own.
PART_SIZE = SparseReconstructionOptions().part_size
#: Workers of the series.
_SERIES = (1, 4, 16, 64, 256, 1000)
#: Images that two neighbouring parts share, as a share of a part.
_OVERLAP = 0.25


@dataclass
class StageResult:
    """What a stage took.

    Attributes
    ----------
    shared, single : Outcome
        Of tasks that are shared among the workers, and of those that run alone.
    memory : float
        Bytes of the task that needs most, by the stage's own estimate.
    """

    shared: Outcome = field(default_factory=Outcome)
    single: Outcome = field(default_factory=Outcome)
    memory: float = 0.0


@dataclass(frozen=True)
class RunResult:
    """What a run took.

    Attributes
    ----------
    images, workers : int
    stages : dict of str to StageResult
    scheduler_seconds : float
        Real seconds of Dask's scheduler here, for all tasks.
    """

    images: int
    workers: int
    stages: dict[str, StageResult]
    scheduler_seconds: float

    def total(self, which: Sequence[str] = ("shared", "single")) -> Outcome:
        """Add up the stages."""
        total = Outcome()
        for stage in self.stages.values():
            for name in which:
                total.add(getattr(stage, name))
        return total

    @property
    def shared_efficiency(self) -> float:
        """Share of the workers' time that computes, while tasks are shared among them."""
        return efficiency(self.total(["shared"]), self.workers)

    @property
    def run_efficiency(self) -> float:
        """The same for the whole run."""
        return efficiency(self.total(), self.workers)

    @property
    def cost(self) -> float:
        """Dollars when all workers are paid for the whole run."""
        return self.total().seconds * self.workers / 3600 * _PRICE

    @property
    def least_cost(self) -> float:
        """Dollars when only one worker is paid for while a task runs alone."""
        shared, single = self.total(["shared"]).seconds, self.total(["single"]).seconds
        return (shared * self.workers + single) / 3600 * _PRICE


def read_results(path: Path) -> list[RunResult]:
    """Read what ``--json`` kept."""
    results = []
    for row in json.loads(path.read_text()):
        stages = {
            name: StageResult(Outcome(**stage["shared"]), Outcome(**stage["single"]), stage["memory"])
            for name, stage in row["stages"].items()
        }
        results.append(RunResult(row["images"], row["workers"], stages, row["scheduler_seconds"]))
    return results


def efficiency(outcome: Outcome, workers: int) -> float:
    """Share of the workers' time that computes."""
    return outcome.computed / (workers * outcome.seconds) if outcome.seconds else 1.0


def simulate(
    table: Table,
    images: int,
    cluster: Cluster,
    parts: int = PART_SIZE,
) -> RunResult:
    """Run all calls of a run on a simulated cluster.

    Parameters
    ----------
    table : Table
    images : int
    cluster : Cluster
    parts : int
        Images of a part that is mapped on its own; 0 maps all in one task.

    Returns
    -------
    RunResult
    """
    simulation = Simulation(cluster)
    stages = {name: StageResult() for name in STAGE_NAMES}
    for call in table.foretell(images):
        if 0 < parts < images and call.function == MAPPING:
            call = in_parts(table, call, images, size_of_parts(images, parts))
        stage = stages[call.stage]
        outcome = simulation.execute(call.function, call.tasks, call.memory)
        # Two files that are written at the same time are not what keeps a cluster busy.
        (stage.shared if call.many else stage.single).add(outcome)
        stage.memory = max(stage.memory, call.memory)
    return RunResult(images, cluster.workers, stages, simulation.scheduler_seconds)


def in_parts(table: Table, call: Call, images: int, size: int) -> Call:
    """Mapping of the whole as mapping of overlapping parts."""
    count = max(1, round(images / (size * (1 - _OVERLAP))))
    (whole,) = call.tasks
    share = min(1.0, size / images)
    part = Task(whole.seconds * share**table.exponent, whole.read * share, whole.written * share)
    return replace(call, many=True, tasks=(part,) * count)


def check(dispatch: float) -> None:
    """Print what real workers need for tasks that sleep, and what the simulation foretells."""
    sleeps = np.random.default_rng(0).uniform(0.05, 0.5, 200).round(3).tolist()
    for workers in (2, 4):
        foretold = Simulation(Cluster(workers, dispatch=dispatch)).execute("sleep", [Task(s) for s in sleeps])
        real = compute.Cluster(workers=workers)
        try:
            began = time.perf_counter()
            real.execute(
                time.sleep,
                [(s,) for s in sleeps],
                names=[str(s) for s in sleeps],
                cancelled=threading.Event(),
                usage=compute.Usage(),
                on_done=lambda count: None,
            )
            seconds = time.perf_counter() - began
        finally:
            real.close()
        print(f"{workers} workers, {len(sleeps)} tasks: {seconds:.1f} s, {foretold.seconds:.1f} foretold")


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


def print_run(result: RunResult) -> None:
    """Print a table of the stages."""
    total = result.total()
    print(
        f"\n{result.images} images on {result.workers} workers: {_hours(total.seconds)} h, "
        f"{100 * result.shared_efficiency:.0f} % efficient for shared tasks, "
        f"{100 * result.run_efficiency:.0f} % for the run, {total.bytes / 1e12:.2f} TB read and written, "
        f"{result.cost:.0f} $ ({result.least_cost:.0f} $ with one worker for single tasks)"
    )
    print(
        f"{'stage':<24}{'tasks':>9}{'core-h':>9}{'shared h':>10}{'busy':>7}{'single h':>10}"
        f"{'GB moved':>10}{'GB a task':>11}"
    )
    for name, stage in result.stages.items():
        shared, single = stage.shared, stage.single
        print(
            f"{name:<24}{shared.tasks + single.tasks:>9}{_hours(shared.computed + single.computed):>9}"
            f"{_hours(shared.seconds):>10}{100 * efficiency(shared, result.workers):>6.0f}%"
            f"{_hours(single.seconds):>10}{(shared.bytes + single.bytes) / 1e9:>10.0f}"
            f"{stage.memory / 1e9:>11.1f}"
        )
    print(f"Dask's scheduler took {result.scheduler_seconds:.0f} s here for {total.tasks} tasks.", flush=True)


def main() -> None:
    """Simulate what the command line names."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 64, 100_000, 1000])
    parser.add_argument("--series", type=int)
    parser.add_argument("--parts", type=int, default=PART_SIZE)
    parser.add_argument("--link", type=float, default=Cluster.link / 1e6, help="MB/s of each worker")
    parser.add_argument("--storage", type=float, default=Cluster.storage / 1e9, help="GB/s of the storage")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    logging.getLogger("distributed").setLevel(logging.WARNING)
    table = Table.read()
    cluster = Cluster(1, link=given.link * 1e6, storage=given.storage * 1e9, dispatch=table.dispatch)
    results = []
    if given.check:
        check(table.dispatch)
        return
    if given.series:
        print(f"{given.series} images\n{'workers':>8}{'hours':>9}{'shared':>9}{'run':>7}{'TB':>7}{'$':>8}")
        for workers in _SERIES:
            result = simulate(table, given.series, replace(cluster, workers=workers), given.parts)
            total = result.total()
            print(
                f"{workers:>8}{_hours(total.seconds):>9}{100 * result.shared_efficiency:>8.0f}%"
                f"{100 * result.run_efficiency:>6.0f}%{total.bytes / 1e12:>7.2f}{result.cost:>8.0f}",
                flush=True,
            )
            results.append(result)
    else:
        for images, workers in zip(given.sizes[::2], given.sizes[1::2], strict=True):
            results.append(simulate(table, images, replace(cluster, workers=workers), given.parts))
            print_run(results[-1])
    if given.json:
        given.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")


if __name__ == "__main__":
    main()

"""How much sooner two workers finish than one, stage by stage.

``python -m tests.benchmarks.workers KEPT SET:QUALITY [--pairs 5] [--stages …]`` takes the inputs of each
stage from a kept run of the set (KEPT/SET-QUALITY/local, made first where it is missing) and runs the stage
with one worker and with two, in turns, each time into an empty folder. Before the pairs, each has run once:
kernels are loaded then. It prints the median of the ratios of the wall times, of the whole stage and of what
it shares among workers, and the load of the machine, which should be idle.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recon3d.compute import Cluster, StageContext
from recon3d.options import resolve_options
from recon3d.project import Project
from recon3d.stage_table import STAGES
from tests.benchmarks.kept_runs import kept_run

#: Stages with tasks of images, pairs or views. Mapping shares parts of sets that are larger than these.
_SHARED = (
    "frame_extraction",
    "feature_extraction",
    "feature_matching",
    "dense_reconstruction",
    "mesh_generation",
    "texturing",
)
_BAR = 1.8


class _Timed(StageContext):
    """Notes how long the calls last that have several tasks."""

    shared: list[float]

    def _execute(self, fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]], **how: Any) -> list[Any]:
        began = time.perf_counter()
        try:
            return super()._execute(fn, calls, **how)
        finally:
            if len(calls) > 1:
                self.shared.append(time.perf_counter() - began)


def once(project: Project, stage: str, quality: str, cluster: Cluster) -> tuple[float, float]:
    """Run a stage; seconds of the whole, and of what is shared."""
    needs = next(row.needs for row in STAGES if row.name == stage)
    artifacts = project.artifacts
    inputs = {name: project.path / "inputs" if name == "inputs" else artifacts[name].path for name in needs}
    context = _Timed(cluster=lambda: cluster, emit=lambda *_: None)
    context.shared = []
    module = importlib.import_module(f"recon3d.stages.{stage}")
    with tempfile.TemporaryDirectory(dir=project.path.parent) as folder:
        began = time.perf_counter()
        module.run(inputs, resolve_options(quality)[stage], Path(folder), context)
        seconds = time.perf_counter() - began
    return seconds, sum(context.shared)


def compare(project: Project, stage: str, quality: str, pairs: int) -> None:
    """Run the pairs of a stage and print its row."""
    clusters = {count: Cluster(workers=count) for count in (1, 2)}
    rows: list[dict[int, tuple[float, float]]] = []
    loads = []
    try:
        for count in (1, 2):
            once(project, stage, quality, clusters[count])
        for number in range(pairs):
            order = (1, 2) if number % 2 == 0 else (2, 1)
            rows.append({count: once(project, stage, quality, clusters[count]) for count in order})
            loads.append(os.getloadavg()[0])
    finally:
        for cluster in clusters.values():
            cluster.close()
    whole, shared = ([row[1][k] / row[2][k] for row in rows] for k in (0, 1))
    one, two = (statistics.median(row[count][0] for row in rows) for count in (1, 2))
    median = statistics.median(whole)
    print(
        f"{stage:<24}{one:>9.1f}{two:>9.1f}{median:>9.2f}{min(whole):>8.2f}{max(whole):>8.2f}"
        f"{statistics.median(shared):>9.2f}{max(loads):>7.1f}{'' if median >= _BAR else '  below the bar'}",
        flush=True,
    )


def main() -> None:
    """Run and print."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("kept", type=Path)
    parser.add_argument("sets", nargs="+", metavar="SET:QUALITY")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--stages", nargs="+", choices=_SHARED, default=_SHARED)
    given = parser.parse_args()
    for named in given.sets:
        name, quality = named.split(":")
        project = kept_run(given.kept, name, quality)
        print(f"\n{name} at {quality}, {given.pairs} pairs, {time.strftime('%F %H:%M')}; seconds are medians")
        print(
            f"{'stage':<24}{'1, s':>9}{'2, s':>9}{'ratio':>9}{'least':>8}{'most':>8}{'shared':>9}{'load':>7}"
        )
        began = time.monotonic()
        for stage in given.stages:
            compare(project, stage, quality, given.pairs)
        print(f"{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()

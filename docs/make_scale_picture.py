"""Draw docs/images/scale.png: ``python -m docs.make_scale_picture``.

It simulates runs of 10 000 images (`tests.benchmarks.scale`), which takes some minutes.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from tests.benchmarks.scale import RunResult, simulate
from tests.benchmarks.scale_tasks import Table
from tests.benchmarks.simulated_cluster import Cluster

PICTURE = Path(__file__).parent / "images" / "scale.png"
_MAPPING = "sparse_reconstruction"
_IMAGES, _PART, _WORKERS, _SHOWN = 10_000, 400, (1, 8, 64, 500), 64


def _lines(axes: Axes, today: list[RunResult], parts: list[RunResult]) -> None:
    """How busy the workers are, by their number."""
    lines = {
        "tasks that are shared": ([r.shared_efficiency for r in today], "#1b9e77", "-"),
        "whole run": ([r.run_efficiency for r in today], "#d95f02", "-"),
        "whole run, mapped in parts (not built)": ([r.run_efficiency for r in parts], "#d95f02", ":"),
    }
    for label, (values, color, style) in lines.items():
        axes.plot(_WORKERS, [100 * value for value in values], style, color=color, marker="o", label=label)
    axes.set(xscale="log", xlabel="workers", ylabel="% of the workers' time that computes", ylim=(0, 105))
    axes.set_xticks(_WORKERS, [str(count) for count in _WORKERS], minor=False)
    axes.minorticks_off()
    axes.legend(frameon=False)


def _bars(axes: Axes, result: RunResult) -> None:
    """Hours of each stage."""
    names = [name.replace("_", " ") for name in result.stages]
    shared = [stage.shared.seconds / 3600 for stage in result.stages.values()]
    single = [stage.single.seconds / 3600 for stage in result.stages.values()]
    axes.barh(names, shared, color="#1b9e77", label="tasks that are shared")
    axes.barh(names, single, left=shared, color="#d95f02", label="single tasks: the others wait")
    axes.invert_yaxis()
    axes.set(xlabel=f"hours with {result.workers} workers")
    axes.legend(frameon=False)


def main() -> None:
    """Simulate and draw."""
    logging.getLogger("distributed").setLevel(logging.WARNING)
    table = Table.read()
    clusters = [Cluster(count, dispatch=table.dispatch) for count in _WORKERS]
    today = [simulate(table, _IMAGES, cluster) for cluster in clusters]
    # Of the plan, only mapping differs.
    mapped = [simulate(table, _IMAGES, cluster, _PART, only=[_MAPPING]) for cluster in clusters]
    parts = [replace(a, stages=a.stages | b.stages) for a, b in zip(today, mapped, strict=True)]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
    figure.suptitle(f"{_IMAGES} images, simulated")
    _lines(left, today, parts)
    _bars(right, today[_WORKERS.index(_SHOWN)])
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()

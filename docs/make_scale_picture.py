"""Draw docs/images/scale.png: ``python -m docs.make_scale_picture TODAY WHOLE``.

Both are files that the simulation keeps, for the same numbers of workers::

    python -m tests.benchmarks.scale 10000 1 10000 8 10000 64 10000 500 --json TODAY
    python -m tests.benchmarks.scale 10000 1 10000 8 10000 64 10000 500 --parts 0 --json WHOLE
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from tests.benchmarks.scale import RunResult, read_results

PICTURE = Path(__file__).parent / "images" / "scale.png"
#: Workers whose hours are shown.
_SHOWN = 64


def _lines(axes: Axes, today: list[RunResult], whole: list[RunResult]) -> None:
    """How busy the workers are, by their number."""
    lines = {
        "tasks that are shared": ([r.shared_efficiency for r in today], "#1b9e77", "-"),
        "whole run": ([r.run_efficiency for r in today], "#d95f02", "-"),
        "whole run, mapped as one task": ([r.run_efficiency for r in whole], "#d95f02", ":"),
    }
    workers = [result.workers for result in today]
    for label, (values, color, style) in lines.items():
        axes.plot(workers, [100 * value for value in values], style, color=color, marker="o", label=label)
    axes.set(xscale="log", xlabel="workers", ylabel="% of the workers' time that computes", ylim=(0, 140))
    axes.set_yticks(range(0, 101, 20))
    axes.set_xticks(workers, [str(count) for count in workers], minor=False)
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
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("today", type=Path)
    parser.add_argument("whole", type=Path)
    given = parser.parse_args()
    today, whole = read_results(given.today), read_results(given.whole)
    (shown,) = (result for result in today if result.workers == _SHOWN)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
    figure.suptitle(f"{shown.images} images, simulated")
    _lines(left, today, whole)
    _bars(right, shown)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()

"""What a whole run costs, before and after.

``python -m tests.benchmarks.whole_way girl|bust [--before FOLDER]`` runs a set from its photos or its
video to the textured model, with two workers, first with the checkout in FOLDER and then with this one.
It prints for each stage the CPU-seconds and the wall time of both, their ratios, and the CPU-seconds in
reference units: those of ``pycolmap.extract_features`` (CPU, defaults, 1600 pixels) on the set's
undistorted images in the same minutes. CPU-seconds are the stages' own, which count the workers. Wall
times mean something only on an idle machine: the load is printed. The first run of a checkout compiles
its kernels: run it twice.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from recon3d import colmap
from recon3d.stage_table import STAGE_NAMES
from tests.benchmarks import checkouts
from tests.benchmarks.checkouts import Cost
from tests.benchmarks.dense import quiet, reference_unit
from tests.benchmarks.sets import DATA, SETS, TRUE_SETS, posed_frames


def report(before: dict[str, Cost] | None, after: dict[str, Cost], unit: float) -> str:
    """A table of stages; the ratios are those of after to before."""
    lines = [
        f"{'stage':<24}{'CPU before':>12}{'after':>8}{'ratio':>7}{'units':>7}{'wall before':>13}{'after':>8}"
        f"{'ratio':>7}{'MB before':>11}{'after':>7}"
    ]
    nothing = Cost(0.0, 0.0, 0.0)
    for stage in (*STAGE_NAMES, "whole"):
        old, new = (_cost(costs, stage) if costs else nothing for costs in (before, after))
        lines.append(
            f"{stage:<24}{old.cpu:>12.1f}{new.cpu:>8.1f}{_ratio(new.cpu, old.cpu)}{new.cpu / unit:>7.2f}"
            f"{old.wall:>13.1f}{new.wall:>8.1f}{_ratio(new.wall, old.wall)}{old.peak:>11.0f}{new.peak:>7.0f}"
        )
    return "\n".join(lines)


def _cost(costs: dict[str, Cost], stage: str) -> Cost:
    if stage != "whole":
        return costs[stage]
    parts = costs.values()
    return Cost(sum(c.cpu for c in parts), sum(c.wall for c in parts), max(c.peak for c in parts))


def _ratio(new: float, old: float) -> str:
    return f"{new / old:>7.2f}" if old else f"{'':>7}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", choices=TRUE_SETS)
    parser.add_argument("--quality", default="medium")
    parser.add_argument("--before", type=Path, help="a checkout of the code to compare with")
    given = parser.parse_args()
    for name in given.sets:
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            model, images = posed_frames(name, work)
            names = sorted(path.name for path in images.iterdir() if path.suffix in {".jpg", ".png"})
            with quiet():
                unit = reference_unit(colmap.read_scene(model, names), images)
            arguments = [str(DATA / SETS[name].images)], ["-q", given.quality, "--workers", "2"]
            loads = [os.getloadavg()[0]]
            before = None
            if given.before:
                before = checkouts.run(given.before, work / "before", *arguments)
                loads.append(os.getloadavg()[0])
            after = checkouts.run(checkouts.HERE, work / "after", *arguments)
            loads.append(os.getloadavg()[0])
        commits = [checkouts.commit(code) for code in (given.before, checkouts.HERE) if code]
        print(
            f"{name} at {given.quality}, {' and '.join(commits)}, {time.strftime('%F %H:%M')}; load"
            f" {', '.join(f'{load:.1f}' for load in loads)}; unit {unit:.1f} CPU-s"
        )
        print(report(before, after, unit), flush=True)


if __name__ == "__main__":
    main()

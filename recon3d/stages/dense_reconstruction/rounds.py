"""The rounds of PatchMatch over all views, on the CPU or on GPUs."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from recon3d.compute import StageContext
from recon3d.io.atomic import atomic_path
from recon3d.mvs.sweeps import Sweeps
from recon3d.options import DenseReconstructionOptions
from recon3d.stages.dense_reconstruction.plane_tasks import MatchTask
from recon3d.stages.dense_reconstruction.stereo_plan import Plan

#: Longer side of the coarsest level of the pyramid, about.
_COARSEST = 140
#: Runs the tasks whose products are missing: tasks, products, names, unit, context.
RunRound = Callable[[Sequence[MatchTask], Sequence[Path], Sequence[str], str, StageContext], None]


def run_rounds(
    plan: Plan, options: DenseReconstructionOptions, run_round: RunRound, context: StageContext
) -> None:
    """Write each view's depth map before filtering.

    Parameters
    ----------
    plan : Plan
        The undistorted images are there.
    options : DenseReconstructionOptions
    run_round : callable
        Runs one round over the views.
    context : StageContext
    """
    views = plan.scene.views
    names = [views[i].name for i in plan.active]
    start, rounds = schedule(plan.size, options)
    products = [[plan.folders.planes(number, name) for name in names] for number in range(len(rounds) - 1)]
    products.append([plan.folders.raw_map(name) for name in names])
    finished = [number for number, paths in enumerate(products) if all(path.exists() for path in paths)]
    phases = context.phases(*[1.0] * len(rounds))
    for name, points in zip(names, plan.points_seen(), strict=True):
        with atomic_path(plan.folders.seen(name)) as temporary:
            np.save(temporary, points)
    # A finished round's own sources may have been removed.
    for number in range(max(finished, default=-1) + 1, len(rounds)):
        items = [
            MatchTask(
                folders=plan.folders,
                round=number,
                view=views[i],
                sources=tuple(views[j] for j in plan.sources[i]),
                start_level=start,
                schedule=rounds[number],
                best_views=max(1, math.ceil(len(plan.sources[i]) / 2)),
                last=number == len(rounds) - 1,
                seed=context.seed * 100_003 + i,
            )
            for i in plan.active
        ]
        unit = "depth maps" if number == 0 else f"depth maps, refinement {number}"
        run_round(items, products[number], names, unit, phases[number])
        if number > 1:
            for kind in ("states", "planes"):
                shutil.rmtree(Path(plan.folders.work) / f"{kind}_{number - 2}", ignore_errors=True)


def schedule(size: int, options: DenseReconstructionOptions) -> tuple[int, list[tuple[Sweeps, ...]]]:
    """Plan the rounds.

    Parameters
    ----------
    size : int
        Longer side of the depth maps.
    options : DenseReconstructionOptions

    Returns
    -------
    int
        The coarsest level.
    list of tuple of Sweeps
        What is done in each round over all views.
    """
    start = max(1, round(math.log2(size / _COARSEST)))
    first = [Sweeps(start, options.iterations, areas=8, variations=4, step=8.0, tilt=1.0)]
    # Choosing views for each hypothesis pays only when rounds follow that use the neighbours' maps.
    views: Literal["hypothesis", "pixel"] = "hypothesis" if options.geometric_iterations else "pixel"
    first += [
        Sweeps(level, 1, areas=8, variations=3, step=1.0, tilt=0.3, views=views)
        for level in range(start - 1, 0, -1)
    ]
    finest = Sweeps(
        0, 1, areas=4, variations=2, step=0.5, tilt=0.15, views="inherited", narrow=True, polish=(0.35,)
    )
    if not options.geometric_iterations:
        return start, [(*first, replace(finest, areas=2, variations=1))]
    second = Sweeps(1, 1, areas=8, variations=3, step=0.5, tilt=0.15, views="pixel", narrow=True)
    return start, [tuple(first), (second, finest), *[(finest,)] * (options.geometric_iterations - 1)]

"""Depth maps by this project's PatchMatch on the CPU, a view a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recon3d.compute import StageContext
from recon3d.options import DenseReconstructionOptions
from recon3d.stages.dense_reconstruction import plane_tasks
from recon3d.stages.dense_reconstruction.rounds import run_rounds
from recon3d.stages.dense_reconstruction.stereo_plan import Plan, map_missing


def match(plan: Plan, options: DenseReconstructionOptions, context: StageContext) -> None:
    """Write each view's depth map before filtering.

    Parameters
    ----------
    plan : Plan
        The undistorted images are there.
    options : DenseReconstructionOptions
    context : StageContext
    """

    def run_round(
        items: Sequence[plane_tasks.MatchTask],
        products: Sequence[Path],
        names: Sequence[str],
        unit: str,
        phase: StageContext,
    ) -> None:
        map_missing(plane_tasks.match, items, products, names, unit, plan.memory, phase)

    run_rounds(plan, options, run_round, context)

"""The one table of the seven stages; everything that lists stages derives from it.

A stage's name is also its module in ``recon3d.stages``, its group of options, its name in events,
and the ``job_type`` of its job in the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Published(NamedTuple):
    """A result: where a stage's artifact holds it, and where the project's ``results`` show it."""

    source: str
    target: str


@dataclass(frozen=True)
class Stage:
    """A row of the table.

    Parameters
    ----------
    name : str
    needs : tuple of str
        Stages whose artifacts it reads; "inputs" is the project's folder of inputs.
    weight : float
        Typical share of a run's time; only the overall progress bar uses it.
    posed_needs : tuple of str, optional
        The same as `needs` when the cameras are known; by default as `needs`.
    publishes : mapping of str to Published
        Results of the stage by name.
    """

    name: str
    needs: tuple[str, ...]
    weight: float
    posed_needs: tuple[str, ...] | None = None
    publishes: Mapping[str, Published] = field(default_factory=dict)


STAGES: tuple[Stage, ...] = (
    Stage("frame_extraction", ("inputs",), 0.06),
    Stage("feature_extraction", ("frame_extraction",), 0.12),
    Stage("feature_matching", ("frame_extraction", "feature_extraction"), 0.14),
    Stage(
        "sparse_reconstruction",
        ("frame_extraction", "feature_matching"),
        0.10,
        posed_needs=("inputs", "frame_extraction", "feature_matching"),
        publishes={"sparse": Published("models/0", "sparse")},
    ),
    Stage(
        "dense_reconstruction",
        ("frame_extraction", "sparse_reconstruction"),
        0.36,
        publishes={"point_cloud": Published("point_cloud.ply", "point_cloud.ply")},
    ),
    Stage(
        "mesh_generation",
        ("dense_reconstruction",),
        0.08,
        publishes={"mesh": Published("mesh.ply", "mesh.ply")},
    ),
    Stage(
        "texturing",
        ("frame_extraction", "sparse_reconstruction", "mesh_generation"),
        0.14,
        publishes={"textured_mesh": Published("textured_mesh.glb", "textured_mesh.glb")},
    ),
)
STAGE_NAMES: tuple[str, ...] = tuple(stage.name for stage in STAGES)

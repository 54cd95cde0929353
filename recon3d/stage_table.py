"""The one table of the seven stages; everything that lists stages derives from it.

A stage's name is also its module in ``recon3d.stages``, its group of options, its name in events,
and the ``job_type`` of its job in the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from recon3d.layout import MESH, MODEL, NORMAL_MAP, POINT_CLOUD, SPARSE, TEXTURED_MESH

StageName = Literal[
    "frame_extraction",
    "feature_extraction",
    "feature_matching",
    "sparse_reconstruction",
    "dense_reconstruction",
    "mesh_generation",
    "texturing",
]


#: What stages make of each view, and people look at.
PictureKind = Literal["frames", "depth_maps"]


class Published(NamedTuple):
    """A result: where a stage's artifact holds it, and where the project's ``results`` show it."""

    source: str
    target: str


@dataclass(frozen=True)
class Stage:
    """A row of the table.

    Parameters
    ----------
    name : StageName
    needs : tuple of str
        Stages whose artifacts it reads; "inputs" is the project's folder of inputs.
    weight : float
        Typical share of a run's time. The overall progress bar uses it while a run has not foretold
        how long its stages take.
    posed_needs : tuple of str, optional
        The same as `needs` when the cameras are known; by default as `needs`.
    publishes : mapping of str to Published
        Results of the stage by name.
    may_publish : mapping of str to Published
        Results that it has with some options only.
    """

    name: StageName
    needs: tuple[str, ...]
    weight: float
    posed_needs: tuple[str, ...] | None = None
    publishes: Mapping[str, Published] = field(default_factory=dict)
    may_publish: Mapping[str, Published] = field(default_factory=dict)


STAGES: tuple[Stage, ...] = (
    Stage("frame_extraction", ("inputs",), 0.07),
    Stage("feature_extraction", ("frame_extraction",), 0.09),
    Stage("feature_matching", ("frame_extraction", "feature_extraction"), 0.10),
    Stage(
        "sparse_reconstruction",
        ("frame_extraction", "feature_matching"),
        0.14,
        posed_needs=("inputs", "frame_extraction", "feature_matching"),
        publishes={"sparse": Published(MODEL, SPARSE)},
    ),
    Stage(
        "dense_reconstruction",
        ("frame_extraction", "sparse_reconstruction"),
        0.10,
        publishes={"point_cloud": Published(POINT_CLOUD, POINT_CLOUD)},
    ),
    Stage(
        "mesh_generation",
        ("frame_extraction", "sparse_reconstruction", "dense_reconstruction"),
        0.35,
        publishes={"mesh": Published(MESH, MESH)},
    ),
    Stage(
        "texturing",
        ("frame_extraction", "sparse_reconstruction", "mesh_generation"),
        0.15,
        publishes={"textured_mesh": Published(TEXTURED_MESH, TEXTURED_MESH)},
        may_publish={"normal_map": Published(NORMAL_MAP, NORMAL_MAP)},
    ),
)
STAGE_NAMES: tuple[StageName, ...] = tuple(stage.name for stage in STAGES)
if get_args(StageName) != STAGE_NAMES:
    raise RuntimeError("StageName and STAGES list different stages")

"""The steps that share a scene among parts. Each leaves a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recon3d.compute import reads
from recon3d.layout import POINT_CLOUD, VISIBILITY
from recon3d.options import Box, MeshGenerationOptions
from recon3d.stages.cloud_reading import Span, read_at_most
from recon3d.stages.kept_steps import keep_step, kept_facts, kept_part
from recon3d.stages.mesh_generation.point_steps import ReadTask, kept_maps
from recon3d.surface.free_space import count_empty
from recon3d.threads import Threads
from recon3d.types import Floats, PointCloud, Scene, scene_files

if TYPE_CHECKING:
    from recon3d.surface.parting import Seam
    from recon3d.surface.region import Extent
    from recon3d.surface.thinning import Scale

#: Cells by which parts overlap their neighbours. Splines of points, gaps and smoothing reach further than
#: one, and at its rim a part's surface is wrong.
_OVERLAP = 64.0
#: Of these cells at the rim of a part's points, the surface closes what goes on beyond.
RIM = 3.0
#: A photo shows a part if its depth map has this share of its points, within so many cells; points that are
#: enough to tell.
_SHOWN, _NEAR, _SAMPLE = 0.05, 4.0, 4000


@dataclass(frozen=True)
class Part:
    """One part of a scene.

    Parameters
    ----------
    core : ((float, float, float), (float, float, float))
        Corners of its box; infinite where no other part follows.
    views : tuple of str
        Names of the photos that show it.
    """

    core: Box
    views: tuple[str, ...]


@dataclass(frozen=True)
class Shares:
    """How a scene is shared.

    Parameters
    ----------
    scale : Scale
    depth : int
        The grid has two to the power of this many vertices along a side.
    parts : tuple of Part
    seams : tuple of Seam
        In the order in which parts are joined.
    """

    scale: Scale
    depth: int
    parts: tuple[Part, ...]
    seams: tuple[Seam, ...]

    def overlapping(self, number: int, rim: float = 0.0) -> Box:
        """Give the box of a part's points.

        Parameters
        ----------
        number : int
            Of the part.
        rim : float
            So many cells are left out on all sides.

        Returns
        -------
        ((float, float, float), (float, float, float))
            Two corners.
        """
        low, high = np.array(self.parts[number].core)
        reach = (_OVERLAP - rim) * self.scale.cell
        return _corners(low - reach, high + reach)


@reads(lambda cloud, free, *_: [cloud, *free])
def share_scene(
    cloud: Path, free: list[Path], options: MeshGenerationOptions, count: int, output: Path, cores: int
) -> None:
    """Share a scene among parts.

    Parameters
    ----------
    cloud : Path
        What `read_points` left of all points.
    free : list of Path
        What `see_through` left.
    options : MeshGenerationOptions
    count : int
        Number of parts.
    output : Path
        For `kept_shares`.
    cores : int

    Raises
    ------
    ReconstructionError
        There are too few points for a surface.
    """
    from recon3d.surface.cropping import in_box
    from recon3d.surface.parting import part_space
    from recon3d.surface.poisson import octree_depth
    from recon3d.surface.thinning import LEAST_POINTS, Scale, check_enough, diagonal_of, wanted_cell

    facts, points = kept_facts(cloud), kept_part(cloud, "cloud", PointCloud)
    check_enough(points, LEAST_POINTS)
    crowd = max(1.0, facts["points"] / max(len(points), 1))
    with Threads(cores) as threads:
        cell = wanted_cell(points, options.max_faces, options.poisson_depth, threads, crowd)
        parting = part_space(points.points, count, _OVERLAP * cell)
        cores_of = [_corners(low, high) for low, high in zip(parting.low, parting.high, strict=True)]
        sample = [points.points[in_box(points.points, core)] for core in cores_of]
        sample = [part[:: -(-len(part) // _SAMPLE) or 1] for part in sample]
        views = _views_of(sample, _NEAR * cell, free, threads)
    parts = [{"core": core, "views": names} for core, names in zip(cores_of, views, strict=True)]
    shares = {
        "scale": asdict(Scale(cell, diagonal_of(points.points))),
        "depth": octree_depth(points.points, cell),
        "parts": parts,
        "seams": [asdict(seam) for seam in parting.seams],
    }
    keep_step(output, shares)


def _corners(low: Any, high: Any) -> Box:
    (x, y, z), (right, top, far) = np.asarray(low).tolist(), np.asarray(high).tolist()
    return (x, y, z), (right, top, far)


def _views_of(parts: list[Floats], reach: float, free: list[Path], threads: Threads) -> list[list[str]]:
    """Names of the views that see enough points of each part."""
    views: list[list[str]] = [[] for _ in parts]
    for name, small in kept_maps(free):
        for names, points in zip(views, parts, strict=True):
            seen = count_empty(points, np.full(len(points), reach), [small], threads)[1]
            if np.count_nonzero(seen) >= _SHOWN * len(points):
                names.append(name)
    return views


def kept_shares(path: Path) -> Shares:
    """Read what `share_scene` left.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Shares
    """
    from recon3d.surface.parting import Seam
    from recon3d.surface.thinning import Scale

    facts = kept_facts(path)
    parts = tuple(Part(_corners(*part["core"]), tuple(part["views"])) for part in facts["parts"])
    seams = tuple(Seam(**seam) for seam in facts["seams"])
    return Shares(Scale(**facts["scale"]), facts["depth"], parts, seams)


@reads(lambda task, *_: [task.dense / POINT_CLOUD, task.dense / VISIBILITY, *scene_files(task.dense)])
def read_part(
    task: ReadTask, box: Box, extent: Extent | None, spans: list[Span] | None, output: Path, cores: int
) -> None:
    """Read the points of a part.

    Parameters
    ----------
    task : ReadTask
    box : ((float, float, float), (float, float, float))
        Corners of the points' box.
    extent : Extent, optional
        What deserves a surface, where the region is ``auto``.
    spans : list of (int, int), optional
        Where the points are in the file; by default anywhere.
    output : Path
        As `read_points` leaves it.
    cores : int
    """
    from recon3d.surface.cropping import in_box
    from recon3d.surface.region import points_within
    from recon3d.surface.thinning import at_most

    views = extent is not None
    read = read_at_most(task.dense, task.most_read, views=views, part=task.part, box=box, spans=spans)
    inside = np.ones(len(read.cloud), bool)
    with Threads(cores) as threads:
        if extent is not None:
            inside = points_within(extent, Scene.load(task.dense), read.cloud, threads)
        elif task.region != "all":
            inside = in_box(read.cloud.points, task.region)
        cloud = at_most(read.cloud.subset(inside), task.most, threads)
    keep_step(output, {"points": int(read.counts[inside].sum())}, cloud=cloud)

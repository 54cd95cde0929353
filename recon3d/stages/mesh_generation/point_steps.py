"""The steps from a cloud and its depth maps to the points that are meshed, one task each.

Each leaves a file, which later ones read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recon3d.compute import reads
from recon3d.errors import ReconstructionError
from recon3d.io.depth import read_packed_map
from recon3d.layout import POINT_CLOUD, VISIBILITY, depth_map_file
from recon3d.options import Box, MeshGenerationOptions
from recon3d.stages.cloud_reading import Span, joined_spans, read_at_most, thinned_span
from recon3d.stages.kept_steps import keep_step, kept_facts, kept_part
from recon3d.stages.voxel_sums import VoxelSums
from recon3d.surface.bounds import bounds
from recon3d.surface.free_space import FreeSpace, SmallMap
from recon3d.threads import Threads
from recon3d.types import PointCloud, Scene, View, scene_files

if TYPE_CHECKING:
    from recon3d.surface.thinning import Scale


@dataclass(frozen=True)
class ReadTask:
    """Which points are read.

    Parameters
    ----------
    dense : Path
        The artifact of dense_reconstruction.
    region : str or tuple
        As in `MeshGenerationOptions`.
    most_read, part, most : int
        Points that are in memory at most, that are read at once, and that are used at most.
    """

    dense: Path
    region: Any
    most_read: int
    part: int
    most: int


@reads(lambda task, *_: [task.dense / POINT_CLOUD, task.dense / VISIBILITY])
def read_span(task: ReadTask, span: Span, most: int, output: Path, cores: int) -> None:
    """Read a span of a large cloud's file, and thin it.

    Parameters
    ----------
    task : ReadTask
    span : (int, int)
        Its first point, and that after the last.
    most : int
        Points that are left at most.
    output : Path
        Its facts ``voxel``, ``span``, ``low`` and ``high`` tell the side of the voxels, and where the points
        are in the file and in space.
    cores : int
        Unused: every step is called with them.
    """
    sums, voxel = thinned_span(task.dense, span, most, views=task.region == "auto", part=task.part)
    low, high = bounds(sums.points / sums.counts[:, None])
    # These are means: points of a voxel lie less than its side away.
    facts = {"voxel": voxel, "span": span, "low": (low - voxel).tolist(), "high": (high + voxel).tolist()}
    keep_step(output, facts, sums=sums)


@reads(
    lambda task, spans, *_: [
        *(spans or [task.dense / POINT_CLOUD, task.dense / VISIBILITY]),
        *scene_files(task.dense),
    ]
)
def read_points(task: ReadTask, spans: list[Path], output: Path, cores: int) -> None:
    """Read the points to be meshed.

    Parameters
    ----------
    task : ReadTask
    spans : list of Path
        What `read_span` left; empty to read the cloud itself.
    output : Path
        For `kept_steps`.
    cores : int
    """
    from recon3d.surface.cropping import in_box, points_in_box
    from recon3d.surface.region import find_region
    from recon3d.surface.thinning import at_most

    region, facts = task.region, {"kind": "all"}
    if spans:
        voxel = max(kept_facts(path)["voxel"] for path in spans)
        sums = (kept_part(path, "sums", VoxelSums) for path in spans)
        read = joined_spans(sums, voxel, task.most_read, part=task.part)
    else:
        read = read_at_most(task.dense, task.most_read, views=region == "auto", part=task.part)
    with Threads(cores) as threads:
        if region == "all":
            chosen, inside = read.cloud, np.ones(len(read.cloud), bool)
        elif region == "auto":
            found = find_region(Scene.load(task.dense), read.cloud, threads, read.counts)
            chosen, inside, facts = read.cloud.subset(found.inside), found.inside, asdict(found.extent)
        else:
            chosen, inside = points_in_box(read.cloud, region), in_box(read.cloud.points, region)
            facts = {"kind": "box"}
        count = int(read.counts[inside].sum())
        cloud = at_most(chosen, task.most, threads)
    keep_step(output, {**facts, "points": count, "outside": int(read.counts.sum()) - count}, cloud=cloud)


@reads(lambda dense, views, *_: [depth_map_file(dense, view.name) for view in views])
def see_through(dense: Path, views: Sequence[View], times: int, output: Path, cores: int) -> None:
    """Keep of depth maps what tells where space is free.

    Parameters
    ----------
    dense : Path
        The artifact of dense_reconstruction.
    views : sequence of View
        Some of its views.
    times : int
        How often the maps' size is halved.
    output : Path
        Its facts ``views`` and ``maps`` tell each depth map's view, and its focal length in pixels and pose.
    cores : int
        Unused: every step is called with them.
    """
    from recon3d.surface.free_space import reduced_maps

    # Of a view that has a depth map, the map's camera is its own.
    views = [view for view in views if depth_map_file(dense, view.name).exists()]
    maps = (
        (read_packed_map(depth_map_file(dense, view.name)).depth, view.camera, view.cam_from_world)
        for view in views
    )
    small = reduced_maps(maps, times)
    seen = [(float(view.camera.K[0, 0]), view.cam_from_world.tolist()) for view in views]
    facts = {"views": [view.name for view in views], "maps": seen}
    keep_step(output, facts, **{f"map{number}": part for number, part in enumerate(small)})


def kept_maps(free: Iterable[Path]) -> Iterator[tuple[str, SmallMap]]:
    """Read what `see_through` left.

    Parameters
    ----------
    free : iterable of Path

    Yields
    ------
    (str, SmallMap)
        Each depth map, with the name of its view.
    """
    for path in free:
        for number, name in enumerate(kept_facts(path)["views"]):
            yield name, kept_part(path, f"map{number}", SmallMap)


def kept_free_space(free: Iterable[Path], threads: Threads) -> FreeSpace:
    """Read what `see_through` left, as one.

    Parameters
    ----------
    free : iterable of Path
    threads : Threads

    Returns
    -------
    FreeSpace
    """
    return FreeSpace([small for _, small in kept_maps(free)], threads=threads)


@reads(lambda cloud, *_: [cloud])
def thin_points(
    cloud: Path,
    options: MeshGenerationOptions,
    scale: Scale | None,
    core: Box | None,
    output: Path,
    cores: int,
) -> None:
    """Thin the points to what the surface's grid can use.

    Parameters
    ----------
    cloud : Path
        What `read_points` or `read_part` left.
    options : MeshGenerationOptions
    scale : Scale, optional
        Of the whole, for a part of it.
    core : Box, optional
        That of the part.
    output : Path
        Its facts ``noise``, in cells, ``spacing`` and ``used`` are those of the points, and their number;
        spacing and number without those that other parts have, too. A part of too few has none.
    cores : int

    Raises
    ------
    ReconstructionError
        There are too few points for a surface of the whole.
    """
    from recon3d.surface.cropping import in_box
    from recon3d.surface.thinning import surface_points

    try:
        with Threads(cores) as threads:
            used = surface_points(
                kept_part(cloud, "cloud", PointCloud),
                faces=options.max_faces,
                depth=options.poisson_depth,
                scale=scale,
                threads=threads,
            )
    except ReconstructionError:
        if scale is None:
            raise
        keep_step(output, {"used": 0})
        return
    local = used.spacing.local if core is None else used.spacing.local[in_box(used.cloud.points, core)]
    found = {
        "noise": used.grid.noise,
        "spacing": float(np.median(local)) if len(local) else 0.0,
        "used": len(local),
    }
    keep_step(output, {**kept_facts(cloud), **found}, points=used)

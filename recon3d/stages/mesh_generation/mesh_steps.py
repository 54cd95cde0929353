"""The steps from a cloud to a mesh, one task each. Each leaves a file, which the next one reads.

The file of a step holds the facts of those before it, too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recon3d.compute import reads
from recon3d.errors import ReconstructionError
from recon3d.io.depth import read_packed_map
from recon3d.io.ply import write_mesh
from recon3d.layout import MESH, POINT_CLOUD, VISIBILITY, MeshCounts, depth_map_file
from recon3d.options import MeshGenerationOptions
from recon3d.stages.cloud_reading import read_at_most
from recon3d.stages.kept_steps import keep_step, kept_facts, kept_part
from recon3d.stages.preview import write_preview
from recon3d.surface.threads import Threads
from recon3d.types import Mesh, PointCloud, Scene, View, scene_files

if TYPE_CHECKING:
    from recon3d.surface.free_space import FreeSpace

#: Half the width of strips of ground that are dropped around an object, in diagonals of the model.
_FRINGE = 0.04


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


@reads(lambda task, *_: [task.dense / POINT_CLOUD, task.dense / VISIBILITY, *scene_files(task.dense)])
def read_points(task: ReadTask, output: Path, cores: int) -> None:
    """Read the points to be meshed.

    Parameters
    ----------
    task : ReadTask
    output : Path
        For `kept_steps`.
    cores : int
    """
    from recon3d.surface.meshing import at_most

    with Threads(cores) as threads:
        cloud, count, outside, kind = _region(task, threads)
        cloud = at_most(cloud, task.most, threads)
    keep_step(output, {"points": count, "outside": outside, "kind": kind}, cloud=cloud)


def _region(task: ReadTask, threads: Threads) -> tuple[PointCloud, int, int, str]:
    """The points to be meshed, how many points of the cloud these and the others are, and what others are."""
    from recon3d.surface.cropping import in_box, points_in_box
    from recon3d.surface.region import find_region

    region = task.region
    read = read_at_most(task.dense, task.most_read, views=region == "auto", part=task.part)
    total = int(read.counts.sum())
    if region == "all":
        return read.cloud, total, 0, "all"
    if region == "auto":
        found = find_region(Scene.load(task.dense), read.cloud, threads, read.counts)
        chosen, inside, kind = read.cloud.subset(found.inside), found.inside, str(found.kind)
    else:
        chosen, inside, kind = points_in_box(read.cloud, region), in_box(read.cloud.points, region), "box"
    count = int(read.counts[inside].sum())
    return chosen, count, total - count, kind


def _map_files(dense: Path, scene: Scene) -> list[Path]:
    return [depth_map_file(dense, view.name) for view in scene]


def _with_maps(dense: Path, scene: Scene) -> list[View]:
    """The views that have a depth map; its camera is theirs."""
    return [view for view in scene if depth_map_file(dense, view.name).exists()]


def _free_space(dense: Path, scene: Scene, threads: Threads) -> FreeSpace:
    from recon3d.surface.free_space import FreeSpace

    maps = (
        (read_packed_map(depth_map_file(dense, view.name)).depth, view.camera, view.cam_from_world)
        for view in _with_maps(dense, scene)
    )
    return FreeSpace(maps, threads=threads)


@reads(lambda dense, scene, cloud, *_: [cloud, *_map_files(dense, scene)])
def make_surface(
    dense: Path, scene: Scene, cloud: Path, options: MeshGenerationOptions, output: Path, cores: int
) -> None:
    """Make a surface from points, without what photos see through.

    Parameters
    ----------
    dense : Path
        The artifact of dense_reconstruction.
    scene : Scene
        Its views.
    cloud : Path
        What `read_points` left.
    options : MeshGenerationOptions
    output : Path
    cores : int
    """
    from recon3d.surface.meshing import surface_of_points

    with Threads(cores) as threads:
        mesh, used, spacing, grid = surface_of_points(
            kept_part(cloud, "cloud", PointCloud),
            faces=options.max_faces,
            depth=options.poisson_depth,
            see_through=_free_space(dense, scene, threads),
            threads=threads,
        )
    keep_step(output, kept_facts(cloud), mesh=mesh, cloud=used, spacing=spacing, grid=grid)


@reads(lambda dense, scene, surface, *_: [surface, *_map_files(dense, scene)])
def cut_surface(
    dense: Path, scene: Scene, surface: Path, options: MeshGenerationOptions, output: Path, cores: int
) -> None:
    """Take off what neither points nor a gap between them justify, and what is outside the box.

    Parameters
    ----------
    dense : Path
        The artifact of dense_reconstruction.
    scene : Scene
        Its views.
    surface : Path
        What `make_surface` left.
    options : MeshGenerationOptions
    output : Path
    cores : int
    """
    from recon3d.surface.cropping import cropped
    from recon3d.surface.meshing import Grid, Spacing, justified

    grid = kept_part(surface, "grid", Grid)
    with Threads(cores) as threads:
        mesh, guessed = justified(
            kept_part(surface, "mesh", Mesh),
            kept_part(surface, "cloud", PointCloud).points,
            kept_part(surface, "spacing", Spacing),
            grid,
            trim_factor=options.trim,
            see_through=_free_space(dense, scene, threads),
            threads=threads,
        )
        if not isinstance(options.region, str):
            mesh = cropped(mesh, options.region)
    seen = [(float(view.camera.K[0, 0]), view.cam_from_world.tolist()) for view in _with_maps(dense, scene)]
    facts = {**kept_facts(surface), **asdict(grid), "guessed": guessed, "maps": seen}
    keep_step(output, facts, mesh=mesh)


@reads(lambda surface, *_: [surface])
def smooth(surface: Path, options: MeshGenerationOptions, output: Path, cores: int) -> None:
    """Take off what is torn or loose, and noise.

    Parameters
    ----------
    surface : Path
        What `cut_surface` left.
    options : MeshGenerationOptions
    output : Path
    cores : int

    Raises
    ------
    ReconstructionError
        Nothing is left.
    """
    from recon3d.surface.cleaning import face_areas, make_manifold, remove_small_components
    from recon3d.surface.curvature import restore_curvature
    from recon3d.surface.free_space import usual_pixel
    from recon3d.surface.fringes import trim_fringes
    from recon3d.surface.smoothing import smooth_surface, strength_for

    facts = kept_facts(surface)
    maps = [(focal, np.array(pose)) for focal, pose in facts.pop("maps")]
    torn = 0.0
    with Threads(cores) as threads:
        mesh = kept_part(surface, "mesh", Mesh)
        mesh = make_manifold(remove_small_components(mesh, options.min_component, threads))
        if facts["kind"] == "orbit":
            area = face_areas(mesh.vertices, mesh.faces).sum()
            mesh = trim_fringes(mesh, _FRINGE * facts["diagonal"], threads)
            torn = 1 - float(face_areas(mesh.vertices, mesh.faces).sum() / max(area, 1e-300))
        if not len(mesh.faces):
            raise ReconstructionError(
                f"The {facts['points']} points give no surface.",
                "Take more images that overlap, or use a higher quality.",
            )
        mesh = smooth_surface(
            mesh,
            strength=strength_for(facts["noise"]),
            farthest=facts["cell"],
            threads=threads,
        )
    pixel = usual_pixel(mesh.vertices, maps)
    mesh = restore_curvature(mesh, pixel)
    keep_step(output, {**facts, "torn": torn, "pixel": pixel}, mesh=mesh)


@reads(lambda scene, surface, fitted, *_: [surface, fitted])
def finish(
    scene: Scene, surface: Path, fitted: Path, options: MeshGenerationOptions, out_dir: Path, cores: int
) -> tuple[MeshCounts, str, float, float]:
    """Leave out triangles that are not needed, colour the mesh and write it.

    Parameters
    ----------
    scene : Scene
        The views of dense_reconstruction.
    surface : Path
        What `make_surface` left: its points give the colours.
    fitted : Path
        What `move` or `smooth` left.
    options : MeshGenerationOptions
    out_dir : Path
        Receives ``mesh.ply`` and ``preview.png``.
    cores : int

    Returns
    -------
    counts : MeshCounts
    kind : str
        What the points outside are.
    guessed, torn : float
        Shares of the surface that close gaps, and that were taken off.
    """
    from recon3d.surface.cleaning import make_manifold
    from recon3d.surface.simplification import simplify, with_attributes

    facts = kept_facts(fitted)
    with Threads(cores) as threads:
        mesh = make_manifold(simplify(kept_part(fitted, "mesh", Mesh), options.max_faces, threads))
        mesh = with_attributes(mesh, kept_part(surface, "cloud", PointCloud), threads)
    write_mesh(out_dir / MESH, mesh)
    write_preview(out_dir, scene, mesh, Mesh(mesh.vertices, mesh.faces))
    counts = MeshCounts(
        points=facts["points"],
        points_outside=facts["outside"],
        vertices=len(mesh.vertices),
        faces=len(mesh.faces),
        octree_depth=int(facts["octree_depth"]),
    )
    return counts, facts["kind"], facts["guessed"], facts["torn"]

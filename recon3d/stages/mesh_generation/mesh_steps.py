"""The steps from points to a mesh, one task each. Each leaves a file, which later ones read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recon3d.compute import reads
from recon3d.errors import ReconstructionError
from recon3d.io.ply import write_mesh
from recon3d.layout import MESH, MeshCounts
from recon3d.options import Box, MeshGenerationOptions
from recon3d.stages.kept_steps import keep_step, kept_facts, kept_part
from recon3d.stages.mesh_generation.point_steps import kept_free_space
from recon3d.stages.preview import write_preview
from recon3d.threads import Threads
from recon3d.types import Mesh, PointCloud, Scene

if TYPE_CHECKING:
    from recon3d.surface.poisson import Solver

#: Half the width of strips of ground that are dropped around an object, in diagonals of the model.
_FRINGE = 0.04


@dataclass(frozen=True)
class Made:
    """What is told of a mesh.

    Parameters
    ----------
    counts : MeshCounts
    kind : str
        What the points outside are.
    guessed, torn : float
        Shares of the surface that close gaps, and that were taken off.
    """

    counts: MeshCounts
    kind: str
    guessed: float
    torn: float


@dataclass(frozen=True)
class Cut:
    """How a part of a scene is cut.

    Parameters
    ----------
    box : ((float, float, float), (float, float, float))
        Corners of the box of its points: outside, its surface closes what goes on in other parts.
    spacing : float
        Typical distance of points to their neighbours, in all parts.
    """

    box: Box
    spacing: float


@reads(lambda points, free, *_: [points, *free])
def start_surface(points: Path, free: list[Path], output: Path, cores: int) -> None:
    """Compute the coarser half of the field whose zero is the surface.

    Parameters
    ----------
    points : Path
        What `thin_points` left.
    free : list of Path
        What `see_through` left.
    output : Path
    cores : int
    """
    with Threads(cores) as threads:
        coarse = _solver(points, free, threads).coarse()
    parts = {} if coarse is None else {"field": coarse}
    keep_step(output, {"coarse": bool(parts)}, **parts)


def _solver(points: Path, free: list[Path], threads: Threads) -> Solver:
    from recon3d.surface.meshing import solver_of
    from recon3d.surface.thinning import SurfacePoints

    return solver_of(
        kept_part(points, "points", SurfacePoints),
        see_through=kept_free_space(free, threads),
        threads=threads,
    )


@reads(lambda points, free, started, *_: [points, *free, started])
def make_surface(points: Path, free: list[Path], started: Path, output: Path, cores: int) -> None:
    """Make a surface from points, without what photos see through.

    Parameters
    ----------
    points : Path
        What `thin_points` left.
    free : list of Path
        What `see_through` left.
    started : Path
        What `start_surface` left.
    output : Path
    cores : int
    """
    from recon3d.surface.isosurface import extract
    from recon3d.surface.poisson import Coarse

    coarse = kept_part(started, "field", Coarse) if kept_facts(started)["coarse"] else None
    with Threads(cores) as threads:
        field = _solver(points, free, threads).field(coarse)
        mesh = extract(field.level, field.values, threads)
    keep_step(output, {}, mesh=mesh)


@reads(lambda points, free, surface, *_: [points, *free, surface])
def cut_surface(
    points: Path,
    free: list[Path],
    surface: Path,
    options: MeshGenerationOptions,
    part: Cut | None,
    output: Path,
    cores: int,
) -> None:
    """Take off what neither points nor a gap between them justify.

    Parameters
    ----------
    points : Path
        What `thin_points` left.
    free : list of Path
        What `see_through` left.
    surface : Path
        What `make_surface` left.
    options : MeshGenerationOptions
    part : Cut, optional
        How a part of a scene is cut.
    output : Path
    cores : int
    """
    from recon3d.surface.cropping import cropped
    from recon3d.surface.meshing import justified
    from recon3d.surface.thinning import SurfacePoints

    used = kept_part(points, "points", SurfacePoints)
    mesh = kept_part(surface, "mesh", Mesh)
    if part is not None:
        mesh = cropped(mesh, part.box)
        used = replace(used, spacing=replace(used.spacing, typical=part.spacing))
    with Threads(cores) as threads:
        mesh = justified(
            mesh,
            used,
            trim_factor=options.trim,
            see_through=kept_free_space(free, threads),
            threads=threads,
        )
    maps = [seen for path in free for seen in kept_facts(path)["maps"]]
    facts = {**kept_facts(points), **asdict(used.grid), "maps": maps}
    keep_step(output, facts, mesh=mesh, grid=used.grid)


@reads(lambda free, surface, *_: [*free, surface])
def shape_guesses(
    free: list[Path], surface: Path, options: MeshGenerationOptions, output: Path, cores: int
) -> None:
    """Shape what closes gaps, and take off what is outside the box.

    Parameters
    ----------
    free : list of Path
        What `see_through` left.
    surface : Path
        What `cut_surface` left.
    options : MeshGenerationOptions
    output : Path
    cores : int
    """
    from recon3d.surface.cropping import cropped
    from recon3d.surface.meshing import with_shaped_guesses
    from recon3d.surface.thinning import Grid

    with Threads(cores) as threads:
        mesh, guessed = with_shaped_guesses(
            kept_part(surface, "mesh", Mesh),
            kept_part(surface, "grid", Grid),
            kept_free_space(free, threads),
        )
    if not isinstance(options.region, str):
        mesh = cropped(mesh, options.region)
    keep_step(output, {**kept_facts(surface), "guessed": guessed}, mesh=mesh)


@reads(lambda surface, *_: [surface])
def smooth(
    surface: Path, options: MeshGenerationOptions, noise: float | None, output: Path, cores: int
) -> None:
    """Take off noise, and of a whole surface what is torn or loose.

    Parameters
    ----------
    surface : Path
        What `shape_guesses` left.
    options : MeshGenerationOptions
    noise : float, optional
        That of all parts, in cells, for a part of a scene: what looks loose there may go on in another.
    output : Path
        Its facts ``faces`` and ``pixel`` tell the number of triangles, and the size of a pixel of the depth
        maps on the surface, 0 where there are none.
    cores : int

    Raises
    ------
    ReconstructionError
        Nothing is left of a whole surface.
    """
    from recon3d.surface.cleaning import make_manifold
    from recon3d.surface.curvature import restore_curvature
    from recon3d.surface.free_space import usual_pixel
    from recon3d.surface.smoothing import smooth_surface, strength_for

    facts = kept_facts(surface)
    maps = [(focal, np.array(pose)) for focal, pose in facts.pop("maps")]
    mesh, torn = kept_part(surface, "mesh", Mesh), 0.0
    with Threads(cores) as threads:
        if noise is None:
            mesh, torn = without_loose_parts(mesh, facts, options.min_component, threads)
            noise = facts["noise"]
        else:
            mesh = make_manifold(mesh, threads)
        pixel = 0.0
        if len(mesh.faces):
            mesh = smooth_surface(mesh, strength=strength_for(noise), farthest=facts["cell"], threads=threads)
            pixel = usual_pixel(mesh.vertices, maps)
            mesh = restore_curvature(mesh, pixel, threads)
    keep_step(output, {**facts, "torn": torn, "pixel": pixel, "faces": len(mesh.faces)}, mesh=mesh)


def without_loose_parts(
    mesh: Mesh, facts: Mapping[str, Any], share: float, threads: Threads
) -> tuple[Mesh, float]:
    """Take off what is torn or loose.

    Parameters
    ----------
    mesh : Mesh
    facts : mapping of str to object
        ``kind``, ``diagonal`` and ``points`` of the surface.
    share : float
        Smallest area of a connected part that is kept, relative to the largest part's.
    threads : Threads

    Returns
    -------
    mesh : Mesh
        A manifold.
    torn : float
        Share of the surface that was a torn fringe.

    Raises
    ------
    ReconstructionError
        Nothing is left.
    """
    from recon3d.surface.cleaning import make_manifold, remove_small_components
    from recon3d.surface.fringes import trim_fringes
    from recon3d.surface.normals import face_areas

    torn = 0.0
    mesh = make_manifold(remove_small_components(mesh, share, threads), threads)
    if facts["kind"] == "orbit" and len(mesh.faces):
        area = face_areas(mesh.vertices, mesh.faces, threads).sum()
        mesh = trim_fringes(mesh, _FRINGE * facts["diagonal"], threads)
        torn = 1 - float(face_areas(mesh.vertices, mesh.faces, threads).sum() / max(area, 1e-300))
    if not len(mesh.faces):
        raise ReconstructionError(
            f"The {facts['points']} points give no surface.",
            "Take more images that overlap, or use a higher quality.",
        )
    return mesh, torn


@reads(lambda fitted, *_: [fitted])
def thin_surface(fitted: Path, options: MeshGenerationOptions, output: Path, cores: int) -> None:
    """Leave out triangles that are not needed.

    Parameters
    ----------
    fitted : Path
        What `move` or `smooth` left.
    options : MeshGenerationOptions
    output : Path
    cores : int
    """
    from recon3d.surface.cleaning import make_manifold
    from recon3d.surface.simplification import simplify

    with Threads(cores) as threads:
        mesh = simplify(kept_part(fitted, "mesh", Mesh), options.max_faces, threads)
        mesh = make_manifold(mesh, threads)
    keep_step(output, kept_facts(fitted), mesh=mesh)


@reads(lambda scene, colors, thinned, *_: [*(path for path, _ in colors), thinned])
def finish(
    scene: Scene, colors: list[tuple[Path, Box | None]], thinned: Path, out_dir: Path, cores: int
) -> Made:
    """Colour the mesh and write it.

    Parameters
    ----------
    scene : Scene
        The views of dense_reconstruction.
    colors : list of (Path, Box or None)
        What `thin_points` left of each part, and the part's box.
    thinned : Path
        What `thin_surface` or `join_parts` left.
    out_dir : Path
        Receives ``mesh.ply`` and ``preview.png``.
    cores : int

    Returns
    -------
    Made
    """
    from recon3d.surface.cropping import in_box
    from recon3d.surface.normals import vertex_normals
    from recon3d.surface.simplification import nearest_colors

    facts, mesh = kept_facts(thinned), kept_part(thinned, "mesh", Mesh)
    mixed = np.zeros((len(mesh.vertices), 3), np.uint8)
    colored = False
    with Threads(cores) as threads:
        for path, box in colors:
            cloud = kept_part(path, "points.cloud", PointCloud)
            if cloud.colors is None:
                continue
            colored = True
            rows = np.ones(len(mixed), bool) if box is None else in_box(mesh.vertices, box)
            mixed[rows] = nearest_colors(mesh.vertices[rows], cloud, threads)
        normals = vertex_normals(mesh, threads)
    mesh = replace(mesh, colors=mixed if colored else None, normals=normals)
    write_mesh(out_dir / MESH, mesh)
    write_preview(out_dir, scene, mesh, Mesh(mesh.vertices, mesh.faces))
    counts = MeshCounts(
        points=facts["points"],
        points_outside=facts["outside"],
        vertices=len(mesh.vertices),
        faces=len(mesh.faces),
        octree_depth=int(facts["octree_depth"]),
    )
    return Made(counts, facts["kind"], facts["guessed"], facts["torn"])

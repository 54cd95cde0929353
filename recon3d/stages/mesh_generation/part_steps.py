"""The steps that share a scene among parts, and that make one surface of theirs. Each leaves a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recon3d.compute import reads
from recon3d.layout import POINT_CLOUD, VISIBILITY
from recon3d.options import Box, MeshGenerationOptions
from recon3d.stages.cloud_reading import read_at_most
from recon3d.stages.kept_steps import keep_step, kept_facts, kept_part
from recon3d.stages.mesh_generation.mesh_steps import without_loose_parts
from recon3d.stages.mesh_generation.point_steps import ReadTask
from recon3d.surface.free_space import SmallMap, count_empty
from recon3d.surface.threads import Threads
from recon3d.types import Floats, Mesh, PointCloud, Scene, scene_files

if TYPE_CHECKING:
    from recon3d.surface.parting import Seam
    from recon3d.surface.region import Extent

#: Cells by which parts overlap their neighbours. Splines of points, gaps and smoothing reach further than
#: one, and at its rim a part's surface is wrong.
_OVERLAP = 64.0
#: Of these cells at the rim of a part's points, the surface closes what goes on beyond.
RIM = 3.0
#: A photo shows a part if its depth map has this share of its points, within so many cells; points that are
#: enough to tell.
_SHOWN, _NEAR, _SAMPLE = 0.05, 4.0, 4000
#: Triangles of all other parts together, which hide a part from photos.
_HIDING = 20_000
#: Triangles of a part before parts are joined, for each that is kept; cells within which borders meet.
FIRST_SHARE, _REACH = 1.25, 4.0


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
    cell : float
        Distance of the grid's vertices.
    diagonal : float
        Of the points, without the outer ones.
    depth : int
        The grid has two to the power of this many vertices along a side.
    parts : tuple of Part
    seams : tuple of Seam
        In the order in which parts are joined.
    """

    cell: float
    diagonal: float
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
        reach = (_OVERLAP - rim) * self.cell
        return _corners(low - reach, high + reach)


@reads(lambda cloud, free, *_: [cloud, free])
def share_scene(
    cloud: Path, free: Path, options: MeshGenerationOptions, count: int, output: Path, cores: int
) -> None:
    """Share a scene among parts.

    Parameters
    ----------
    cloud : Path
        What `read_points` left of all points.
    free : Path
        What `see_through` left.
    options : MeshGenerationOptions
    count : int
        Number of parts.
    output : Path
        For `kept_shares`.
    cores : int
    """
    from recon3d.surface.cropping import in_box
    from recon3d.surface.parting import part_space
    from recon3d.surface.poisson import octree_depth
    from recon3d.surface.thinning import diagonal_of, wanted_cell

    facts, points = kept_facts(cloud), kept_part(cloud, "cloud", PointCloud)
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
        "cell": cell,
        "diagonal": diagonal_of(points.points),
        "depth": octree_depth(points.points, cell),
        "parts": parts,
        "seams": [asdict(seam) for seam in parting.seams],
    }
    keep_step(output, shares)


def _corners(low: Any, high: Any) -> Box:
    (x, y, z), (right, top, far) = np.asarray(low).tolist(), np.asarray(high).tolist()
    return (x, y, z), (right, top, far)


def _views_of(parts: list[Floats], reach: float, free: Path, threads: Threads) -> list[list[str]]:
    """Names of the views that see enough points of each part."""
    views: list[list[str]] = [[] for _ in parts]
    for number, name in enumerate(kept_facts(free)["views"]):
        small = kept_part(free, f"map{number}", SmallMap)
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

    facts = kept_facts(path)
    parts = tuple(Part(_corners(*part["core"]), tuple(part["views"])) for part in facts.pop("parts"))
    seams = tuple(Seam(**seam) for seam in facts.pop("seams"))
    return Shares(**facts, parts=parts, seams=seams)


@reads(lambda task, *_: [task.dense / POINT_CLOUD, task.dense / VISIBILITY, *scene_files(task.dense)])
def read_part(task: ReadTask, box: Box, extent: Extent | None, output: Path, cores: int) -> None:
    """Read the points of a part.

    Parameters
    ----------
    task : ReadTask
    box : ((float, float, float), (float, float, float))
        Corners of the points' box.
    extent : Extent, optional
        What deserves a surface, where the region is ``auto``.
    output : Path
        As `read_points` leaves it.
    cores : int
    """
    from recon3d.surface.cropping import in_box
    from recon3d.surface.region import points_within
    from recon3d.surface.thinning import at_most

    low, high = np.array(box)
    read = read_at_most(task.dense, task.most_read, views=extent is not None, part=task.part, box=(low, high))
    inside = np.ones(len(read.cloud), bool)
    with Threads(cores) as threads:
        if extent is not None:
            inside = points_within(extent, Scene.load(task.dense), read.cloud, threads)
        elif task.region != "all":
            inside = in_box(read.cloud.points, task.region)
        cloud = at_most(read.cloud.subset(inside), task.most, threads)
    keep_step(output, {"points": int(read.counts[inside].sum())}, cloud=cloud)


@reads(lambda surface, *_: [surface])
def coarsen(surface: Path, core: Box, count: int, output: Path, cores: int) -> None:
    """Make of a part what is enough to hide others from photos.

    Parameters
    ----------
    surface : Path
        What `smooth` left.
    core : ((float, float, float), (float, float, float))
        The part's box.
    count : int
        Number of parts.
    output : Path
    cores : int
    """
    from recon3d.surface.cropping import cropped
    from recon3d.surface.simplification import simplify

    with Threads(cores) as threads:
        mesh = simplify(cropped(kept_part(surface, "mesh", Mesh), core), _HIDING // count, threads)
    keep_step(output, {}, mesh=mesh)


@reads(lambda surface, others, *_: [surface, *others])
def surround(surface: Path, others: list[Path], box: Box, output: Path, cores: int) -> None:
    """Add to a part what hides it from photos.

    Parameters
    ----------
    surface : Path
        What `smooth` left.
    others : list of Path
        What `coarsen` left of the other parts.
    box : ((float, float, float), (float, float, float))
        That of the part's points: what others have within it, the part has, too.
    output : Path
        As `smooth` leaves it. Its fact ``own`` tells the number of the part's vertices.
    cores : int
        Unused: every step is called with them.
    """
    from recon3d.surface.cleaning import with_faces
    from recon3d.surface.cropping import in_box

    mesh = kept_part(surface, "mesh", Mesh)
    vertices, faces, guessed = [mesh.vertices], [mesh.faces], [mesh.guessed]
    count = len(mesh.vertices)
    for path in others:
        other = kept_part(path, "mesh", Mesh)
        outside = ~in_box(other.vertices, box)[other.faces].any(axis=1)
        other = with_faces(other, other.faces[outside])
        vertices.append(other.vertices)
        faces.append((other.faces + count).astype(np.int32))
        guessed.append(other.guessed)
        count += len(other.vertices)
    whole = Mesh(
        np.concatenate(vertices),
        np.concatenate(faces),
        guessed=np.concatenate([marks for marks in guessed if marks is not None]),
    )
    keep_step(output, {**kept_facts(surface), "own": len(mesh.vertices)}, mesh=whole)


@reads(lambda fitted, *_: [fitted])
def cut_out(fitted: Path, core: Box, output: Path, cores: int) -> None:
    """Cut a part's surface off at its box.

    Parameters
    ----------
    fitted : Path
        What `move` or `surround` left.
    core : ((float, float, float), (float, float, float))
        The part's box.
    output : Path
        Its fact ``faces`` tells the number of triangles.
    cores : int
        Unused: every step is called with them.
    """
    from recon3d.surface.cleaning import with_faces
    from recon3d.surface.clipping import clip

    facts, mesh = kept_facts(fitted), kept_part(fitted, "mesh", Mesh)
    mesh = with_faces(mesh, mesh.faces[(mesh.faces < facts["own"]).all(axis=1)])
    for above, corner in zip((True, False), core, strict=True):
        for axis, at in enumerate(corner):
            if np.isfinite(at):
                mesh = clip(mesh, axis, at, above=above)
    keep_step(output, {"faces": len(mesh.faces)}, mesh=mesh)


@reads(lambda cut, *_: [cut])
def thin_part(cut: Path, core: Box, faces: int, output: Path, cores: int) -> None:
    """Leave out triangles of a part that are not needed; its borders to others stay.

    Parameters
    ----------
    cut : Path
        What `cut_out` left.
    core : ((float, float, float), (float, float, float))
        The part's box.
    faces : int
        Triangles that are wanted of all parts.
    output : Path
    cores : int
    """
    from recon3d.surface.simplification import simplify

    mesh = kept_part(cut, "mesh", Mesh)
    sides = [(axis, at) for corner in core for axis, at in enumerate(corner) if np.isfinite(at)]
    held = np.zeros(len(mesh.vertices), bool)
    for axis, at in sides:
        held |= mesh.vertices[:, axis] == at
    with Threads(cores) as threads:
        thinned = simplify(mesh, faces, threads, held)
    # Computing with differences from the mesh's middle has moved them a little.
    for axis, at in sides:
        scale = np.spacing(1.0) * 16 * (np.abs(mesh.vertices[:, axis]).max(initial=0.0) + abs(at))
        thinned.vertices[np.abs(thinned.vertices[:, axis] - at) <= scale, axis] = at
    keep_step(output, {}, mesh=thinned)


@reads(lambda thinned, shares, cloud, *_: [*filter(None, thinned), cloud])
def join_parts(
    thinned: list[Path | None],
    shares: Shares,
    cloud: Path,
    options: MeshGenerationOptions,
    output: Path,
    cores: int,
) -> None:
    """Make one surface of the parts.

    Parameters
    ----------
    thinned : list of Path or None
        What `thin_part` left of each part; None where a part has no surface.
    shares : Shares
    cloud : Path
        What `read_points` left of all points.
    options : MeshGenerationOptions
    output : Path
        As `thin_surface` leaves it.
    cores : int
    """
    from recon3d.surface.cleaning import make_manifold
    from recon3d.surface.connectivity import any_corner
    from recon3d.surface.normals import face_areas
    from recon3d.surface.simplification import simplify
    from recon3d.surface.stitching import stitch

    facts = {**kept_facts(cloud), "diagonal": shares.diagonal, "octree_depth": shares.depth}
    meshes = {number: _kept_mesh(path) for number, path in enumerate(thinned)}
    with Threads(cores) as threads:
        for seam in shares.seams:
            meshes[seam.below] = stitch(
                meshes[seam.below],
                meshes.pop(seam.above),
                seam.axis,
                seam.at,
                _REACH * shares.cell,
                threads,
            )
        mesh, torn = without_loose_parts(meshes[0], facts, options.min_component, threads)
        mesh = make_manifold(simplify(mesh, options.max_faces, threads), threads)
        areas = face_areas(mesh.vertices, mesh.faces, threads)
    guessed = 0.0
    if mesh.guessed is not None:
        guessed = float(areas[any_corner(mesh.guessed, mesh.faces)].sum() / max(areas.sum(), 1e-300))
    keep_step(output, {**facts, "torn": torn, "guessed": guessed}, mesh=mesh)


def _kept_mesh(path: Path | None) -> Mesh:
    if path is None:
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32), guessed=np.zeros(0, bool))
    return kept_part(path, "mesh", Mesh)

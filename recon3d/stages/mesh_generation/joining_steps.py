"""The steps from surfaces of parts to one surface. Each leaves a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon3d.compute import reads
from recon3d.options import Box, MeshGenerationOptions
from recon3d.stages.kept_steps import keep_step, kept_facts, kept_part
from recon3d.stages.mesh_generation.mesh_steps import without_loose_parts
from recon3d.stages.mesh_generation.sharing_steps import Shares
from recon3d.threads import Threads
from recon3d.types import Mesh

#: Triangles of all other parts together, which hide a part from photos.
_HIDING = 20_000
#: Triangles of a part before parts are joined, for each that is kept; cells within which borders meet.
FIRST_SHARE, _REACH = 1.25, 4.0


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
    for axis, at, above in _sides(core):
        mesh = clip(mesh, axis, at, above=above)
    keep_step(output, {"faces": len(mesh.faces)}, mesh=mesh)


def _sides(core: Box) -> list[tuple[int, float, bool]]:
    """Axis and coordinate of each side at which another part follows, and whether the box lies above it."""
    ends = zip((True, False), core, strict=True)
    return [(axis, at, above) for above, end in ends for axis, at in enumerate(end) if np.isfinite(at)]


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
    held = np.zeros(len(mesh.vertices), bool)
    for axis, at, _ in _sides(core):
        held |= mesh.vertices[:, axis] == at
    with Threads(cores) as threads:
        thinned = simplify(mesh, faces, threads, held)
    # Computing with differences from the mesh's middle has moved them a little.
    for axis, at, _ in _sides(core):
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
    from recon3d.surface.meshing import guessed_share
    from recon3d.surface.simplification import simplify
    from recon3d.surface.stitching import stitch

    facts = {**kept_facts(cloud), "diagonal": shares.scale.diagonal, "octree_depth": shares.depth}
    meshes = {number: _kept_mesh(path) for number, path in enumerate(thinned)}
    with Threads(cores) as threads:
        for number, seam in enumerate(shares.seams):
            meshes[seam.below] = stitch(
                meshes[seam.below],
                meshes.pop(seam.above),
                seam.axis,
                seam.at,
                _REACH * shares.scale.cell,
                threads,
                later=[(other.axis, other.at) for other in shares.seams[number + 1 :]],
            )
        mesh, torn = without_loose_parts(meshes[0], facts, options.min_component, threads)
        mesh = make_manifold(simplify(mesh, options.max_faces, threads), threads)
    keep_step(output, {**facts, "torn": torn, "guessed": guessed_share(mesh)}, mesh=mesh)


def _kept_mesh(path: Path | None) -> Mesh:
    if path is None:
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32), guessed=np.zeros(0, bool))
    return kept_part(path, "mesh", Mesh)

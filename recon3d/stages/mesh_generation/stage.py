"""The cloud's surface."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from recon3d.compute import StageContext
from recon3d.errors import OutOfMemory
from recon3d.io.ply import ply_vertex_count
from recon3d.layout import POINT_CLOUD, images_folder
from recon3d.options import MeshGenerationOptions
from recon3d.stages.cloud_reading import PART
from recon3d.stages.mesh_generation.fit import PhotoSet
from recon3d.stages.mesh_generation.mesh_steps import Made
from recon3d.stages.mesh_generation.point_steps import ReadTask
from recon3d.stages.mesh_generation.sequence import Surfacing
from recon3d.types import Scene, SparsePoints

VERSION = 22

#: Bytes of a point and the list of its views while it is read; then bytes of a point that is used, in
#: KD-trees, and of a triangle wanted, in the grid and in meshes before decimation; bytes needed anyway.
_READ_BYTES, _POINT_BYTES, _FACE_BYTES, _BASE_BYTES = 150, 150, 1000, 500_000_000
#: More guessed or dropped area than this is said.
_MUCH = 0.01
#: Points that are used at most, for each triangle wanted and in any case: more than the octree's cells.
_POINTS_PER_FACE, _POINTS = 15, 3_000_000
#: Points that are in memory at most while a cloud is read, in any case and for each that is used; and bytes
#: of each while a larger cloud is thinned, half of them once more as they come from a span of it.
_READ, _READ_PER_POINT, _THIN_BYTES = 12_000_000, 2, 450
#: Of a surface in parts: points of a part that are used at most, in any case, of all points together in an
#: overview, and points that are read at once.
_PART_POINTS, _OVERVIEW, _PART_READ = 2_000_000, 2_000_000, 500_000
#: After running out of memory, the surface is made in twice as many parts; where these would have fewer
#: triangles, a share of the triangles is asked for: one level of the octree less.
_SMALLEST_PART, _FEWER, _FEWEST_FACES = 50_000, 4, 1000


def run(
    inputs: Mapping[str, Path], options: MeshGenerationOptions, out_dir: Path, context: StageContext
) -> None:
    """Write ``mesh.ply``.

    Parameters
    ----------
    inputs : mapping of str to Path
        The folder of ``dense_reconstruction``; those of ``frame_extraction`` and
        ``sparse_reconstruction``, or the photos do not refine the surface.
    options : MeshGenerationOptions
    out_dir : Path
    context : StageContext

    Raises
    ------
    ReconstructionError
        There are too few points for a surface, in the cloud or in the box.
    """
    dense, photos = inputs["dense_reconstruction"], _photo_set(inputs)
    points = ply_vertex_count(dense / POINT_CLOUD)
    # What the steps of a run leave, whether it was interrupted or a coarser mesh was tried.
    kept = out_dir / "steps"
    count = -(-options.max_faces // options.part_faces)
    while True:
        try:
            made = _mesh(dense, photos, out_dir, kept, options, context, count)
            break
        except OutOfMemory:
            if options.max_faces // (2 * count) >= _SMALLEST_PART:
                count *= 2
                context.fallback(
                    f"A mesh of {options.max_faces} triangles needs too much memory; it is made in {count} "
                    "parts, which are joined."
                )
                continue
            faces, depth = options.max_faces // _FEWER, options.poisson_depth
            if faces < _FEWEST_FACES:
                raise
            context.fallback(
                f"A mesh of {options.max_faces} triangles needs too much memory; {faces} instead."
            )
            options = options.model_copy(update={"max_faces": faces, "poisson_depth": max(0, depth - 1)})
            # Parts stay as large as those that were tried last.
            count = -(-count // _FEWER)
    context.count(made.counts)
    if made.counts.points_outside:
        context.fallback(_left_out(made.counts.points_outside, points, made.kind))
    if made.torn > _MUCH:
        context.fallback(
            f"{100 * made.torn:.0f} % of the surface, the torn fringe of the ground around the object, is "
            "not part of the mesh. To keep it: --set mesh_generation.region=all"
        )
    if made.guessed > _MUCH:
        context.fallback(
            f"{100 * made.guessed:.0f} % of the surface closes gaps that no photo measured; it is a guess "
            "there. More photos of these parts measure them."
        )
    shutil.rmtree(kept)


def _photo_set(inputs: Mapping[str, Path]) -> PhotoSet | None:
    """Where the photos lie, and their cameras with distortion."""
    if not {"frame_extraction", "sparse_reconstruction"} <= inputs.keys():
        return None
    sparse = inputs["sparse_reconstruction"]
    return PhotoSet(images_folder(inputs["frame_extraction"]), sparse, _cameras(sparse))


def _cameras(folder: Path) -> Scene:
    """A scene without its points: it goes along with each task."""
    return replace(Scene.load(folder), points=SparsePoints.empty())


def _left_out(outside: int, points: int, kind: str) -> str:
    share = "Less than 0.1 %" if outside < 0.001 * points else f"{100 * outside / points:.1f} %"
    why = {
        "orbit": "outside the ring of cameras",
        "near": "far away and poorly measured",
        "box": "outside the box",
    }[kind]
    return (
        f"{share} of the point cloud ({outside} of {points} points) is {why} and not meshed. "
        "To mesh it too: --set mesh_generation.region=all"
    )


def _mesh(
    dense: Path,
    photos: PhotoSet | None,
    out_dir: Path,
    kept: Path,
    options: MeshGenerationOptions,
    context: StageContext,
    count: int,
) -> Made:
    """Make the surface, in as many parts; see `finish`."""
    points, faces = ply_vertex_count(dense / POINT_CLOUD), -(-options.max_faces // count)
    most = max(_POINTS if count == 1 else _PART_POINTS, _POINTS_PER_FACE * faces)
    most_read = max(_READ, _READ_PER_POINT * most) if count == 1 else _OVERVIEW
    at_once = PART if count == 1 else _PART_READ
    # Parts differ in how dense their points are.
    held = min(points if count == 1 else 2 * points // count, most)
    later = _POINT_BYTES * held + _FACE_BYTES * faces
    if count > 1:
        reading = _THIN_BYTES * (max(held, min(points, most_read)) + at_once)
    elif points > most_read:
        reading = _THIN_BYTES * (most_read + at_once)
    else:
        reading = _READ_BYTES * points
    surfacing = Surfacing(
        read=ReadTask(dense, options.region, most_read, at_once, most),
        scene=_cameras(dense),
        photos=photos,
        folder=kept / f"{options.max_faces}-{count}",
        out_dir=out_dir,
        options=options,
        context=context,
        memory=_BASE_BYTES + max(reading, later),
    )
    if count == 1:
        return surfacing.as_a_whole()
    return surfacing.in_parts(count, replace(surfacing.read, most_read=most))

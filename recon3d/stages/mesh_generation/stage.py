"""The cloud's surface."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from recon3d.compute import StageContext
from recon3d.errors import OutOfMemory
from recon3d.io.ply import ply_vertex_count
from recon3d.layout import POINT_CLOUD, MeshCounts, images_folder
from recon3d.options import MeshGenerationOptions
from recon3d.stages.cloud_reading import PART
from recon3d.stages.kept_steps import is_whole
from recon3d.stages.mesh_generation.fit import PhotoSet, fit_to_photos
from recon3d.stages.mesh_generation.mesh_steps import (
    cut_surface,
    finish,
    make_surface,
    shape_guesses,
    smooth,
    start_surface,
    thin_surface,
)
from recon3d.stages.mesh_generation.point_steps import ReadTask, read_points, see_through, thin_points
from recon3d.types import Scene, SparsePoints

VERSION = 19

#: Bytes of a point and the list of its views while it is read; then bytes of a point that is used, in
#: KD-trees, and of a triangle wanted, in the grid and in meshes before decimation; bytes needed anyway.
_READ_BYTES, _POINT_BYTES, _FACE_BYTES, _BASE_BYTES = 150, 150, 1000, 500_000_000
#: Work of the steps: reading points and depth maps, thinning, making in two halves, cutting, shaping,
#: smoothing, fitting to photos, leaving triangles out, finishing.
_SHARES = (1, 1, 3, 5, 5, 4, 8, 3, 20, 5, 2)
#: More guessed or dropped area than this is said.
_MUCH = 0.01
#: Points that are used at most, for each triangle wanted and in any case: more than the octree's cells.
_POINTS_PER_FACE, _POINTS = 15, 3_000_000
#: Points that are in memory at most while a cloud is read, in any case and for each that is used; and bytes
#: of each while a larger cloud is thinned.
_READ, _READ_PER_POINT, _THIN_BYTES = 12_000_000, 2, 400
#: Bytes of the surface in a step of the fit to photos, for each triangle wanted.
_MESH_BYTES = 1000
#: After running out of memory, this share of the triangles is asked for: one level of the octree less.
_FEWER, _FEWEST_FACES = 4, 1000


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
    while True:
        later = _POINT_BYTES * min(points, _most_points(options)) + _FACE_BYTES * options.max_faces
        memory = _BASE_BYTES + max(_READ_BYTES * points, later)
        if points > _most_read(options):
            memory = _BASE_BYTES + max(_THIN_BYTES * (_most_read(options) + PART), later)
        try:
            folder = kept / str(options.max_faces)
            counts, kind, guessed, torn = _mesh(dense, photos, out_dir, folder, options, context, memory)
            break
        except OutOfMemory:
            faces, depth = options.max_faces // _FEWER, options.poisson_depth
            if faces < _FEWEST_FACES:
                raise
            context.fallback(
                f"A mesh of {options.max_faces} triangles needs too much memory; {faces} instead."
            )
            options = options.model_copy(update={"max_faces": faces, "poisson_depth": max(0, depth - 1)})
    context.count(counts)
    if counts.points_outside:
        context.fallback(_left_out(counts.points_outside, points, kind))
    if torn > _MUCH:
        context.fallback(
            f"{100 * torn:.0f} % of the surface, the torn fringe of the ground around the object, is not "
            "part of the mesh. To keep it: --set mesh_generation.region=all"
        )
    if guessed > _MUCH:
        context.fallback(
            f"{100 * guessed:.0f} % of the surface closes gaps that no photo measured; it is a guess there. "
            "More photos of these parts measure them."
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


def _most_points(options: MeshGenerationOptions) -> int:
    return max(_POINTS, _POINTS_PER_FACE * options.max_faces)


def _most_read(options: MeshGenerationOptions) -> int:
    return max(_READ, _READ_PER_POINT * _most_points(options))


def _mesh(
    dense: Path,
    photos: PhotoSet | None,
    out_dir: Path,
    folder: Path,
    options: MeshGenerationOptions,
    context: StageContext,
    memory: int,
) -> tuple[MeshCounts, str, float, float]:
    """Run the steps that an earlier run has not finished; see `finish`."""
    scene, cores = _cameras(dense), context.threads
    reading, seeing, thinning, starting, making, *later = context.phases(*_SHARES)
    cutting, shaping, smoothing, fitting, leaving_out, finishing = later

    def step(part: StageContext, name: str, fn: Callable[..., None], *given: Any) -> Path:
        part.progress(0, 1)
        output = folder / name
        if not is_whole(output):
            part.call(fn, *given, output, cores, memory=memory)
        return output

    most_read, most = _most_read(options), _most_points(options)
    read = ReadTask(dense, options.region, most_read, PART, most)
    cloud = step(reading, "cloud.npz", read_points, read)
    free = step(seeing, "free.npz", see_through, dense, scene)
    points = step(thinning, "points.npz", thin_points, cloud, options)
    started = step(starting, "started.npz", start_surface, points, free)
    surface = step(making, "surface.npz", make_surface, points, free, started)
    cut = step(cutting, "justified.npz", cut_surface, points, free, surface, options)
    shaped = step(shaping, "shaped.npz", shape_guesses, free, cut, options)
    fitted = step(smoothing, "smooth.npz", smooth, shaped, options)
    if photos is not None:
        size = max((max(view.camera.width, view.camera.height) for view in scene), default=0)
        fitted = fit_to_photos(fitting, fitted, size, photos, folder, _MESH_BYTES * options.max_faces)
    thinned = step(leaving_out, "thinned.npz", thin_surface, fitted, options)
    finishing.progress(0, 1)
    made: tuple[MeshCounts, str, float, float] = finishing.call(
        finish, scene, points, thinned, out_dir, cores, memory=memory
    )
    finishing.progress(1, 1)
    return made

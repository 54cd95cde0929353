"""The cloud's surface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from recon3d.compute import StageContext, task_progress
from recon3d.errors import OutOfMemory, ReconstructionError
from recon3d.io.depth import read_packed_map
from recon3d.io.masks import load_view_mask
from recon3d.io.ply import ply_vertex_count, write_mesh
from recon3d.io.undistort import load_view_image, undistorted_pixels
from recon3d.layout import MESH, POINT_CLOUD, MeshCounts, depth_map_file, images_folder, mask_file
from recon3d.options import MeshGenerationOptions
from recon3d.stages.cloud_reading import PART, read_at_most
from recon3d.stages.preview import write_preview
from recon3d.surface.threads import Threads
from recon3d.types import Camera, Floats, Floats32, Mesh, PointCloud, Scene, SparsePoints

if TYPE_CHECKING:
    from recon3d.surface.refinement import Photo

VERSION = 10

#: The folder of the photos, and the scene with their cameras.
PhotoSet = tuple[Path, Scene]

#: Bytes of a point and the list of its views while it is read; then bytes of a point that is used, in
#: KD-trees, and of a triangle wanted, in the grid and in meshes before decimation; bytes needed anyway.
_READ_BYTES, _POINT_BYTES, _FACE_BYTES, _BASE_BYTES = 150, 150, 1000, 500_000_000
_STEPS = 7
#: Half the width of strips of ground that are dropped around an object, in diagonals of the model.
_FRINGE = 0.04
#: More guessed or dropped area than this is said.
_MUCH = 0.01
#: Points that are used at most, for each triangle wanted and in any case: more than the octree's cells.
_POINTS_PER_FACE, _POINTS = 15, 3_000_000
#: Points that are in memory at most while a cloud is read, in any case and for each that is used; and bytes
#: of each while a larger cloud is thinned.
_READ, _READ_PER_POINT, _THIN_BYTES = 12_000_000, 2, 400
#: Pixels of all photos that refine the surface, at most, and bytes that each takes.
_PHOTO_PIXELS, _PIXEL_BYTES = 32_000_000, 12
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
    while True:
        later = _POINT_BYTES * min(points, _most_points(options)) + _FACE_BYTES * options.max_faces
        later += _PIXEL_BYTES * _PHOTO_PIXELS if photos else 0
        memory = _BASE_BYTES + max(_READ_BYTES * points, later)
        if points > _most_read(options):
            memory = _BASE_BYTES + max(_THIN_BYTES * (_most_read(options) + PART), later)
        try:
            counts, kind, guessed, torn = context.call(
                _mesh, dense, photos, out_dir, options, context.threads, memory=memory, unit="steps"
            )
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


def _photo_set(inputs: Mapping[str, Path]) -> PhotoSet | None:
    """Where the photos lie, and their cameras with distortion."""
    if not {"frame_extraction", "sparse_reconstruction"} <= inputs.keys():
        return None
    scene = Scene.load(inputs["sparse_reconstruction"])
    return images_folder(inputs["frame_extraction"]), replace(scene, points=SparsePoints.empty())


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
    dense: Path, photos: PhotoSet | None, out_dir: Path, options: MeshGenerationOptions, cores: int
) -> tuple[MeshCounts, str, float, float]:
    from recon3d.surface.cleaning import face_areas, make_manifold, remove_small_components
    from recon3d.surface.cropping import cropped
    from recon3d.surface.curvature import restore_curvature
    from recon3d.surface.free_space import FreeSpace
    from recon3d.surface.fringes import trim_fringes
    from recon3d.surface.meshing import at_most, surface_from_points
    from recon3d.surface.refinement import refine
    from recon3d.surface.simplification import simplify, with_attributes
    from recon3d.surface.smoothing import smooth_surface, strength_for

    task_progress(0, _STEPS)
    scene = Scene.load(dense)
    with Threads(cores) as threads:
        cloud, count, outside, kind = _region(dense, scene, options, threads)
        cloud = at_most(cloud, _most_points(options), threads)
        free_space = FreeSpace(_depth_maps(dense, scene), threads=threads)
        mesh, cloud, facts = surface_from_points(
            cloud,
            faces=options.max_faces,
            depth=options.poisson_depth,
            trim_factor=options.trim,
            see_through=free_space,
            threads=threads,
        )
        if not isinstance(options.region, str):
            mesh = cropped(mesh, options.region)
        task_progress(1, _STEPS)
        mesh = make_manifold(remove_small_components(mesh, options.min_component, threads))
        torn = 0.0
        if kind == "orbit":
            area = face_areas(mesh.vertices, mesh.faces).sum()
            mesh = trim_fringes(mesh, _FRINGE * facts["diagonal"], threads)
            torn = 1 - float(face_areas(mesh.vertices, mesh.faces).sum() / max(area, 1e-300))
        task_progress(2, _STEPS)
        if not len(mesh.faces):
            raise ReconstructionError(
                f"The {count} points give no surface.",
                "Take more images that overlap, or use a higher quality.",
            )
        mesh = smooth_surface(
            mesh,
            strength=strength_for(facts["noise"]),
            farthest=facts["cell"],
            threads=threads,
        )
        pixel = free_space.pixel(mesh.vertices)
        mesh = restore_curvature(mesh, pixel)
        del free_space
        task_progress(3, _STEPS)
        if photos is not None:
            size = max((max(view.camera.width, view.camera.height) for view in scene), default=0)
            mesh = refine(mesh, list(_photos(*photos, size)), size, pixel, threads)
        task_progress(4, _STEPS)
        mesh = make_manifold(simplify(mesh, options.max_faces, threads))
        task_progress(5, _STEPS)
        mesh = with_attributes(mesh, cloud, threads)
    task_progress(6, _STEPS)
    write_mesh(out_dir / MESH, mesh)
    write_preview(out_dir, scene, mesh, Mesh(mesh.vertices, mesh.faces))
    counts = MeshCounts(
        points=count,
        points_outside=outside,
        vertices=len(mesh.vertices),
        faces=len(mesh.faces),
        octree_depth=int(facts["octree_depth"]),
    )
    return counts, kind, facts["guessed"], torn


def _region(
    dense: Path, scene: Scene, options: MeshGenerationOptions, threads: Threads
) -> tuple[PointCloud, int, int, str]:
    """The points to be meshed, how many points of the cloud these and the others are, and what others are."""
    from recon3d.surface.cropping import in_box, points_in_box
    from recon3d.surface.region import find_region

    region = options.region
    read = read_at_most(dense, _most_read(options), views=region == "auto", part=PART)
    total = int(read.counts.sum())
    if region == "all":
        return read.cloud, total, 0, "all"
    if region == "auto":
        found = find_region(scene, read.cloud, threads, read.counts)
        chosen, inside, kind = read.cloud.subset(found.inside), found.inside, str(found.kind)
    else:
        assert not isinstance(region, str)
        chosen, inside, kind = points_in_box(read.cloud, region), in_box(read.cloud.points, region), "box"
    count = int(read.counts[inside].sum())
    return chosen, count, total - count, kind


def _photos(images: Path, scene: Scene, size: int) -> Iterator[Photo]:
    """The photos as the surface's refinement takes them; `size` is that of the depth maps."""
    from recon3d.surface.refinement import SIZES, Photo

    largest = round(max(SIZES) * size)
    cameras = [view.camera.fitted(largest) for view in scene]
    pixels = sum(camera.width * camera.height for camera in cameras)
    largest = round(largest * min(1.0, (_PHOTO_PIXELS / max(pixels, 1)) ** 0.5))
    for view in scene:
        rgb, camera = load_view_image(images, view, largest)
        brightness = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        counts = load_view_mask(mask_file(images, view.name), view, largest)
        if not view.camera.is_pinhole:
            whole = np.full((view.camera.height, view.camera.width), 255, np.uint8)
            inside = undistorted_pixels(whole, view.camera, largest)[0] == 255
            counts = inside if counts is None else counts & inside
        yield Photo(brightness, camera, view.cam_from_world, counts)


def _depth_maps(dense: Path, scene: Scene) -> Iterator[tuple[Floats32, Camera, Floats]]:
    """The depth maps that there are, one after the other."""
    for view in scene:
        path = depth_map_file(dense, view.name)
        if path.exists():
            packed = read_packed_map(path)
            yield packed.depth, packed.camera, view.cam_from_world

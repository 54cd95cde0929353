"""A surface from points, and its refinement, each in one call, as the stage does them in several tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from recon3d.surface.free_space import FreeSpace
from recon3d.surface.isosurface import extract
from recon3d.surface.meshing import justified, solver_of, with_shaped_guesses
from recon3d.surface.photo_terms import Photo, choose_pairs, compare_photos, shown_vertices
from recon3d.surface.refinement import SIZES, Neighbors, next_surface, scaled_photo
from recon3d.surface.thinning import surface_points
from recon3d.threads import ALONE, Threads
from recon3d.types import Mesh, PointCloud


def surface_from_points(
    cloud: PointCloud, *, see_through: FreeSpace | None = None, threads: Threads = ALONE, faces: int = 200_000
) -> tuple[Mesh, PointCloud, dict[str, float]]:
    """The surface, the points of which it was made, and its facts."""
    points = surface_points(cloud, faces=faces, threads=threads)
    field = solver_of(points, see_through=see_through, threads=threads).field()
    closed = extract(field.level, field.values, threads)
    mesh = justified(closed, points, see_through=see_through, threads=threads)
    mesh, guessed = with_shaped_guesses(mesh, points.grid, see_through)
    return mesh, points.cloud, {**asdict(points.grid), "spacing": points.spacing.typical, "guessed": guessed}


def refine(mesh: Mesh, photos: Sequence[Photo], size: int, pixel: float, threads: Threads = ALONE) -> Mesh:
    """Move a surface until the photos agree; `size` and `pixel` are those of the depth maps."""
    poses = [photo.cam_from_world for photo in photos]
    shown = [shown_vertices(mesh, scaled_photo(photo, 0, size)) for photo in photos]
    pairs = dict(enumerate(choose_pairs(mesh, poses, shown)))
    start, near = mesh, Neighbors.of(mesh)
    for number in range(len(SIZES)):
        scaled = {index: scaled_photo(photo, number, size) for index, photo in enumerate(photos)}
        terms = [found for _, found in compare_photos(mesh, scaled, pairs)]
        mesh = next_surface(mesh, terms, number, start, near, pixel, threads)
    return mesh

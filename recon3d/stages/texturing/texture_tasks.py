"""The tasks of texturing before it paints: the mesh made ready, each view rated, and photos chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon3d.compute import reads
from recon3d.errors import ReconstructionError
from recon3d.io.masks import load_view_mask, visible_at
from recon3d.io.ply import read_mesh
from recon3d.io.undistort import load_view_image
from recon3d.layout import mask_file
from recon3d.stages.kept_steps import keep_step, kept_facts, kept_part
from recon3d.texture.assemble import choose_photos
from recon3d.texture.face_visibility import CandidateTable, ViewFaces, seen_faces
from recon3d.texture.guesses import guessed_faces
from recon3d.texture.refine import Splits, split_large_faces
from recon3d.types import Mesh, PointCloud, Scene, View

#: Splits for each face of room that is made for them, and the largest share of the faces it takes.
_SPLITS_A_PLACE, _ROOM = 3, 5
#: A smaller mesh has no faces to spare.
_MANY_FACES = 500


@dataclass(frozen=True)
class ViewTask:
    """Which view is rated, at which size, and where that is kept.

    Parameters
    ----------
    images, mesh : Path
        The photos' folder, and what `prepare` left.
    view : View
    max_size : int
        Longer side of the photo at most, in pixels.
    output : Path
    """

    images: Path
    mesh: Path
    view: View
    max_size: int
    output: Path


@dataclass(frozen=True)
class Sources:
    """What is painted from what.

    Parameters
    ----------
    images, mesh : Path
        The photos' folder, and what `prepare` left.
    scene : Scene
        Its views.
    ratings : tuple of Path
        What `rate_view` left of each.
    max_size : int
        Longer side of the photos at most, in pixels.
    chosen : Path
        What `choose` leaves.
    """

    images: Path
    mesh: Path
    scene: Scene
    ratings: tuple[Path, ...]
    max_size: int
    chosen: Path


@reads(lambda surface, *_: [surface])
def prepare(surface: Path, views: tuple[View, ...], max_size: int, output: Path) -> None:
    """Split what is too large to be painted from one photo; store the mesh in a form that loads fast.

    Parameters
    ----------
    surface : Path
        A mesh.
    views : tuple of View
    max_size : int
        Longer side of the photos at most, in pixels.
    output : Path
    """
    fitted = [View(view.name, view.camera.fitted(max_size), view.cam_from_world) for view in views]
    whole = read_mesh(surface)
    mesh, splits = split_large_faces(whole, fitted)
    if len(splits) and len(whole) >= _MANY_FACES:
        # Some splits must stay, at borders of photos and of what hides others: they need room.
        room = min(len(splits) // _SPLITS_A_PLACE, len(whole) // _ROOM)
        mesh, splits = split_large_faces(_fewer(whole, len(whole) - room), fitted)
    # Painting needs no normals.
    keep_step(output, {"max_faces": len(whole)}, mesh=replace(mesh, normals=None), splits=splits)


def _fewer(mesh: Mesh, faces: int) -> Mesh:
    from recon3d.surface.cleaning import make_manifold
    from recon3d.surface.simplification import simplify, with_attributes

    fewer = make_manifold(simplify(mesh, faces))
    return with_attributes(fewer, PointCloud(mesh.vertices, None, mesh.colors))


@reads(lambda task: [task.mesh, task.images / task.view.name, mask_file(task.images, task.view.name)])
def rate_view(task: ViewTask) -> None:
    """Find the faces that one view shows, and write them down.

    Parameters
    ----------
    task : ViewTask
    """
    mesh = kept_part(task.mesh, "mesh", Mesh)
    rgb, camera = load_view_image(task.images, task.view, task.max_size)
    view = View(task.view.name, camera, task.view.cam_from_world)
    valid = _covered(mesh, task.view)
    visible = load_view_mask(mask_file(task.images, view.name), task.view, task.max_size)
    if visible is not None:
        pixel = camera.project(mesh.vertices @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3])
        shown = visible_at(visible, pixel)
        valid = shown if valid is None else valid & shown
    seen = seen_faces(mesh, view, rgb, valid=valid, guesses=guessed_faces(mesh))
    keep_step(task.output, {}, seen=seen)


def _covered(mesh: Mesh, view: View) -> NDArray[np.bool_] | None:
    """Vertices that the distorted photo shows: the undistorted one is black where it has no pixels."""
    if view.camera.is_pinhole:
        return None
    R, t = view.cam_from_world[:3, :3], view.cam_from_world[:3, 3]
    pixel = view.camera.project(mesh.vertices @ R.T + t)
    # Behind the camera and beyond the lens model's range there is no pixel either.
    pixel = np.nan_to_num(pixel, nan=-1.0, posinf=-1.0, neginf=-1.0)
    margin = 2.0
    limit = np.array([view.camera.width, view.camera.height]) - margin
    return np.asarray(np.all((pixel >= margin) & (pixel <= limit), axis=1))


@reads(lambda task: [task.mesh, *task.ratings])
def choose(task: Sources) -> None:
    """Choose the photo that paints each face.

    Parameters
    ----------
    task : Sources

    Raises
    ------
    ReconstructionError
        No photo shows any of the surface.
    """
    mesh = kept_part(task.mesh, "mesh", Mesh)
    splits, max_faces = kept_part(task.mesh, "splits", Splits), kept_facts(task.mesh)["max_faces"]
    table = CandidateTable(len(mesh))
    for index, path in enumerate(task.ratings):
        table.add(index, kept_part(path, "seen", ViewFaces))
    candidates = table.candidates()
    if not np.any(candidates.counts):
        raise ReconstructionError(
            f"None of the {len(task.scene)} photos shows the surface in {task.mesh}.",
            "The surface does not belong to these cameras; run mesh_generation again.",
        )
    mesh, choice = choose_photos(mesh, len(task.scene), candidates, guessed_faces(mesh), splits, max_faces)
    keep_step(task.chosen, {}, mesh=mesh, choice=choice)

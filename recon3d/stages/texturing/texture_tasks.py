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
from recon3d.texture.assemble import Confirmed, choose_photos, confirm_candidates
from recon3d.texture.face_visibility import CandidateTable, ViewFaces, seen_faces
from recon3d.texture.guesses import guessed_faces
from recon3d.texture.labelling import choose_views
from recon3d.texture.refine import Splits, split_large_faces
from recon3d.texture.topology import face_pairs
from recon3d.types import Ints, Mesh, PointCloud, Scene, View

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
    confirmed, labelled, chosen : Path
        What `confirm`, `label` and `choose` leave.
    """

    images: Path
    mesh: Path
    scene: Scene
    ratings: tuple[Path, ...]
    max_size: int
    confirmed: Path
    labelled: Path
    chosen: Path


@reads(lambda surface, *_: [surface])
def make_room(
    surface: Path, views: tuple[View, ...], max_size: int, max_faces: int | None, output: Path
) -> None:
    """Leave out faces: those above what is wanted, and to make room for the splits that `prepare` makes.

    Parameters
    ----------
    surface : Path
        A mesh.
    views : tuple of View
    max_size : int
        Longer side of the photos at most, in pixels.
    max_faces : int, optional
        Faces at most.
    output : Path
        Its facts: ``max_faces``, how many faces there may be, and ``thinned``, whether there were more.
    """
    whole = read_mesh(surface)
    thinned = False
    if max_faces is not None and max_faces < len(whole):
        whole, thinned = _fewer(whole, max_faces), True
    mesh, splits = whole, split_large_faces(whole, _fitted(views, max_size))[1]
    if len(splits) and len(whole) >= _MANY_FACES:
        # Some splits must stay, at borders of photos and of what hides others: they need room.
        mesh = _fewer(whole, len(whole) - min(len(splits) // _SPLITS_A_PLACE, len(whole) // _ROOM))
    keep_step(output, {"max_faces": len(whole), "thinned": thinned}, mesh=mesh)


def _fitted(views: tuple[View, ...], max_size: int) -> list[View]:
    return [View(view.name, view.camera.fitted(max_size), view.cam_from_world) for view in views]


@reads(lambda room, *_: [room])
def prepare(room: Path, views: tuple[View, ...], max_size: int, output: Path) -> None:
    """Split what is too large to be painted from one photo.

    Parameters
    ----------
    room : Path
        What `make_room` left.
    views : tuple of View
    max_size : int
        Longer side of the photos at most, in pixels.
    output : Path
    """
    mesh, splits = split_large_faces(kept_part(room, "mesh", Mesh), _fitted(views, max_size))
    # Painting needs no normals.
    keep_step(output, kept_facts(room), mesh=replace(mesh, normals=None), splits=splits)


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
    x, y, margin = pixel[:, 0], pixel[:, 1], 2.0
    # Behind the camera and beyond the lens model's range there may be NaN, which lies nowhere.
    inside = (x >= margin) & (x <= view.camera.width - margin)
    return np.asarray(inside & (y >= margin) & (y <= view.camera.height - margin))


@reads(lambda task: [task.mesh, *task.ratings])
def confirm(task: Sources) -> None:
    """Take off what a photo shows wrongly.

    Parameters
    ----------
    task : Sources
        Whose views are rated.

    Raises
    ------
    ReconstructionError
        No photo shows any of the surface.
    """
    mesh = kept_part(task.mesh, "mesh", Mesh)
    table = CandidateTable(len(mesh))
    for index, path in enumerate(task.ratings):
        table.add(index, kept_part(path, "seen", ViewFaces))
    candidates = table.candidates()
    if not np.any(candidates.counts):
        raise ReconstructionError(
            f"None of the {len(task.scene)} photos shows the surface in {task.mesh}.",
            "The surface does not belong to these cameras; run mesh_generation again.",
        )
    mesh, confirmed = confirm_candidates(mesh, len(task.scene), candidates, guessed_faces(mesh))
    keep_step(task.confirmed, {}, mesh=mesh, confirmed=confirmed)


@dataclass(frozen=True, eq=False)
class _Labels:
    views: Ints


@reads(lambda task: [task.confirmed])
def label(task: Sources) -> None:
    """Find the photo that suits each face and its neighbours.

    Parameters
    ----------
    task : Sources
        Whose `confirm` is done.
    """
    mesh = kept_part(task.confirmed, "mesh", Mesh)
    candidates = kept_part(task.confirmed, "confirmed", Confirmed).candidates
    labels = choose_views(mesh, face_pairs(mesh.faces), candidates)
    keep_step(task.labelled, {}, labels=_Labels(labels))


@reads(lambda task: [task.mesh, task.confirmed, task.labelled])
def choose(task: Sources) -> None:
    """Choose the photo that paints each face, and the faces.

    Parameters
    ----------
    task : Sources
        Whose `label` is done.
    """
    mesh, choice = choose_photos(
        kept_part(task.confirmed, "mesh", Mesh),
        kept_part(task.confirmed, "confirmed", Confirmed),
        kept_part(task.labelled, "labels", _Labels).views,
        kept_part(task.mesh, "splits", Splits),
        kept_facts(task.mesh)["max_faces"],
    )
    keep_step(task.chosen, {}, mesh=mesh, choice=choice)

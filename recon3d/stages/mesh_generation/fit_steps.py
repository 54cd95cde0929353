"""The tasks that move the surface until the photos agree on it, round by round.

In a round, tasks compare a few photos each, on all workers at once; one task adds up what they say, in the
photos' order, and moves the surface. So the result does not depend on which tasks there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.compute import reads
from recon3d.io.masks import load_view_mask
from recon3d.io.undistort import load_view_image, undistorted_pixels
from recon3d.layout import mask_file
from recon3d.stages.kept_steps import keep_step, kept_facts, kept_part
from recon3d.threads import Threads
from recon3d.types import Bytes, Mesh, Scene, View, scene_files

if TYPE_CHECKING:
    from recon3d.surface.photo_terms import Photo

Mask = NDArray[np.bool_]


#: Photos that show the surface from directions that differ by less than this, in degrees, are left out of
#: the fit, as long as so many stay for each.
_ALIKE, _PARTNERS = 9.0, 4


@reads(lambda sparse, _: [*scene_files(sparse)])
def choose_photos(sparse: Path, output: Path) -> None:
    """Choose the photos that the surface is fitted to; keep the indices of their views.

    Photos from nearly the same direction tell the same, and blurred frames less.

    Parameters
    ----------
    sparse : Path
        The artifact of sparse_reconstruction.
    output : Path
    """
    from recon3d.mvs.redundancy import needed_views

    scene = Scene.load(sparse)
    pinholes = replace(scene, views=tuple(replace(v, camera=v.camera.undistorted()) for v in scene))
    needed = needed_views(pinholes, _ALIKE, _PARTNERS)
    keep_step(output, {"photos": np.flatnonzero(needed).tolist()})


@dataclass(frozen=True)
class PhotoTask:
    """Which photo is made ready, and where it is kept.

    Parameters
    ----------
    images : Path
        The photos' folder.
    view : View
        Its camera may be distorted.
    longest : int
        Longer side of the photo in pixels.
    size : int
        That of the depth maps.
    surface : Path
        What `smooth` left.
    output : Path
    """

    images: Path
    view: View
    longest: int
    size: int
    surface: Path
    output: Path

    @property
    def pixels(self) -> int:
        """Of the photo that is kept."""
        camera = self.view.camera.fitted(self.longest)
        return camera.width * camera.height


@dataclass(frozen=True)
class CompareTask:
    """Which photos are compared in a round.

    Parameters
    ----------
    surface : Path
        What the round begins with.
    number : int
        Of the round, from 0.
    photos : tuple of (int, PhotoTask)
        Their numbers, and those of their partners, and how they were made ready.
    pairs : tuple of (int, tuple of int)
        Partners of each that is compared.
    outputs : tuple of Path
        One for each of `pairs`.
    """

    surface: Path
    number: int
    photos: tuple[tuple[int, PhotoTask], ...]
    pairs: tuple[tuple[int, tuple[int, ...]], ...]
    outputs: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Of the photos that are compared."""
        views = {index: photo.view.name for index, photo in self.photos}
        return " and ".join(views[index] for index, _ in self.pairs)


@dataclass(frozen=True)
class MoveTask:
    """What moves the surface in a round.

    Parameters
    ----------
    surface : Path
        What the round begins with.
    number : int
        Of the round, from 0.
    terms : tuple of Path
        What `compare` left of the photos, in their order.
    start : Path
        What the first round began with.
    paired : Path
        What `pair_photos` left.
    output : Path
    """

    surface: Path
    number: int
    terms: tuple[Path, ...]
    start: Path
    paired: Path
    output: Path


@dataclass(frozen=True, eq=False)
class _Pixels:
    brightness: Bytes
    counts: Mask | None = None


@dataclass(frozen=True, eq=False)
class _Shown:
    vertices: Mask


@reads(
    lambda task: [
        task.surface,
        task.images / task.view.name,
        mask_file(task.images, task.view.name),
    ]
)
def scale_photo(task: PhotoTask) -> None:
    """Scale a photo down, take its lens distortion out, and find what it shows.

    Parameters
    ----------
    task : PhotoTask
    """
    from recon3d.surface.photo_terms import Photo, shown_vertices
    from recon3d.surface.refinement import scaled_photo

    view, longest = task.view, task.longest
    rgb, camera = load_view_image(task.images, view, longest)
    brightness = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    counts = load_view_mask(mask_file(task.images, view.name), view, longest)
    if not view.camera.is_pinhole:
        whole = np.full((view.camera.height, view.camera.width), 255, np.uint8)
        inside = undistorted_pixels(whole, view.camera, longest)[0] == 255
        counts = inside if counts is None else counts & inside
    photo = Photo(brightness, camera, view.cam_from_world, counts)
    shown = shown_vertices(kept_part(task.surface, "mesh", Mesh), scaled_photo(photo, 0, task.size))
    keep_step(task.output, {}, pixels=_Pixels(brightness, counts), shown=_Shown(shown))


def _kept_photo(task: PhotoTask) -> Photo:
    from recon3d.surface.photo_terms import Photo

    pixels = kept_part(task.output, "pixels", _Pixels)
    camera = task.view.camera.fitted(task.longest).undistorted()
    return Photo(pixels.brightness, camera, task.view.cam_from_world, pixels.counts)


@reads(lambda surface, photos, *_: [surface, *(photo.output for photo in photos)])
def pair_photos(surface: Path, photos: list[PhotoTask], output: Path) -> None:
    """Choose the photos that each is compared with.

    Parameters
    ----------
    surface : Path
        What `smooth` left.
    photos : list of PhotoTask
        Which are done.
    output : Path
        Receives the fact ``pairs``: the partners of each.
    """
    from recon3d.surface.photo_terms import choose_pairs
    from recon3d.surface.refinement import Neighbors

    mesh = kept_part(surface, "mesh", Mesh)
    shown = [kept_part(photo.output, "shown", _Shown).vertices for photo in photos]
    pairs = choose_pairs(mesh, [photo.view.cam_from_world for photo in photos], shown)
    keep_step(output, {"pairs": pairs}, near=Neighbors.of(mesh))


@reads(lambda task: [task.surface, *(photo.output for _, photo in task.photos)])
def compare(task: CompareTask) -> None:
    """Compare photos with their partners.

    Parameters
    ----------
    task : CompareTask
    """
    from recon3d.surface.photo_terms import compare_photos
    from recon3d.surface.refinement import scaled_photo

    mesh = kept_part(task.surface, "mesh", Mesh)
    photos = {
        index: scaled_photo(_kept_photo(photo), task.number, photo.size) for index, photo in task.photos
    }
    found = compare_photos(mesh, photos, dict(task.pairs))
    for (_, terms), output in zip(found, task.outputs, strict=True):
        keep_step(output, {}, terms=terms)


@reads(lambda task, _: [task.surface, task.start, task.paired, *task.terms])
def move(task: MoveTask, cores: int) -> None:
    """Move the surface by what the photos say.

    Parameters
    ----------
    task : MoveTask
    cores : int
    """
    from recon3d.surface.photo_terms import Terms
    from recon3d.surface.refinement import Neighbors, next_surface

    with Threads(cores) as threads:
        moved = next_surface(
            kept_part(task.surface, "mesh", Mesh),
            (kept_part(path, "terms", Terms) for path in task.terms),
            task.number,
            kept_part(task.start, "mesh", Mesh),
            kept_part(task.paired, "near", Neighbors),
            kept_facts(task.start)["pixel"],
            threads,
        )
    keep_step(task.output, kept_facts(task.surface), mesh=moved)

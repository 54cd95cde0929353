"""Small pictures of what a stage has made so far, from the files in its folder.

Choosing files (``…_of``) is apart from drawing them (``draw_…``), so that nothing is drawn twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from recon3d.io.growing_model import GROWING, read_growing
from recon3d.layout import PREVIEW
from recon3d.matching.orientation import camera_up
from recon3d.project.stage_pictures import StagePicture, pictures_in
from recon3d.stage_table import PictureKind
from recon3d.types import Bytes, Scene, SparsePoints
from recon3d.viewer.photos import shrunk
from recon3d.viewer.still import quick_picture
from recon3d.viewer.thinning import Budget
from recon3d.viewer.view_content import content_of

#: Pictures of a strip.
FRAMES, MAPS = 8, 3
_FRAME = 108
_GAP = 4
_CLOUD = (320, 240)
_MODEL = 320
#: Points farther from the middle than so many times the usual are not drawn.
_NEAR = 2.5

#: A file as it was when it was seen.
Seen = tuple[str, int]


def frames_of(folder: Path, done: bool) -> tuple[int, list[Seen]]:
    """Count the frames and choose some to show.

    Parameters
    ----------
    folder : Path
        Of the stage.
    done : bool
        Whether the stage has finished; then the choice is even, before it is the newest.

    Returns
    -------
    (int, list of Seen)
    """
    return _chosen(folder, "frames", done, FRAMES)


def maps_of(folder: Path, done: bool) -> tuple[int, list[Seen]]:
    """Count the depth maps and choose some to show, of each view the most finished one.

    Parameters
    ----------
    folder : Path
        Of the stage.
    done : bool
        As in `frames_of`.

    Returns
    -------
    (int, list of Seen)
    """
    return _chosen(folder, "depth_maps", done, MAPS)


def draw_frame(path: str) -> Bytes | None:
    """Draw a frame's thumbnail.

    Parameters
    ----------
    path : str
        The frame.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3), or None
        BGR; None while the file cannot be read.
    """
    return shrunk(Path(path), _FRAME)


def cloud_of(folder: Path, done: bool) -> list[Seen]:
    """Find the file with cameras and sparse points.

    Parameters
    ----------
    folder : Path
        Of the stage.
    done : bool
        Whether the stage has finished.

    Returns
    -------
    list of Seen
        Empty before the file exists.
    """
    path = folder / ("scene.json" if done else GROWING)
    return [(str(path), path.stat().st_mtime_ns)] if path.is_file() else []


def draw_cloud(path: str) -> tuple[Bytes, Scene]:
    """Draw cameras and points.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    (ndarray of uint8, Scene)
        BGR of shape (H, W, 3), and the scene.
    """
    file = Path(path)
    scene = read_growing(file) if file.name == GROWING else Scene.load(file.parent)
    if scene.up is None and len(scene):
        scene = Scene(scene.views, scene.points, scene.unit, camera_up(scene))
    picture = quick_picture(content_of(_near(scene), Budget(points=20_000)), _CLOUD)
    return np.ascontiguousarray(picture[..., ::-1]), scene


def _near(scene: Scene) -> Scene:
    """The scene without its far points, which would make the rest small."""
    xyz = scene.points.xyz
    if not len(xyz):
        return scene
    away = np.linalg.norm(xyz - np.median(xyz, axis=0), axis=1)
    kept = away <= _NEAR * np.median(away)
    count = int(kept.sum())
    nothing = np.zeros(0, np.int32)
    points = SparsePoints(
        xyz[kept], scene.points.rgb[kept], np.zeros(count), np.zeros(count + 1, np.int64), nothing
    )
    return Scene(scene.views, points, scene.unit, scene.up)


def model_of(folder: Path) -> list[Seen]:
    """Find the picture that a stage made of its product.

    Parameters
    ----------
    folder : Path
        Of the stage.

    Returns
    -------
    list of Seen
        Empty before the file exists.
    """
    path = folder / PREVIEW
    return [(str(path), path.stat().st_mtime_ns)] if path.is_file() else []


def draw_model(path: str) -> Bytes | None:
    """Draw a product's picture.

    Parameters
    ----------
    path : str
        The picture.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3), or None
        BGR; None while the file cannot be read.
    """
    return shrunk(Path(path), _MODEL)


def strip(pictures: Sequence[Bytes]) -> Bytes:
    """Join pictures side by side at the height of the lowest.

    Parameters
    ----------
    pictures : sequence of ndarray of uint8, shape (H, W, 3)
        BGR.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        BGR.
    """
    height = min(len(picture) for picture in pictures)
    row: list[Bytes] = []
    for picture in pictures:
        width = max(1, round(picture.shape[1] * height / len(picture)))
        row.append(np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8))
        row.append(np.full((height, _GAP, 3), 255, np.uint8))
    return np.hstack(row[:-1])


def _chosen(folder: Path, kind: PictureKind, done: bool, most: int) -> tuple[int, list[Seen]]:
    found = pictures_in(folder, kind, finished=done)
    chosen = _evenly(found, most) if done else _newest(found, most)
    return len(found), [(str(picture.path), picture.modified_ns) for picture in chosen]


def _newest(found: list[StagePicture], count: int) -> list[StagePicture]:
    latest = sorted(found, key=lambda picture: picture.modified_ns)[-count:]
    return sorted(latest, key=lambda picture: picture.name)


def _evenly(found: list[StagePicture], count: int) -> list[StagePicture]:
    if len(found) <= count:
        return found
    return [found[round(i)] for i in np.linspace(0, len(found) - 1, count)]

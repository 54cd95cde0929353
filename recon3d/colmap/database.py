"""COLMAP databases. One process may use one at a time."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.layout import read_frames

Array = NDArray[Any]

#: Where SQLite's header counts the changes of the file, and repeats that count for the number of pages.
_CHANGES = (24, 92)


@dataclass(frozen=True)
class ImageRow:
    """An image of a database: its name, its camera's number, and the camera."""

    name: str
    camera_id: int
    width: int
    height: int
    focal_px: float | None


def read_rows(frames: Path) -> list[ImageRow]:
    """List the images of a frame_extraction artifact.

    Parameters
    ----------
    frames : Path
        The artifact's folder.

    Returns
    -------
    list of ImageRow
        In the order of the frames.
    """
    return [
        ImageRow(frame.name, frame.camera + 1, frame.width, frame.height, frame.focal_px)
        for frame in read_frames(frames).frames
    ]


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a finished database; neither it nor its folder changes, as they do when COLMAP opens it.

    Parameters
    ----------
    path : Path
        The database; nobody writes it meanwhile.

    Yields
    ------
    sqlite3.Connection
    """
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        yield database


def _finish(path: Path) -> None:
    """Set SQLite's count of changes to 1.

    Each time that COLMAP opens a database counts as a change. How often that is depends on the blocks of
    pairs, and so on the workers; the bytes of a finished database should not.
    """
    with open(path, "r+b") as file:
        for place in _CHANGES:
            file.seek(place)
            file.write((1).to_bytes(4, "big"))


def copy_database(source: Path, target: Path) -> None:
    """Copy a finished database, for COLMAP to change.

    Parameters
    ----------
    source, target : Path
        What a killed process has left at the target is removed: SQLite would take its log for the copy's.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(source, target)


def camera_model(path: Path) -> str:
    """Read a database's camera model; nothing is written.

    Parameters
    ----------
    path : Path
        The database.

    Returns
    -------
    str
        COLMAP's name of the model.

    Raises
    ------
    InputError
        The database has no camera.
    """
    with reading(path) as database:
        row = database.execute("SELECT model FROM cameras LIMIT 1").fetchone()
    if row is None:
        raise InputError(f"{path} has no camera.", "Run feature_extraction again.")
    return str(pycolmap.CameraModelId(row[0]).name)


def features_per_image(path: Path) -> int:
    """Count the features of a database.

    Parameters
    ----------
    path : Path
        The database.

    Returns
    -------
    int
        On average; 0 without images.
    """
    with reading(path) as database:
        (mean,) = database.execute("SELECT AVG(rows) FROM keypoints").fetchone()
    return round(mean or 0)


def read_descriptors(database: sqlite3.Connection, image_id: int) -> Array:
    """Read the descriptors of an image.

    Parameters
    ----------
    database : sqlite3.Connection
        See `reading`.
    image_id : int

    Returns
    -------
    ndarray of uint8, shape (N, 128)
    """
    rows, columns, data = database.execute(
        "SELECT rows, cols, data FROM descriptors WHERE image_id = ?", (image_id,)
    ).fetchone()
    return np.frombuffer(data, np.uint8).reshape(rows, columns)


def camera_of(model: str, row: ImageRow) -> Any:
    """Make COLMAP's camera of an image.

    Parameters
    ----------
    model : str
        COLMAP's camera model.
    row : ImageRow

    Returns
    -------
    pycolmap.Camera
    """
    focal = row.focal_px or 1.2 * max(row.width, row.height)
    camera = pycolmap.Camera.create_from_model_name(row.camera_id, model, focal, row.width, row.height)
    camera.has_prior_focal_length = row.focal_px is not None
    return camera


def write_database(
    path: Path,
    rows: Sequence[ImageRow],
    model: str,
    features: Callable[[int], tuple[Array, Array]],
    image_ids: Sequence[int] | None = None,
) -> None:
    """Make a COLMAP database with cameras, images and features.

    Parameters
    ----------
    path : Path
        Must not exist.
    rows : sequence of ImageRow
    model : str
        COLMAP's camera model.
    features : callable
        Gives keypoints and descriptors of a row's index.
    image_ids : sequence of int, optional
        By default 1, 2, ….
    """
    database = pycolmap.Database.open(str(path))
    try:
        with pycolmap.DatabaseTransaction(database):
            known: set[int] = set()
            for index, row in enumerate(rows):
                image_id = index + 1 if image_ids is None else image_ids[index]
                camera = camera_of(model, row)
                if row.camera_id not in known:
                    known.add(row.camera_id)
                    database.write_camera(camera, use_camera_id=True)
                    rig = pycolmap.Rig(rig_id=row.camera_id)
                    rig.add_ref_sensor(camera.sensor_id)
                    database.write_rig(rig, use_rig_id=True)
                image = pycolmap.Image(name=row.name, camera_id=row.camera_id, image_id=image_id)
                frame = pycolmap.Frame(frame_id=image_id, rig_id=row.camera_id)
                frame.add_data_id(image.data_id)
                database.write_frame(frame, use_frame_id=True)
                image.frame_id = image_id
                database.write_image(image, use_image_id=True)
                keypoints, descriptors = features(index)
                database.write_keypoints(image_id, keypoints)
                database.write_descriptors(
                    image_id, pycolmap.FeatureDescriptors(pycolmap.FeatureExtractorType.SIFT, descriptors)
                )
    finally:
        database.close()
    _finish(path)


def write_matches(path: Path, entries: Sequence[tuple[int, int, Array, Any]]) -> None:
    """Add matches and two-view geometries to a database.

    Parameters
    ----------
    path : Path
        The database.
    entries : sequence of (int, int, ndarray, pycolmap.TwoViewGeometry)
        The ids of two images, their matches, shape (M, 2), and their geometry, as `match_pairs` gives them.
    """
    database = pycolmap.Database.open(str(path))
    try:
        with pycolmap.DatabaseTransaction(database):
            for a, b, matches, geometry in entries:
                database.write_matches(a, b, matches)
                database.write_two_view_geometry(a, b, geometry)
    finally:
        database.close()
    _finish(path)


def write_known_cameras(database: Any, given: Any, images: Mapping[str, Any]) -> None:
    """Give the images of a database the cameras of a model, which may be of other kinds and numbers.

    COLMAP refuses to triangulate where a database and the known cameras differ.

    Parameters
    ----------
    database : pycolmap.Database
        Its images have frames of the same ids, as `write_database` makes them.
    given : pycolmap.Reconstruction
        The model.
    images : mapping of str to pycolmap.Image
        The database's images, by name.
    """
    with pycolmap.DatabaseTransaction(database):
        for camera_id in sorted(given.cameras):
            camera = given.camera(camera_id)
            if database.exists_camera(camera_id):
                database.update_camera(camera)
                continue
            database.write_camera(camera, use_camera_id=True)
            rig = pycolmap.Rig(rig_id=camera_id)
            rig.add_ref_sensor(camera.sensor_id)
            database.write_rig(rig, use_rig_id=True)
        for number in given.reg_image_ids():
            known = given.image(number)
            image_id = images[known.name].image_id
            image = pycolmap.Image(name=known.name, camera_id=known.camera_id, image_id=image_id)
            frame = pycolmap.Frame(frame_id=image_id, rig_id=known.camera_id)
            frame.add_data_id(image.data_id)
            database.update_frame(frame)
            image.frame_id = image_id
            database.update_image(image)


def other_initial_pair(path: Path, used: Collection[str]) -> tuple[int, int] | None:
    """Choose two images to start from that an earlier model did not hold.

    Parameters
    ----------
    path : Path
        The database.
    used : collection of str
        Names of the images of that model.

    Returns
    -------
    (int, int) or None
        Ids of the images with the most verified matches, of which as few as possible were used. None
        where the database has no pair.
    """
    database = pycolmap.Database.open(str(path))
    try:
        old = {image.image_id for image in database.read_all_images() if image.name in used}
        pairs, inliers = database.read_two_view_geometry_num_inliers()
    finally:
        database.close()
    ranked = sorted(
        (sum(image_id in old for image_id in pair), -count, pair)
        for pair, count in zip((pair_of(key) for key in pairs), inliers, strict=True)
    )
    return ranked[0][2] if ranked and ranked[0][1] < 0 else None


def pair_of(key: Any) -> tuple[int, int]:
    """Give the images of a pair's number.

    Parameters
    ----------
    key : int

    Returns
    -------
    tuple of int
    """
    first, second = (int(number) for number in pycolmap.pair_id_to_image_pair(int(key)))
    return first, second

"""The one door to pycolmap: features, matches, databases, mapping and models.

Everything here runs in worker processes: COLMAP aborts the interpreter on some ordinary mistakes.
Only arrays, paths and numbers cross this module's border.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.files import read_json
from recon3d.types import Camera, Scene, SparsePoints, View

Array = NDArray[Any]

if threading.current_thread() is threading.main_thread():
    # Importing pycolmap installs its own SIGTERM handler behind Python's back; put ours back.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
pycolmap.logging.minloglevel = pycolmap.logging.WARNING.value


@dataclass(frozen=True)
class SiftSettings:
    """What `extract_sift` is told; the names are those of FeatureExtractionOptions."""

    max_image_size: int
    max_features: int
    first_octave: int
    affine_shape: bool
    domain_size_pooling: bool
    gpu: bool = False


@dataclass(frozen=True)
class ImageRow:
    """An image of a database: its name, its camera's number, and the camera."""

    name: str
    camera_id: int
    width: int
    height: int
    focal_px: float | None


def extract_sift(path: Path, settings: SiftSettings) -> tuple[Array, Array]:
    """SIFT features of an image [1]_.

    Parameters
    ----------
    path : Path
    settings : SiftSettings

    Returns
    -------
    keypoints : ndarray of float32, shape (N, 6)
        x, y and the affine shape, in pixels of the full image.
    descriptors : ndarray of uint8, shape (N, 128)
        RootSIFT.

    Raises
    ------
    InputError
        The image cannot be read.

    References
    ----------
    .. [1] Lowe, Distinctive Image Features from Scale-Invariant Keypoints, IJCV 2004.
    """
    options = pycolmap.FeatureExtractionOptions()
    options.num_threads = 1
    options.use_gpu = settings.gpu
    options.sift.max_num_features = settings.max_features
    options.sift.first_octave = settings.first_octave
    options.sift.estimate_affine_shape = settings.affine_shape
    options.sift.domain_size_pooling = settings.domain_size_pooling
    bitmap = pycolmap.Bitmap.read(str(path), False)
    if bitmap is None:
        raise InputError(f"{path} cannot be read.", "Leave the image out, or save it again as JPEG.")
    width, height = bitmap.width, bitmap.height
    scale = min(1.0, settings.max_image_size / max(width, height))
    if scale < 1.0:
        bitmap.rescale(max(1, round(width * scale)), max(1, round(height * scale)))
    device = pycolmap.Device.cuda if settings.gpu else pycolmap.Device.cpu
    found, descriptors = pycolmap.FeatureExtractor.create(options, device).extract(bitmap)
    keypoints = np.array([[p.x, p.y, p.a11, p.a12, p.a21, p.a22] for p in found], np.float32).reshape(-1, 6)
    sx, sy = width / bitmap.width, height / bitmap.height
    keypoints *= np.array([sx, sy, sx, sx, sy, sy], np.float32)
    return keypoints, np.asarray(descriptors.data, np.uint8).reshape(-1, 128)


def _camera(model: str, row: ImageRow) -> Any:
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
                camera = _camera(model, row)
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


def read_features(path: Path, image_ids: Sequence[int]) -> dict[int, tuple[Array, Array]]:
    """Keypoints and descriptors of a database's images."""
    database = pycolmap.Database.open(str(path))
    try:
        return {
            i: (np.array(database.read_keypoints(i)), np.array(database.read_descriptors(i).data))
            for i in image_ids
        }
    finally:
        database.close()


def match_pairs(
    rows: Sequence[ImageRow],
    image_ids: Sequence[int],
    features: Callable[[int], tuple[Array, Array]],
    pairs: Sequence[tuple[int, int]],
    model: str,
    *,
    guided: bool,
    seed: int,
    gpu: bool,
) -> tuple[list[Array], list[Any]]:
    """Match features and verify the matches geometrically.

    Works on a database of its own, since one process may use a COLMAP database at a time.

    Parameters
    ----------
    rows, image_ids, features
        The images of `pairs`, as in `write_database`.
    pairs : sequence of (int, int)
        Image ids.
    model : str
    guided : bool
        Match once more along the epipolar lines.
    seed : int
    gpu : bool

    Returns
    -------
    matches : list of ndarray of uint32, shape (M, 2)
        Indices of the features, a pair each.
    geometries : list of pycolmap.TwoViewGeometry
        Picklable.
    """
    folder = Path(tempfile.mkdtemp(prefix="recon3d-match-"))
    try:
        path = folder / "block.db"
        write_database(path, rows, model, features, image_ids)
        names = {i: row.name for i, row in zip(image_ids, rows, strict=True)}
        listing = folder / "pairs.txt"
        listing.write_text("".join(f"{names[a]} {names[b]}\n" for a, b in pairs))
        matching = pycolmap.FeatureMatchingOptions()
        matching.num_threads = 1
        matching.use_gpu = gpu
        matching.guided_matching = guided
        pairing = pycolmap.ImportedPairingOptions()
        pairing.match_list_path = str(listing)
        verification = pycolmap.TwoViewGeometryOptions()
        verification.ransac.random_seed = seed
        pycolmap.match_image_pairs(
            str(path),
            matching_options=matching,
            pairing_options=pairing,
            verification_options=verification,
            device=pycolmap.Device.cuda if gpu else pycolmap.Device.cpu,
        )
        database = pycolmap.Database.open(str(path))
        try:
            matches, geometries = [], []
            for a, b in pairs:
                found = database.exists_matches(a, b)
                matches.append(
                    np.array(database.read_matches(a, b), np.uint32) if found else np.zeros((0, 2), np.uint32)
                )
                geometries.append(
                    database.read_two_view_geometry(a, b)
                    if database.exists_two_view_geometry(a, b)
                    else pycolmap.TwoViewGeometry()
                )
        finally:
            database.close()
        return matches, geometries
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_matches(path: Path, entries: Sequence[tuple[int, int, Array, Any]]) -> None:
    """Add matches and two-view geometries (as `match_pairs` gives them) to a database."""
    database = pycolmap.Database.open(str(path))
    try:
        with pycolmap.DatabaseTransaction(database):
            for a, b, matches, geometry in entries:
                database.write_matches(a, b, matches)
                database.write_two_view_geometry(a, b, geometry)
    finally:
        database.close()


def map_incrementally(
    database: Path,
    images: Path,
    out: Path,
    *,
    min_model_size: int,
    relaxed: bool,
    seed: int,
    threads: int,
    progress: Callable[[int], None],
) -> list[Path]:
    """Incremental structure from motion [1]_.

    Parameters
    ----------
    database, images, out : Path
        COLMAP's database, its images, and the folder for the models.
    min_model_size : int
        Images that a model needs to be kept.
    relaxed : bool
        Accept weaker initial pairs and registrations.
    seed, threads : int
    progress : callable
        Receives the number of registered images.

    Returns
    -------
    list of Path
        Folders of the models, the one with most images first.

    References
    ----------
    .. [1] Schönberger and Frahm, Structure-from-Motion Revisited, CVPR 2016.
    """
    options = pycolmap.IncrementalPipelineOptions()
    options.min_model_size = min_model_size
    options.num_threads = threads
    options.random_seed = seed
    options.mapper.random_seed = seed
    options.triangulation.random_seed = seed
    options.mapper.num_threads = threads
    # Two-view tracks hold short sequences together; video has small angles between frames.
    options.mapper.init_min_tri_angle = 8.0
    options.ba_global_frames_ratio = 1.4
    options.ba_global_points_ratio = 1.4
    if relaxed:
        options.min_num_matches = 10
        options.mapper.init_min_num_inliers = 40
        options.mapper.init_min_tri_angle = 3.0
        options.mapper.abs_pose_min_num_inliers = 15
        options.mapper.abs_pose_min_inlier_ratio = 0.15
        options.mapper.filter_min_tri_angle = 1.0
        options.triangulation.min_angle = 1.0
        options.triangulation.ignore_two_view_tracks = False
    out.mkdir(parents=True, exist_ok=True)
    registered = [0]

    def next_image() -> None:
        registered[0] += 1
        progress(registered[0] + 2)

    pycolmap.incremental_mapping(
        str(database), str(images), str(out), options=options, next_image_callback=next_image
    )
    return _models(out)


def map_globally(database: Path, images: Path, out: Path, *, seed: int) -> list[Path]:
    """Global structure from motion, as `map_incrementally`.

    References
    ----------
    .. [1] Pan et al., Global Structure-from-Motion Revisited, ECCV 2024.
    """
    out.mkdir(parents=True, exist_ok=True)
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed = seed
    options.num_threads = 1  # only so are its results the same each time
    pycolmap.global_mapping(str(database), str(images), str(out), options=options)
    return _models(out)


def _models(folder: Path) -> list[Path]:
    models = [p for p in folder.iterdir() if (p / "images.bin").is_file()]
    return sorted(models, key=lambda p: (-_registered(p), p.name))


def _registered(model: Path) -> int:
    return int(pycolmap.Reconstruction(str(model)).num_reg_images())


def read_scene(model: Path, order: Sequence[str]) -> Scene:
    """The scene of a COLMAP model.

    Parameters
    ----------
    model : Path
    order : sequence of str
        Names of images in the order wanted; those that the model lacks are left out.
    """
    reconstruction = pycolmap.Reconstruction(str(model))
    by_name = {reconstruction.image(i).name: reconstruction.image(i) for i in reconstruction.reg_image_ids()}
    views: list[View] = []
    index_of: dict[int, int] = {}
    for name in order:
        image = by_name.get(name)
        if image is None:
            continue
        camera = reconstruction.camera(image.camera_id)
        pose = np.eye(4)
        pose[:3] = image.cam_from_world().matrix()
        index_of[image.image_id] = len(views)
        views.append(
            View(
                name,
                Camera(
                    camera.model_name, camera.width, camera.height, tuple(float(p) for p in camera.params)
                ),
                pose,
            )
        )
    ids = sorted(reconstruction.point3D_ids())
    points = [reconstruction.point3D(i) for i in ids]
    tracks = [
        sorted({index_of[e.image_id] for e in point.track.elements if e.image_id in index_of})
        for point in points
    ]
    starts = np.zeros(len(points) + 1, np.int64)
    np.cumsum([len(t) for t in tracks], out=starts[1:])
    sparse = SparsePoints(
        np.array([p.xyz for p in points], np.float64).reshape(-1, 3),
        np.array([p.color for p in points], np.uint8).reshape(-1, 3),
        np.array([p.error for p in points], np.float64),
        starts,
        np.array([v for t in tracks for v in t], np.int32),
    )
    return Scene(tuple(views), sparse)


def transform_model(model: Path, scale: float, rotation: Array, translation: Array) -> None:
    """Move a model to a new world: x -> scale * rotation @ x + translation."""
    reconstruction = pycolmap.Reconstruction(str(model))
    reconstruction.transform(pycolmap.Sim3d(scale, pycolmap.Rotation3d(rotation), translation))
    reconstruction.write(str(model))


def image_statistics(model: Path) -> dict[str, tuple[int, float]]:
    """Triangulated points and mean reprojection error, in pixels, of each registered image."""
    reconstruction = pycolmap.Reconstruction(str(model))
    statistics = {}
    for image_id in reconstruction.reg_image_ids():
        image = reconstruction.image(image_id)
        errors = [reconstruction.point3D(p.point3D_id).error for p in image.points2D if p.has_point3D()]
        statistics[image.name] = (len(errors), float(np.mean(errors)) if errors else 0.0)
    return statistics


def triangulate(database: Path, images: Path, model: Path, out: Path, *, seed: int) -> None:
    """Triangulate points with the poses and cameras of `model`, which stay as they are."""
    given = pycolmap.Reconstruction(str(model))
    stored = pycolmap.Database.open(str(database))
    try:
        ids = {image.name: image for image in stored.read_all_images()}
    finally:
        stored.close()
    posed = pycolmap.Reconstruction()
    for camera_id in sorted(given.cameras):
        posed.add_camera_with_trivial_rig(given.camera(camera_id))
    for image_id in sorted(given.reg_image_ids()):
        image = given.image(image_id)
        row = ids[image.name]
        copy = pycolmap.Image(name=image.name, camera_id=image.camera_id, image_id=row.image_id)
        posed.add_image_with_trivial_frame(copy, image.cam_from_world())
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1
    options.random_seed = seed
    options.mapper.random_seed = seed
    options.triangulation.random_seed = seed
    out.mkdir(parents=True, exist_ok=True)
    result = pycolmap.triangulate_points(
        posed,
        str(database),
        str(images),
        str(out),
        clear_points=True,
        options=options,
        refine_intrinsics=False,
    )
    result.write(str(out))


def read_rows(frames: Path) -> list[ImageRow]:
    """The images of a frame_extraction artifact."""
    return [
        ImageRow(f["name"], f["camera"] + 1, f["width"], f["height"], f["focal_px"])
        for f in read_json(frames / "frames.json")["frames"]
    ]


def copy_model(model: Path, out: Path) -> None:
    """Write a COLMAP model, binary or text, as binary."""
    pycolmap.Reconstruction(str(model)).write(str(out))

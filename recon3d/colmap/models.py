"""COLMAP models: reading them as scenes, moving and copying them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from recon3d.colmap.adjustment import adjuster_of, quiet_options
from recon3d.io.colmap_model import model_images
from recon3d.types import Camera, Floats, Scene, SparsePoints, View


def read_scene(model: Path, order: Sequence[str]) -> Scene:
    """Read a COLMAP model as a scene.

    Parameters
    ----------
    model : Path
    order : sequence of str
        Names of images in the order wanted; those that the model lacks are left out.

    Returns
    -------
    Scene
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


def transform_model(model: Path, scale: float, rotation: Floats, translation: Floats) -> None:
    """Transform a model in place: x -> scale * rotation @ x + translation.

    Parameters
    ----------
    model : Path
        Folder of the model.
    scale : float
    rotation : ndarray of float64, shape (3, 3)
    translation : ndarray of float64, shape (3,)
    """
    reconstruction = pycolmap.Reconstruction(str(model))
    reconstruction.transform(pycolmap.Sim3d(scale, pycolmap.Rotation3d(rotation), translation))
    reconstruction.write(str(model))


def image_statistics(model: Path) -> dict[str, tuple[int, float]]:
    """Count the points of each registered image and average its error.

    Parameters
    ----------
    model : Path
        Folder of the model.

    Returns
    -------
    dict of str to (int, float)
        Number of triangulated points and mean reprojection error in pixels, by the image's name.
    """
    reconstruction = pycolmap.Reconstruction(str(model))
    error_of = {number: reconstruction.point3D(number).error for number in reconstruction.point3D_ids()}
    statistics = {}
    for image_id in reconstruction.reg_image_ids():
        image = reconstruction.image(image_id)
        errors = [error_of[number] for number in observed(image)[1]]
        statistics[image.name] = (len(errors), float(np.mean(errors)) if errors else 0.0)
    return statistics


def camera_groups(model: Path) -> dict[int, tuple[float, list[str]]]:
    """List the cameras of a model with the registered images that share them.

    Parameters
    ----------
    model : Path
        Folder of the model.

    Returns
    -------
    dict of int to (float, list of str)
        Focal length in pixels and names of images, by the camera's number in the database.
    """
    reconstruction = pycolmap.Reconstruction(str(model))
    groups: dict[int, tuple[float, list[str]]] = {}
    for image_id in sorted(reconstruction.reg_image_ids()):
        image = reconstruction.image(image_id)
        focal = float(reconstruction.camera(image.camera_id).mean_focal_length())
        groups.setdefault(image.camera_id, (focal, []))[1].append(image.name)
    return groups


def drop_implausible(model: Path) -> tuple[int, float]:
    """Take images out of a model, in place, whose cameras cannot be true.

    The mapper checks that while the model grows, but not after its last adjustment.

    Parameters
    ----------
    model : Path
        Folder of the model.

    Returns
    -------
    (int, float)
        Images that are left, and the mean reprojection error in pixels.
    """
    reconstruction = pycolmap.Reconstruction(str(model))
    limits = pycolmap.IncrementalPipelineOptions()
    bogus = [
        image.frame_id
        for image in map(reconstruction.image, sorted(reconstruction.reg_image_ids()))
        if reconstruction.camera(image.camera_id).has_bogus_params(
            limits.min_focal_length_ratio, limits.max_focal_length_ratio, limits.max_extra_param
        )
    ]
    for frame_id in bogus:
        reconstruction.deregister_frame(frame_id)
    if bogus:
        reconstruction.update_point_3d_errors()
        reconstruction.write(str(model))
    return reconstruction.num_reg_images(), float(reconstruction.compute_mean_reprojection_error())


def without_misplaced(model: Path, out: Path, error: float, points: float) -> list[str]:
    """Write a model without the images that fit it badly, if there are any.

    Parameters
    ----------
    model : Path
        Folder of the model.
    out : Path
        Folder to make.
    error : float
        Multiple of the images' median reprojection error from which on an image fits badly,
    points : float
        if it also has less than this share of their median number of points.

    Returns
    -------
    list of str
        Names of the images.
    """
    statistics = image_statistics(model)
    if not statistics:
        return []
    usual_points, usual_error = np.median(list(statistics.values()), axis=0)
    misplaced = [
        name
        for name, (seen, mean) in sorted(statistics.items())
        if mean > error * usual_error and seen < points * usual_points
    ]
    if misplaced:
        reconstruction = pycolmap.Reconstruction(str(model))
        deregister(reconstruction, misplaced)
        out.mkdir(parents=True)
        reconstruction.write(str(out))
    return misplaced


def drop_uncertain(
    model: Path, names: Sequence[str], limit: float, usual: float, parts: Sequence[Collection[str]]
) -> dict[str, float]:
    """Take images out of a model, in place, whose positions the points hardly determine.

    Parameters
    ----------
    model : Path
        Folder of the model.
    names : sequence of str
        Images that may go.
    limit : float
        Largest standard deviation of a centre, as a share of the largest distance of a centre from their
        mean.
    usual : float
        The same as a multiple of the median of a part's images.
    parts : sequence of collection of str
        Images that are looked at together: see `free_intrinsics`. Of an image in several, the part counts
        that holds it best.

    Returns
    -------
    dict of str to float
        Those that were taken out, and the standard deviations. Empty where these cannot be computed.
    """
    reconstruction = pycolmap.Reconstruction(str(model))
    centers = np.array([reconstruction.image(i).projection_center() for i in reconstruction.reg_image_ids()])
    spread = float(np.linalg.norm(centers - centers.mean(axis=0), axis=1).max())
    # Each part has its own fixed cameras, so deviations of different parts do not compare.
    found: dict[str, tuple[float, float]] = {}
    for part in parts:
        if set(names).isdisjoint(part) or not (
            deviations := _deviations(part_of(reconstruction, part), spread)
        ):
            continue
        most = max(limit, usual * float(np.median(list(deviations.values()))))
        for name, deviation in deviations.items():
            found[name] = min((deviation / most, deviation), found.get(name, (np.inf, np.inf)))
    dropped = {name: found[name][1] for name in names if name in found and found[name][0] > 1}
    if dropped:
        deregister(reconstruction, dropped)
        reconstruction.update_point_3d_errors()
        reconstruction.write(str(model))
    return dropped


def median_errors(reconstruction: pycolmap.Reconstruction) -> dict[int, float]:
    """Measure how well each image fits its points.

    Parameters
    ----------
    reconstruction : pycolmap.Reconstruction

    Returns
    -------
    dict of int to float
        Median reprojection error in pixels, by image; 0 without points.
    """
    place = {number: reconstruction.point3D(number).xyz for number in reconstruction.point3D_ids()}
    errors = {}
    for image_id in reconstruction.reg_image_ids():
        image = reconstruction.image(image_id)
        rows, numbers = observed(image)
        points = np.array([place[number] for number in numbers], np.float64).reshape(-1, 3)
        pose = image.cam_from_world().matrix()
        points = points @ pose[:, :3].T + pose[:, 3]
        before = points[:, 2] > np.finfo(np.float64).eps  # a point behind the camera has no projection
        lengths = np.zeros(0)
        if before.any():
            projected = np.asarray(reconstruction.camera(image.camera_id).img_from_cam(points[before]))
            lengths = np.linalg.norm(projected - pixels_of(image, rows)[before], axis=1)
            lengths = lengths[np.isfinite(lengths)]
        errors[image_id] = float(np.median(lengths)) if len(lengths) else 0.0
    return errors


def observed(image: pycolmap.Image) -> tuple[list[int], list[int]]:
    """List the features of an image that see a point.

    Parameters
    ----------
    image : pycolmap.Image

    Returns
    -------
    (list of int, list of int)
        Rows of the features, and numbers of the points.
    """
    rows, features = image.get_observation_point2D_idxs(), image.points2D
    return rows, [features[row].point3D_id for row in rows]


def pixels_of(image: pycolmap.Image, rows: Sequence[int]) -> Floats:
    """Read where features of an image are.

    Parameters
    ----------
    image : pycolmap.Image
    rows : sequence of int

    Returns
    -------
    ndarray of float64, shape (N, 2)
        Pixels.
    """
    features = image.points2D
    return np.array([features[row].xy for row in rows], np.float64).reshape(-1, 2)


def part_of(whole: pycolmap.Reconstruction, names: Collection[str]) -> pycolmap.Reconstruction:
    """Take some images of a model, and the points that two of them see.

    Parameters
    ----------
    whole : pycolmap.Reconstruction
    names : collection of str

    Returns
    -------
    pycolmap.Reconstruction
        The same object if these are all images; else without those that share no point with the others.
    """
    placed = {whole.image(image_id).name for image_id in whole.reg_image_ids()}
    if placed <= set(names):
        return whole
    rest = pycolmap.Reconstruction(whole)
    deregister(rest, sorted(placed - set(names)))
    deregister(
        rest, [image.name for image in rest.images.values() if image.has_pose and not image.num_points3D]
    )
    # The covariance stumbles over images that are not placed.
    points = [rest.point3D(point_id) for point_id in sorted(rest.point3D_ids())]
    part = copied(rest, points, own_cameras=False)
    part.update_point_3d_errors()
    return part


def copied(
    given: pycolmap.Reconstruction, points: Sequence[pycolmap.Point3D], *, own_cameras: bool
) -> pycolmap.Reconstruction:
    """Copy a model with some of its points, and with its cameras or one for each image.

    Parameters
    ----------
    given : pycolmap.Reconstruction
    points : sequence of pycolmap.Point3D
        Seen by placed images only.
    own_cameras : bool
        Give each image a camera of its own.

    Returns
    -------
    pycolmap.Reconstruction
        Without images that are not placed.
    """
    made = pycolmap.Reconstruction()
    used = sorted({given.image(image_id).camera_id for image_id in given.reg_image_ids()})
    for camera_id in [] if own_cameras else used:
        made.add_camera_with_trivial_rig(pycolmap.Camera(given.camera(camera_id).todict()))
    for image_id in sorted(given.reg_image_ids()):
        image = given.image(image_id)
        camera_id = image.camera_id
        if own_cameras:
            camera = pycolmap.Camera(given.camera(camera_id).todict())
            camera.camera_id = camera_id = image_id
            made.add_camera_with_trivial_rig(camera)
        add_copy(made, image, camera_id, image.get_observation_point2D_idxs())
    for point in points:
        made.add_point3D(point.xyz, point.track, point.color)
    return made


def deregister(reconstruction: pycolmap.Reconstruction, names: Iterable[str]) -> None:
    """Take images out of a model.

    Parameters
    ----------
    reconstruction : pycolmap.Reconstruction
    names : iterable of str
    """
    images = {reconstruction.image(image_id).name: image_id for image_id in reconstruction.reg_image_ids()}
    for name in names:
        reconstruction.deregister_frame(reconstruction.image(images[name]).frame_id)


def add_copy(
    model: pycolmap.Reconstruction, image: pycolmap.Image, camera_id: int, rows: Sequence[int] | None = None
) -> None:
    """Add a copy of another model's image, placed alike; its points are not copied.

    Parameters
    ----------
    model : pycolmap.Reconstruction
        Has the camera.
    image : pycolmap.Image
    camera_id : int
        The copy's camera.
    rows : sequence of int, optional
        Features whose places matter, the others are at the origin; by default all matter.
    """
    rows = range(image.num_points2D()) if rows is None else rows
    pixels = np.zeros((image.num_points2D(), 2))
    pixels[list(rows)] = pixels_of(image, rows)
    copy = pycolmap.Image(image.name, pixels, camera_id, image.image_id)
    model.add_image_with_trivial_frame(copy, image.cam_from_world())


def _deviations(reconstruction: pycolmap.Reconstruction, spread: float) -> dict[str, float]:
    """Standard deviations of the centres as shares of a spread, but for two that fix the world."""
    images = {reconstruction.image(image_id).name: image_id for image_id in reconstruction.reg_image_ids()}
    wanted = pycolmap.BACovarianceOptions()
    wanted.params = pycolmap.BACovarianceOptionsParams.POSES
    adjuster = adjuster_of(reconstruction, quiet_options())
    covariance = pycolmap.estimate_ba_covariance(wanted, reconstruction, adjuster)
    if covariance is None:
        return {}
    # The covariance is that of residuals with a deviation of a pixel; then their mean length is 1.25.
    pixel = float(reconstruction.compute_mean_reprojection_error()) / 1.25
    deviations = {}
    for name, image_id in images.items():
        matrix = covariance.get_cam_cov_from_world(image_id)
        if matrix is not None and matrix.shape == (6, 6):
            # The centre is -R^T t; a turn of the camera moves it, too.
            x, y, z = reconstruction.image(image_id).cam_from_world().translation
            moves = np.array([[0, -z, y, 1, 0, 0], [z, 0, -x, 0, 1, 0], [-y, x, 0, 0, 0, 1]])
            deviations[name] = pixel * float(np.sqrt(np.trace(moves @ matrix @ moves.T))) / spread
    return deviations


def color_points(model: Path, images: Path) -> None:
    """Give the points of a model the colours of the images, in place.

    Parameters
    ----------
    model : Path
        Folder of the model.
    images : Path
        Folder of the images.
    """
    reconstruction = pycolmap.Reconstruction(str(model))
    reconstruction.extract_colors_for_all_images(str(images))
    reconstruction.write(str(model))


def copy_model(model: Path, out: Path) -> None:
    """Write a COLMAP model, binary or text, as binary.

    Parameters
    ----------
    model : Path
        Folder to read.
    out : Path
        Folder to write.
    """
    read_given_model(model).write(str(out))


def read_given_model(model: Path) -> Any:
    """Read a COLMAP model that a user gave, binary or text.

    Parameters
    ----------
    model : Path
        Folder to read.

    Returns
    -------
    pycolmap.Reconstruction
    """
    reconstruction = pycolmap.Reconstruction(str(model))
    # COLMAP ends the names of a text model at their first space.
    for number, image in model_images(model).items():
        if reconstruction.exists_image(number):
            reconstruction.image(number).name = image.name
    return reconstruction

"""Cameras of models and databases: freed, refined, regrouped, and found from pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from recon3d.colmap.adjustment import adjuster_of, quiet_options
from recon3d.colmap.models import copied, median_errors, part_of
from recon3d.types import SharedCamera

#: Relative standard deviations that are believed. An image without points has none, one with few says
#: too little to be more exact.
_DEVIATIONS = (1e-4, 10.0)
#: Points of each image that decide about its camera.
_POINTS = 300
#: Focal lengths of ordinary lenses, in units of the longer side.
_PLAUSIBLE = (0.3, 3.0)


@dataclass(frozen=True)
class ImageIntrinsics:
    """What an image says about its camera when it shares it with no other.

    Parameters
    ----------
    name : str
    width, height : int
    params : tuple of float
        Of the model's camera model.
    focal : float
        Focal length in pixels.
    deviation : float
        Standard deviation of the focal length, relative to it.
    shared_error, own_error : float
        Median reprojection errors in pixels with the camera as it is shared, and with its own, each after
        the same adjustment.
    """

    name: str
    width: int
    height: int
    params: tuple[float, ...]
    focal: float
    deviation: float
    shared_error: float
    own_error: float


def free_intrinsics(model: Path, names: Collection[str]) -> list[ImageIntrinsics]:
    """Adjust images of a model with a camera for each; the model itself stays.

    A robust loss keeps points that a wrong camera spoiled from deciding. It lowers the errors of most
    points by itself, so the model with shared cameras is adjusted likewise before the two are compared.

    Parameters
    ----------
    model : Path
        Folder of the model.
    names : collection of str
        Images that are adjusted, without the others. The covariance takes memory and time that grow faster
        than with their number.

    Returns
    -------
    list of ImageIntrinsics
        Empty where the points do not determine the cameras.
    """
    whole = pycolmap.Reconstruction(str(model))
    given = part_of(whole, names)
    if given.num_reg_images() < 2:
        return []
    shared = copied(given, _enough_points(given), own_cameras=False)
    # A part of one zoom would give the camera that other parts share this zoom.
    hold = given.num_reg_images() < whole.num_reg_images()
    if not _adjuster(shared, hold_cameras=hold).solve().is_solution_usable():
        return []
    points = [shared.point3D(point_id) for point_id in sorted(shared.point3D_ids())]
    freed = copied(shared, points, own_cameras=True)
    adjuster = _adjuster(freed)
    if not adjuster.solve().is_solution_usable():
        return []
    before, after = median_errors(shared), median_errors(freed)
    options = pycolmap.BACovarianceOptions()
    options.params = pycolmap.BACovarianceOptionsParams.ALL
    covariance = pycolmap.estimate_ba_covariance(options, freed, adjuster)
    if covariance is None:
        return []
    # The median length of residuals with deviation 1 in x and y is 1.18.
    pixel = float(np.median(list(after.values()))) / 1.18
    images = []
    for image_id in sorted(freed.reg_image_ids()):
        camera = freed.camera(freed.image(image_id).camera_id)
        matrix = covariance.get_other_params_cov(camera.params)
        focal = camera.mean_focal_length()
        if matrix is None or focal <= 0:
            return []
        images.append(
            ImageIntrinsics(
                name=freed.image(image_id).name,
                width=camera.width,
                height=camera.height,
                params=tuple(float(p) for p in camera.params),
                focal=float(focal),
                deviation=float(
                    np.clip(np.nan_to_num(pixel * np.sqrt(matrix[0, 0]) / focal, nan=np.inf), *_DEVIATIONS)
                ),
                shared_error=before[image_id],
                own_error=after[image_id],
            )
        )
    return images


def _enough_points(given: pycolmap.Reconstruction) -> list[pycolmap.Point3D]:
    """The points with the longest tracks that give each image `_POINTS`: more only cost time."""
    points = [given.point3D(point_id) for point_id in sorted(given.point3D_ids())]
    points.sort(key=lambda point: -point.track.length())
    seen: Counter[int] = Counter()
    chosen = []
    for point in points:
        images = {element.image_id for element in point.track.elements}
        if any(seen[image_id] < _POINTS for image_id in images):
            seen.update(images)
            chosen.append(point)
    return chosen


def _adjuster(
    reconstruction: pycolmap.Reconstruction, *, hold_cameras: bool = False
) -> pycolmap.CeresBundleAdjuster:
    options = quiet_options()
    if hold_cameras:
        options.refine_focal_length = options.refine_extra_params = False
    options.ceres.solver_options.max_num_iterations = 60
    options.ceres.solver_options.function_tolerance = 1e-6
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    return adjuster_of(reconstruction, options)


def calibrate_from_pairs(database: Path, *, seed: int) -> bool:
    """Give the cameras of a database the focal lengths that the fundamental matrices of its pairs imply.

    Parameters
    ----------
    database : Path
        COLMAP's database with verified matches; its cameras and pairs change.
    seed : int

    Returns
    -------
    bool
        Whether all focal lengths are plausible.
    """
    options = pycolmap.ViewGraphCalibrationOptions()
    options.random_seed = seed
    if not pycolmap.calibrate_view_graph(str(database), options):
        return False
    opened = pycolmap.Database.open(str(database))
    try:
        cameras = opened.read_all_cameras()
    finally:
        opened.close()
    least, most = _PLAUSIBLE
    return all(
        least <= camera.mean_focal_length() / max(camera.width, camera.height) <= most for camera in cameras
    )


def refine_cameras(model: Path) -> None:
    """Adjust the cameras, poses and points of a model, in place.

    Parameters
    ----------
    model : Path
        Folder of the model.
    """
    reconstruction = pycolmap.Reconstruction(str(model))
    pycolmap.bundle_adjustment(reconstruction, quiet_options())
    reconstruction.update_point_3d_errors()
    reconstruction.write(str(model))


def regroup_cameras(database: Path, cameras: Sequence[SharedCamera]) -> None:
    """Give images of a database other cameras; images that are not named keep theirs.

    Parameters
    ----------
    database : Path
        COLMAP's database.
    cameras : sequence of SharedCamera
        Of an image that is named twice, the last counts. One without images keeps its number.
    """
    opened = pycolmap.Database.open(str(database))
    try:
        with pycolmap.DatabaseTransaction(opened):
            images = {image.name: image for image in opened.read_all_images()}
            first = 1 + max(camera.camera_id for camera in opened.read_all_cameras())
            for number, start in enumerate(cameras, first):
                if not start.images:
                    continue
                _add_camera(opened, number, start, images)
    finally:
        opened.close()


def _add_camera(
    opened: pycolmap.Database, number: int, start: SharedCamera, images: Mapping[str, pycolmap.Image]
) -> None:
    camera = opened.read_camera(images[start.images[0]].camera_id)
    camera.camera_id = number
    # What the metadata say of the focal length is in doubt, or the cameras would not be regrouped.
    camera.has_prior_focal_length = start.params is not None
    if start.params is not None:
        camera.params = list(start.params)
    opened.write_camera(camera, use_camera_id=True)
    rig = pycolmap.Rig(rig_id=number)
    rig.add_ref_sensor(camera.sensor_id)
    opened.write_rig(rig, use_rig_id=True)
    for name in start.images:
        image = images[name]
        moved = pycolmap.Image(name=name, camera_id=number, image_id=image.image_id)
        frame = pycolmap.Frame(frame_id=image.frame_id, rig_id=number)
        frame.add_data_id(moved.data_id)
        opened.update_frame(frame)
        moved.frame_id = image.frame_id
        opened.update_image(moved)

"""Made-up models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pycolmap

from recon3d.colmap.adjustment import adjuster_of, quiet_options


def one_camera(images: int, points: int) -> pycolmap.Reconstruction:
    """A model of images that share a camera; each feature has a point, and no error."""
    pycolmap.set_random_seed(0)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 1, 1, images
    options.num_points3D, options.num_points2D_without_point3D = points, 0
    return pycolmap.synthesize_dataset(options)


def walk(zooms: Sequence[float]) -> pycolmap.Reconstruction:
    """Photos along a wall that are zoomed, in a model that gives all the same camera, and is bent by it."""
    rng = np.random.default_rng(1)
    count, width, height, focal = len(zooms), 1000, 750, 900.0
    steps = np.arange(count)
    centers = np.stack([0.4 * steps, 0.4 * np.sin(2.0 * steps), -4 - 0.5 * (steps % 3)], axis=1)
    low, high = (-4, -3, -0.2), (0.4 * count + 4, 3, 2.0)
    points = rng.uniform(low, high, (60 * count, 3))
    model = pycolmap.Reconstruction()
    params = [focal, width / 2, height / 2, 0]
    model.add_camera_with_trivial_rig(
        pycolmap.Camera(model="SIMPLE_RADIAL", width=width, height=height, params=params, camera_id=1)
    )
    seen: dict[int, list[pycolmap.TrackElement]] = {}
    for number, (center, zoom) in enumerate(zip(centers, zooms, strict=True)):
        yaw = 0.25 * np.sin(1.3 * number)
        c, s = np.cos(yaw), np.sin(yaw)
        rotation = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        local = (points - center) @ rotation.T
        pixel = focal * zoom * local[:, :2] / local[:, 2:] + [width / 2, height / 2]
        shown = np.flatnonzero((local[:, 2] > 0.5) & ((pixel > 0) & (pixel < [width, height])).all(axis=1))
        shown = np.sort(rng.choice(shown, min(len(shown), 300), replace=False))
        image = pycolmap.Image(
            f"{number:04d}.png", pixel[shown] + rng.normal(0, 0.5, (len(shown), 2)), 1, number + 1
        )
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(rotation), -rotation @ center)
        model.add_image_with_trivial_frame(image, pose)
        for row, point in enumerate(shown.tolist()):
            seen.setdefault(point, []).append(pycolmap.TrackElement(number + 1, row))
    for point, elements in seen.items():
        if len(elements) > 1:
            model.add_point3D(points[point], pycolmap.Track(elements), np.zeros(3, np.uint8))
    adjuster_of(model, quiet_options()).solve()
    model.update_point_3d_errors()
    return model

"""Models that COLMAP makes up."""

from __future__ import annotations

import pycolmap


def one_camera(images: int, points: int) -> pycolmap.Reconstruction:
    """A model of images that share a camera; each feature has a point, and no error."""
    pycolmap.set_random_seed(0)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 1, 1, images
    options.num_points3D, options.num_points2D_without_point3D = points, 0
    return pycolmap.synthesize_dataset(options)

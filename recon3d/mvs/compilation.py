"""Compiling the kernels once, in one process."""

from __future__ import annotations

import time

import numpy as np

from recon3d.mvs.agreement import Tolerances
from recon3d.mvs.filtering import filtered
from recon3d.mvs.fusion import fuse_view
from recon3d.mvs.initial import inverse_depth_bounds, planes_from_points
from recon3d.mvs.maps import PackedMap, depth_map_of
from recon3d.mvs.stereo import PlaneMap, StereoImage, refine_planes
from recon3d.mvs.sweeps import Sweeps
from recon3d.types import Camera

_SIZE = 32


def compile_kernels() -> float:
    """Run every kernel on a tiny scene, so that it is compiled, or loaded from numba's cache.

    When several processes compile the same kernels at once, each links another mixture of its own and
    the others' code, and with ``fastmath`` their results differ in the last digits. So one goes first.

    Returns
    -------
    float
        Seconds that it took.
    """
    start = time.perf_counter()
    camera = Camera("PINHOLE", _SIZE, _SIZE, (40.0, 40.0, _SIZE / 2, _SIZE / 2))
    columns, rows = np.meshgrid(np.arange(_SIZE), np.arange(_SIZE))
    gray = ((columns * 37 + rows * 91) % 251).astype(np.uint8)
    poses = [np.eye(4), np.eye(4)]
    poses[1][0, 3] = 0.1
    images = [StereoImage(gray, camera, pose) for pose in poses]
    # The other view's shifted by the disparity of a wall in front of the cameras.
    images[1] = StereoImage(np.roll(gray, 2, axis=1), camera, poses[1])
    grid = np.linspace(-0.5, 0.5, 6)
    points = np.array([(x, y, 2.0) for x in grid for y in grid])
    bounds = inverse_depth_bounds(points)
    planes = PlaneMap.from_state(planes_from_points(points, camera, bounds, 0))
    schedule = [Sweeps(0, 1, areas=2, variations=1, step=1.0, tilt=0.1, polish=(0.5,))]
    planes = refine_planes(
        images[0], images[1:], planes, bounds, schedule, best_views=1,
        inverse_depths=[np.full((_SIZE, _SIZE), 0.5, np.float32)], geometric_weight=0.1,
    )  # fmt: skip
    packed = PackedMap.of(depth_map_of("", camera, planes, 2.0))
    neighbors = [(packed, poses[1])]
    loose = Tolerances(pixels=100.0, depth=1.0, degrees=180)
    rgb = np.repeat(gray[..., None], 3, axis=2)
    packed = filtered(
        packed, poses[0], neighbors, min_views=1, tolerances=loose, close_pixels=1.0, min_region=1, rgb=rgb
    )
    fuse_view(packed, poses[0], rgb, 0, neighbors, [1], min_views=1, tolerances=loose)
    return time.perf_counter() - start

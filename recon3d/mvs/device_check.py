"""Whether a CUDA device computes what the CPU does: a small scene, matched by both."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import numpy as np

from recon3d.mvs.stereo import PlaneMap, StereoImage, disparity_step, refine_planes
from recon3d.mvs.sweeps import Sweeps
from recon3d.types import Camera, Floats32

#: Size of the scene's pictures.
SIZE = (96, 72)
_DEPTH, _SLOPE = 2.0, 0.2
#: All that the stage does: two sizes, both patches, all ways of choosing views, random tries, polishing.
_FIRST = (
    Sweeps(1, 2, areas=8, variations=3, step=4.0, tilt=1.0),
    Sweeps(0, 1, areas=4, variations=2, step=1.0, tilt=0.3, views="pixel"),
)
_SECOND = (
    Sweeps(0, 1, areas=2, variations=1, step=0.5, tilt=0.15, views="inherited", narrow=True, polish=(0.35,)),
)
_WEIGHT = 0.02
#: Pixels of disparity, and the difference of costs, up to which two results are the same.
_CLOSE, _CLOSE_COST = 0.1, 0.02
#: Share of the pixels that must be: one decision that rounding turns changes the pixels around it.
_ENOUGH = 0.9


@dataclass(frozen=True)
class DeviceCheck:
    """What came of the check.

    Parameters
    ----------
    device : str
        Its name.
    agreement : float
        Share of the pixels for which the device finds what the CPU does.
    off : float
        Median difference from the CPU, in pixels of disparity.
    seconds : float
        The device's, compilation included.
    """

    device: str
    agreement: float
    off: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.device} agrees with the CPU on {self.agreement:.1%} of the pixels of a small scene "
            f"({_ENOUGH:.0%} are required)"
        )

    @property
    def passed(self) -> bool:
        """Whether the device may be used."""
        return self.agreement >= _ENOUGH


@functools.cache
def check_device() -> DeviceCheck:
    """Match a slanted wall with texture on the device and on the CPU; done once a process.

    Returns
    -------
    DeviceCheck
    """
    from recon3d.mvs.device_stereo import DeviceImages, DeviceMaps, device_name, refine_on_device

    reference, *sources = _wall(*SIZE)
    start = _start(reference.reduced(1))
    bounds = (0.2, 1.0)
    truth = _inverse_depth(reference)
    maps = [_inverse_depth(source) for source in sources]
    # The device first: without one, this ends at once.
    began = time.perf_counter()
    names = [str(index) for index in range(len(sources))]
    images = DeviceImages({"": reference, **dict(zip(names, sources, strict=True))})
    on_device = refine_on_device(images, "", names, start, bounds, _FIRST, best_views=1)
    on_device = refine_on_device(
        images, "", names, on_device, bounds, _SECOND, best_views=1,
        inverse_depths=DeviceMaps(zip(names, maps, strict=True), sum(array.size for array in maps)),
        geometric_weight=_WEIGHT, seed=1,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    on_cpu = refine_planes(reference, sources, start, bounds, _FIRST, best_views=1)
    on_cpu = refine_planes(
        reference, sources, on_cpu, bounds, _SECOND, best_views=1, inverse_depths=maps,
        geometric_weight=_WEIGHT, seed=1,
    )  # fmt: skip
    pixel = disparity_step(reference, sources)
    off = np.abs(on_device.state[0] - on_cpu.state[0]) / pixel
    right = np.abs(on_cpu.state[0] - truth) / pixel
    same = (off < _CLOSE) & (np.abs(on_device.cost - on_cpu.cost) < _CLOSE_COST)
    # A search that finds nothing would agree, too.
    found = float(np.median(right)) < 0.5
    return DeviceCheck(device_name(), float(same.mean()) * found, float(np.median(off)), seconds)


def _wall(width: int, height: int) -> list[StereoImage]:
    """Three views of a plane that is farther to the right; its texture is a sum of waves."""
    camera = Camera("PINHOLE", width, height, (36.0, 36.0, width / 2, height / 2))
    images = []
    for x in (0.0, 0.2, -0.15):
        pose = np.eye(4)
        pose[0, 3] = -x
        blank = StereoImage(np.zeros((height, width), np.uint8), camera, pose)
        depth = 1 / _inverse_depth(blank).astype(np.float64)
        K = blank.K
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        X = (columns - K[0, 2]) / K[0, 0] * depth + x
        Y = (rows - K[1, 2]) / K[1, 1] * depth
        waves = [np.sin(a * X + b * Y + c) for a, b, c in ((9, 3, 0), (4, -8, 1), (6, 7, 2), (-12, 5, 3))]
        images.append(StereoImage((128 + 28 * sum(waves)).astype(np.uint8), camera, pose))
    return images


def _inverse_depth(image: StereoImage) -> Floats32:
    """True inverse depths: the plane is Z = _DEPTH + _SLOPE * X."""
    K = image.K
    height, width = image.gray.shape
    ray = (np.arange(width) - K[0, 2]) / K[0, 0]
    row = (1 - _SLOPE * ray) / (_DEPTH - _SLOPE * image.cam_from_world[0, 3])
    inverse: Floats32 = np.tile(row, (height, 1)).astype(np.float32)
    return inverse


def _start(image: StereoImage) -> PlaneMap:
    """Planes that are off by up to a third."""
    height, width = image.gray.shape
    state = np.zeros((3, height, width), np.float32)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    state[0] = 1 / _DEPTH * (1 + 0.3 * np.sin(5 * columns + 3 * rows))
    return PlaneMap.from_state(state)

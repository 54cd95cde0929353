"""Depth maps by PatchMatch on a CUDA device: what `recon3d.mvs.stereo` does on a CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numba
import numba.cuda
import numpy as np
from numpy.typing import NDArray

from recon3d.errors import OutOfMemory
from recon3d.mvs import device_kernels
from recon3d.mvs.matching_cost import REACH
from recon3d.mvs.stereo import Level, PlaneMap, StereoImage, disparity_step, nearest_pixels
from recon3d.mvs.sweeps import Sweeps, half_sweeps
from recon3d.types import Bytes, Floats32, Ints

# numba has no types.
cuda: Any = numba.cuda
_config: Any = numba.config

#: Share of the free memory that a block of views may take: numba frees late, and the driver needs some.
_USED = 0.8
#: Bytes a pixel: an image, packed, at all sizes together; its map; a view's own image, and its planes at
#: two sizes.
_IMAGE, _MAP, _OWN = 4 * 4 / 3, 4, 5 + 20 * 5 / 4
#: How CUDA's errors name it.
_OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"


def device_bytes(pixels: int, images: int) -> int:
    """Estimate the device memory that views need which are matched one after the other.

    Parameters
    ----------
    pixels : int
        Of the largest image.
    images : int
        Different images among the views and their sources.

    Returns
    -------
    int
    """
    return int(pixels * (images * (_IMAGE + _MAP) + _OWN))


def usable_device_memory() -> int:
    """Ask the device how much memory is free.

    Returns
    -------
    int
        Bytes that a block of views may take.
    """
    context = cuda.current_context()
    # numba keeps what is freed for a while; the simulator, and managers of others, keep nothing.
    pending = getattr(getattr(context, "memory_manager", None), "deallocations", None)
    if pending is not None:
        pending.clear()
    free, _ = context.get_memory_info()
    return int(min(_USED * free, 2**62))  # the simulator has no limit


def device_name() -> str:
    """Name the device that this process uses.

    Returns
    -------
    str
    """
    if _config.ENABLE_CUDASIM:
        return "numba's simulator"
    name = cuda.get_current_device().name
    return name.decode() if isinstance(name, bytes) else str(name)


@contextlib.contextmanager
def telling_out_of_memory() -> Iterator[None]:
    """Turn CUDA's error into this package's.

    Raises
    ------
    OutOfMemory
        The device has too little memory.
    """
    try:
        yield
    except Exception as error:  # the class depends on the package that drives CUDA
        if _OUT_OF_MEMORY not in str(error):
            raise
        raise out_of_memory() from error


def out_of_memory() -> OutOfMemory:
    """Say that the device has too little memory.

    Returns
    -------
    OutOfMemory
    """
    return OutOfMemory(
        "The GPU has too little memory for depth maps of this size.",
        "Lower max_image_size of dense_reconstruction, end other programs on the GPU, or use engine='cpu'.",
    )


class DeviceImages:
    """Images of a block of views in a device's memory, where each is put once for each size.

    Parameters
    ----------
    images : mapping of str to StereoImage
        By the name of their view.
    """

    def __init__(self, images: Mapping[str, StereoImage]) -> None:
        self._images = images
        self._levels: dict[int, tuple[dict[str, StereoImage], Any, dict[str, tuple[int, int, int]]]] = {}

    def at(self, level: int) -> tuple[dict[str, StereoImage], Any, dict[str, tuple[int, int, int]]]:
        """Give the images at 1 / 2**level of their size.

        Parameters
        ----------
        level : int

        Returns
        -------
        dict of str to StereoImage
            In the host's memory.
        device array of uint32, shape (M,)
            All of them, packed, one after the other.
        dict of str to (int, int, int)
            Start, width and height of each there.
        """
        if level not in self._levels:
            reduced = {name: image.reduced(level) for name, image in self._images.items()}
            pool = cuda.device_array(sum(image.gray.size for image in reduced.values()), np.uint32)
            rows, start = {}, 0
            for name, image in reduced.items():
                height, width = image.gray.shape
                # A byte a pixel goes there, and is packed there.
                device_kernels.pack(cuda.to_device(np.ascontiguousarray(image.gray)), start, pool)
                rows[name] = (start, width, height)
                start += width * height
            self._levels[level] = reduced, pool, rows
        return self._levels[level]


class DeviceMaps:
    """Inverse depth maps of a block of views in a device's memory.

    Parameters
    ----------
    maps : iterable of (str, ndarray of float32, shape (H, W))
        Names of their views, and the maps, 0 where unknown; one is held at a time.
    size : int
        Pixels of all.
    """

    def __init__(self, maps: Iterable[tuple[str, Floats32]], size: int) -> None:
        self.pool = cuda.device_array(max(1, size), np.float32)
        self._rows: dict[str, tuple[int, int, int]] = {}
        start = 0
        for name, array in maps:
            height, width = array.shape
            self.pool[start : start + array.size].copy_to_device(np.ascontiguousarray(array).ravel())
            self._rows[name] = (start, width, height)
            start += array.size

    def layout(self, names: Sequence[str]) -> Ints:
        """Tell where maps lie.

        Parameters
        ----------
        names : sequence of str

        Returns
        -------
        ndarray of int32, shape (S, 3)
            Start, width and height of each in `pool`.
        """
        return np.array([self._rows[name] for name in names], np.int32)


class DevicePlanes:
    """A `PlaneMap` in a device's memory.

    Parameters
    ----------
    state, cost, chosen : device array
        See `PlaneMap`.
    """

    def __init__(self, state: Any, cost: Any, chosen: Any) -> None:
        self.state, self.cost, self.chosen = state, cost, chosen

    @classmethod
    def of(cls, planes: PlaneMap) -> DevicePlanes:
        """Copy planes to the device.

        Parameters
        ----------
        planes : PlaneMap

        Returns
        -------
        DevicePlanes
        """
        arrays = (planes.state, planes.cost, planes.chosen)
        return cls(*(cuda.to_device(np.ascontiguousarray(array)) for array in arrays))

    def resized(self, width: int, height: int) -> DevicePlanes:
        """Resize the planes on the device; see `PlaneMap.resized`.

        Parameters
        ----------
        width, height : int
            New size in pixels.

        Returns
        -------
        DevicePlanes
        """
        rows, columns = self.cost.shape
        shape = (height, width)
        new = DevicePlanes(
            cuda.device_array((3, *shape), np.float32),
            cuda.device_array(shape, np.float32),
            cuda.device_array(shape, np.uint32),
        )
        x, y = (
            tuple(cuda.to_device(array) for array in nearest_pixels(old, size))
            for old, size in ((columns, width), (rows, height))
        )
        scale = cuda.to_device(np.array([columns / width, rows / height]))
        device_kernels.resize(self.state, self.chosen, x, y, scale, (new.state, new.cost, new.chosen))
        return new

    def on_host(self) -> PlaneMap:
        """Copy the planes back.

        Returns
        -------
        PlaneMap
        """
        return PlaneMap(self.state.copy_to_host(), self.cost.copy_to_host(), self.chosen.copy_to_host())


def refine_on_device(
    images: DeviceImages,
    reference: str,
    sources: Sequence[str],
    planes: PlaneMap,
    bounds: tuple[float, float],
    schedule: Sequence[Sweeps],
    *,
    best_views: int,
    inverse_depths: DeviceMaps | None = None,
    geometric_weight: float = 0.0,
    seed: int = 0,
) -> PlaneMap:
    """Improve the planes of a view level by level, as `recon3d.mvs.stereo.refine_planes` does.

    Parameters
    ----------
    images : DeviceImages
    reference : str
        The view.
    sources : sequence of str
        At least one, at most `recon3d.mvs.device_kernels.MAX_SOURCES`.
    planes : PlaneMap
        Of any size.
    bounds : tuple of float
        Smallest and largest inverse depth.
    schedule : sequence of Sweeps
        Usually from coarse to fine.
    best_views : int
        Sources whose cost counts.
    inverse_depths : DeviceMaps, optional
        Those of the sources.
    geometric_weight : float
        Cost of a pixel of disagreement with them.
    seed : int
        The result depends on nothing else that is random.

    Returns
    -------
    PlaneMap
        At the size of the schedule's last level.
    """
    if inverse_depths is None:
        geometric_weight = 0.0
        inverse_depths = DeviceMaps([("", np.zeros((1, 1), np.float32))], 1)
        map_layout = _put(inverse_depths.layout([""] * len(sources)))
    else:
        map_layout = _put(inverse_depths.layout(sources))
    current = DevicePlanes.of(planes)
    for sweeps in schedule:
        reduced, packed, rows = images.at(sweeps.level)
        image, others = reduced[reference], [reduced[name] for name in sources]
        height, width = image.gray.shape
        if current.cost.shape != (height, width):
            current = current.resized(width, height)
        pixel = disparity_step(image, others)
        level = Level.of(image, others, sweeps, bounds, best_views, pixel)
        layout: Ints = np.array([rows[name] for name in sources], np.int32)
        fixed = (
            *(padded_on_device(image.gray), current.state, current.cost, current.chosen),
            *(level.pattern, _put(level.steps), packed, _put(layout), _put(level.forth)),
            *(inverse_depths.pool, map_layout, _put(level.back), np.float32(geometric_weight)),
            *(_put(level.camera), _put(level.bounds), *level[6:]),
        )
        polish: dict[int, Any] = {}
        for half in half_sweeps(sweeps, pixel, seed):
            if half.polish.size not in polish:
                polish[half.polish.size] = _put(half.polish)
            device_kernels.sweep(half.color, *fixed, *half[1:-2], polish[half.polish.size], half.seed)
    return current.on_host()


def padded_on_device(gray: Bytes) -> Any:
    """Make in a device's memory what `recon3d.mvs.matching_cost.padded` gives; a byte a pixel goes there.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)

    Returns
    -------
    device array of float32, shape ((H + 2 * REACH) * (W + 2 * REACH),)
    """
    height, width = gray.shape
    made = cuda.device_array((height + 2 * REACH) * (width + 2 * REACH), np.float32)
    device_kernels.pad(_put(np.ascontiguousarray(gray)), made)
    return made


def _put(array: NDArray[Any]) -> Any:
    return cuda.to_device(array)

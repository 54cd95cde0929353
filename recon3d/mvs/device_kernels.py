"""The kernels of PatchMatch for CUDA devices: what the CPU runs, compiled for a GPU.

`improve_pixel` and all that it calls exist once, as Python: numba compiles them for the CPU in
`recon3d.mvs.patchmatch` and `recon3d.mvs.matching_cost`, and here for a device. A thread works on one
pixel. Pixels of one colour of the checkerboard read the other colour only, so all of a colour run in
one launch, in any order, with the same result.

Under numba's simulator (``NUMBA_ENABLE_CUDASIM=1``) the same source runs as Python.
"""

from __future__ import annotations

import functools
import types
from pathlib import Path
from typing import Any

import numba
import numba.cuda
import numpy as np

from recon3d.kernels import keep_compiled
from recon3d.mvs import patchmatch
from recon3d.mvs.matching_cost import REACH, SAMPLES
from recon3d.mvs.patchmatch import TRIED

# numba has no types.
cuda: Any = numba.cuda
_config: Any = numba.config
# Coarse levels keep a GPU busy for a moment only, which is nothing to warn of.
getattr(cuda, "core", numba).config.CUDA_LOW_OCCUPANCY_WARNINGS = 0

#: Source views that a thread has room for; they are bits of 32.
MAX_SOURCES = 32
#: Threads of a block, along x and y. A warp is 16 x 2 threads, which are close in the image.
_THREADS = (16, 8)


@functools.cache
def on_device(compiled: Any) -> Any:
    """Compile the source of a CPU's function, and of all functions that it calls, for a device.

    Parameters
    ----------
    compiled : callable
        A function that `recon3d.kernels.kernel` decorated.

    Returns
    -------
    callable
        What kernels on a device may call.
    """
    source = compiled.py_func
    names = dict(source.__globals__)
    for name in source.__code__.co_names:
        if hasattr(names.get(name), "py_func"):
            names[name] = on_device(names[name])
    function = types.FunctionType(source.__code__, names, source.__name__)
    return cuda.jit(device=True, fastmath=True)(function)


def _kernel(function: Any) -> Any:
    """Compile a function that the host launches, and keep the result as the CPU's kernels are kept."""
    made = cuda.jit(fastmath=True)(function)
    if not _config.ENABLE_CUDASIM:
        keep_compiled(made, Path(__file__).parent)
    return made


_improve_pixel = on_device(patchmatch.improve_pixel)


@_kernel
def _sweep(
    color: int, own: Any, state: Any, cost: Any, chosen: Any, pattern: int, steps: Any,
    packed: Any, layout: Any, forth: Any, maps: Any, map_layout: Any, back: Any, geometric_weight: Any,
    camera: Any, bounds: Any, best_views: int, free: int, worst: Any, same: Any,
    rate: bool, areas: int, variations: int, step: Any, tilt: Any, polish: Any, seed: int,
) -> None:  # fmt: skip
    column, y = cuda.grid(2)
    x = 2 * column + ((y + color) & 1)
    if y < cost.shape[0] and x < cost.shape[1]:
        _improve_pixel(
            x, y, own, state, cost, chosen, pattern, steps,
            packed, layout, forth, maps, map_layout, back, geometric_weight,
            camera, bounds, best_views, free, worst, same,
            rate, areas, variations, step, tilt, polish, seed,
            cuda.local.array((2, SAMPLES), numba.float32),
            cuda.local.array(MAX_SOURCES, numba.float32),
            cuda.local.array(1, numba.uint32),
            cuda.local.array((TRIED, 3), numba.float32),
            cuda.local.array(3, numba.float32),
        )  # fmt: skip


@_kernel
def _pack(gray: Any, start: int, packed: Any) -> None:
    x, y = cuda.grid(2)
    height, width = gray.shape
    if y < height and x < width:
        right = min(x + 1, width - 1)
        below = min(y + 1, height - 1)
        upper = np.uint32(gray[y, x]) | np.uint32(gray[y, right]) << np.uint32(8)
        lower = np.uint32(gray[below, x]) | np.uint32(gray[below, right]) << np.uint32(8)
        packed[start + y * width + x] = upper | lower << np.uint32(16)


@_kernel
def _pad(gray: Any, padded: Any) -> None:
    x, y = cuda.grid(2)
    height, width = gray.shape
    stride = width + 2 * REACH
    if y < height + 2 * REACH and x < stride:
        row = min(max(y - REACH, 0), height - 1)
        column = min(max(x - REACH, 0), width - 1)
        padded[y * stride + x] = gray[row, column]


@_kernel
def _resize(
    old: Any, old_chosen: Any, columns: Any, nearest_column: Any, rows: Any, nearest_row: Any, scale: Any,
    state: Any, cost: Any, chosen: Any,
) -> None:  # fmt: skip
    x, y = cuda.grid(2)
    if y < cost.shape[0] and x < cost.shape[1]:
        column = nearest_column[x]
        row = nearest_row[y]
        gx = old[1, row, column]
        gy = old[2, row, column]
        state[0, y, x] = old[0, row, column] + gx * (columns[x] - column) + gy * (rows[y] - row)
        state[1, y, x] = gx * scale[0]
        state[2, y, x] = gy * scale[1]
        cost[y, x] = 2
        chosen[y, x] = old_chosen[row, column]


def sweep(color: int, own: Any, state: Any, cost: Any, *rest: Any) -> None:
    """Launch `recon3d.mvs.patchmatch.sweep` on the device.

    Parameters
    ----------
    color : {0, 1}
    own, state, cost : device array
    *rest : Any
        The further parameters; arrays are in the device's memory.
    """
    height, width = cost.shape
    _sweep[_blocks((width + 1) // 2, height), _THREADS](color, own, state, cost, *rest)


def pack(gray: Any, start: int, packed: Any) -> None:
    """Launch `recon3d.mvs.matching_cost.pack` on the device.

    Parameters
    ----------
    gray : device array of uint8, shape (H, W)
    start : int
        Where the image starts in `packed`.
    packed : device array of uint32, shape (M,)
        Written.
    """
    height, width = gray.shape
    _pack[_blocks(width, height), _THREADS](gray, start, packed)


def pad(gray: Any, padded: Any) -> None:
    """Launch `recon3d.mvs.matching_cost.padded` on the device.

    Parameters
    ----------
    gray : device array of uint8, shape (H, W)
    padded : device array of float32, shape ((H + 2 * REACH) * (W + 2 * REACH),)
        Written.
    """
    height, width = gray.shape
    _pad[_blocks(width + 2 * REACH, height + 2 * REACH), _THREADS](gray, padded)


def resize(old: Any, old_chosen: Any, columns: Any, rows: Any, scale: Any, new: Any) -> None:
    """Launch `recon3d.mvs.stereo.PlaneMap.resized` on the device.

    Parameters
    ----------
    old, old_chosen : device array
        State, and bits of the views that count.
    columns, rows : (device array, device array)
        See `recon3d.mvs.stereo.nearest_pixels`.
    scale : device array of float64, shape (2,)
        Old size by new size, along x and y.
    new : (device array, device array, device array)
        Written: state, cost, and bits of the views that count.
    """
    height, width = new[1].shape
    _resize[_blocks(width, height), _THREADS](old, old_chosen, *columns, *rows, scale, *new)


def _blocks(width: int, height: int) -> tuple[int, int]:
    return -(-width // _THREADS[0]), -(-height // _THREADS[1])

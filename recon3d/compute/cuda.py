"""Whether a CUDA device can be used, and what for.

pycolmap's ``has_cuda`` only says how its wheel was compiled, so the driver library is asked how many
devices it counts, and the installed wheel which variant it is. recon3d's own kernels need numba-cuda
instead: the target for CUDA that is built into numba 0.68 cannot compile them.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any


def device_count() -> int:
    """Count the CUDA devices.

    Returns
    -------
    int
        0 without a driver.
    """
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def no_device() -> str:
    """Explain why `device_count` is 0, as far as that is known.

    Returns
    -------
    str
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if chosen is None else f" (CUDA_VISIBLE_DEVICES is {chosen!r})"
    return f"the NVIDIA driver counts no device{hidden}"


def visible_devices() -> list[str]:
    """List the devices that this process may use.

    Returns
    -------
    list of str
        Their names in ``CUDA_VISIBLE_DEVICES``.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [str(index) for index in range(device_count())]
    return [name.strip() for name in chosen.split(",") if name.strip()][: device_count()]


def is_installed(package: str) -> bool:
    """Tell whether a distribution is installed.

    Parameters
    ----------
    package : str
        Its name on PyPI.

    Returns
    -------
    bool
    """
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


@functools.cache
def colmap_gpu() -> tuple[bool, str]:
    """Whether COLMAP can use a GPU here, and why not.

    Returns
    -------
    available : bool
    reason : str
    """
    count = device_count()
    if not count:
        return False, no_device()
    if not is_installed("pycolmap-cuda12"):
        return False, "pycolmap is the CPU wheel (pip uninstall pycolmap; pip install pycolmap-cuda12)"
    if is_installed("pycolmap"):
        return False, "pycolmap and pycolmap-cuda12 overwrite each other (pip uninstall both, install one)"
    return True, f"{count} CUDA device{'s' * (count > 1)}"


@functools.cache
def own_gpu() -> tuple[bool, str]:
    """Whether numba can compile recon3d's own kernels for a GPU here, and why not.

    Returns
    -------
    available : bool
    reason : str
    """
    count = device_count()
    if not count:
        return False, no_device()
    if not is_installed("numba-cuda"):
        return False, "numba-cuda is not installed (pip install 'recon3d[cuda]')"
    import numba.cuda

    numba_: Any = numba  # it has no types
    if numba_.config.ENABLE_CUDASIM:
        return False, "NUMBA_ENABLE_CUDASIM is set, so that numba simulates a GPU (unset it)"
    try:
        available = numba_.cuda.is_available()
    except Exception as error:  # of the packages that find and load the compiler
        return False, f"numba cannot use CUDA: {type(error).__name__}: {error} (pip install 'recon3d[cuda]')"
    if not available:
        return False, "numba finds no compiler for CUDA (pip install 'recon3d[cuda]')"
    return True, f"{count} CUDA device{'s' * (count > 1)}"


def gpu_engines() -> tuple[str, ...]:
    """List whose code can use a GPU here.

    Returns
    -------
    tuple of str
        Of "recon3d" and "colmap", in this order.
    """
    return tuple(name for name, (able, _) in (("recon3d", own_gpu()), ("colmap", colmap_gpu())) if able)


def no_gpu_engine() -> str:
    """Explain why `gpu_engines` is not longer.

    Returns
    -------
    str
    """
    if not device_count():
        return no_device()
    reasons = (("recon3d's own engine", own_gpu()), ("COLMAP's", colmap_gpu()))
    return "; ".join(f"{name}: {reason}" for name, (able, reason) in reasons if not able)

"""Whether a CUDA device can be used, asked of the driver itself.

pycolmap's ``has_cuda`` only says how its wheel was compiled, so the driver library is asked how many
devices it counts, and the installed wheel which variant it is.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution


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
def gpu_available() -> tuple[bool, str]:
    """Whether COLMAP can use a GPU here, and why not.

    Returns
    -------
    available : bool
    reason : str
    """
    if not is_installed("pycolmap-cuda12"):
        return False, "pycolmap is the CPU wheel (pip uninstall pycolmap; pip install pycolmap-cuda12)"
    if is_installed("pycolmap"):
        return False, "pycolmap and pycolmap-cuda12 overwrite each other (pip uninstall both, install one)"
    count = device_count()
    if not count:
        return False, no_device()
    return True, f"{count} CUDA device{'s' * (count > 1)}"

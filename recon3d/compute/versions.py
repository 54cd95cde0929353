"""Which code runs here: the versions of recon3d and of what its results depend on."""

from __future__ import annotations

import functools
import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Distributions that results depend on; of COLMAP, either wheel.
PACKAGES = {
    "recon3d": ("recon3d",),
    "Dask": ("distributed",),
    "pycolmap": ("pycolmap", "pycolmap-cuda12"),
    "numba": ("numba",),
    "NumPy": ("numpy",),
}


@functools.cache
def code_digest() -> str:
    """Compute a digest of recon3d's code, which tells checkouts of one version apart.

    Returns
    -------
    str
    """
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.toml")]):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """List the versions of recon3d, Python and the packages that results depend on.

    Returns
    -------
    dict of str to str
    """
    found = {"Python": platform.python_version()}
    for name, candidates in PACKAGES.items():
        found[name] = "none"
        for candidate in candidates:
            try:
                found[name] = version(candidate)
            except PackageNotFoundError:
                continue
            break
    return found

"""``python unpack.py PACK FOLDER``: lay a pack out in a folder, with nothing but the standard library.

Makes ``site`` (Python packages), ``lib`` (shared libraries that this machine lacks) and ``source``
(recon3d and its tests).
"""

from __future__ import annotations

import compileall
import ctypes
import importlib.util
import json
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: numba-cuda 0.30 asks for a name that NumPy 2.5 dropped; recon3d[cuda] installs an older NumPy, but
#: the pack takes the one that the machine has.
_NUMPY = """import numpy
if not hasattr(numpy, "row_stack"):
    numpy.row_stack = numpy.vstack
"""


def main() -> None:
    """Unpack, or say why it cannot be."""
    pack, folder = Path(sys.argv[1]), Path(sys.argv[2])
    began = time.monotonic()
    try:
        manifest = json.loads((pack / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"{pack} is not a pack: {error}. Make one with: python -m tests.gpu.pack {pack}")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if here != manifest["python"]:
        sys.exit(
            f"{pack} is for Python {manifest['python']}, {sys.executable} is {here}. Name another Python."
        )
    absent = [name for name in manifest["assumed"] if importlib.util.find_spec(name) is None]
    if absent:
        sys.exit(f"{sys.executable} lacks {', '.join(absent)}, which the pack does not bring. Install them.")
    archives = ("core", "packages", "source")  # the largest first
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: _unpack(pack / f"{name}.tar.xz", folder), archives))
    keep_missing_libraries(folder / "lib")
    (folder / "site" / "sitecustomize.py").write_text(_NUMPY)
    for name in ("site", "source"):
        compileall.compile_dir(folder / name, quiet=2, workers=0)
    print(f"unpacked in {time.monotonic() - began:.0f} s: recon3d {manifest['commit']}", flush=True)


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive, "r:xz") as opened:
        opened.extractall(folder, filter="data")


def keep_missing_libraries(folder: Path) -> None:
    """Remove the libraries that this machine has itself, and answer for cuRAND.

    pycolmap's core is linked with cuRAND but calls none of its functions, so that any library can
    take the name's place where cuRAND is absent.
    """
    for library in folder.iterdir():
        if library.name != "libcudart.so.12" and _has(library.name):
            library.unlink()
    if (folder / "libcudart.so.12").exists() and not _has("libcurand.so.10"):
        (folder / "libcurand.so.10").symlink_to("libcudart.so.12")


def _has(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()

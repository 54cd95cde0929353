"""``python -m tests.gpu.pack OUT``: all that a check of a GPU needs, in one folder that needs no network.

Needs a network (PyPI and Debian's packages), ``apt-get``, ``dpkg-deb`` and the test data. The folder
gets four parts: ``core.tar.xz`` (the shared object of pycolmap, most of the size), ``packages.tar.xz``
(Python packages and shared libraries), ``source.tar.xz`` (the working tree's recon3d and tests) and
``data`` (photos, their true cameras, the true surface). ``check.sh`` beside them unpacks and checks.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import cv2
import numpy as np

from tests.benchmarks.sets import DATA, DISTANCES, SETS, VOXEL

ROOT = Path(__file__).parents[2]
#: Megabytes that the folder may have, as ``du -sm`` counts.
LIMIT = 55
PHOTOS, PHOTO_SIZE, PHOTO_QUALITY = 16, 800, 90
#: Of photos all around; with 8 of them, 2 could be placed.
FEWEST_PHOTOS = 12

#: What recon3d needs up to dense_reconstruction, and its tests, but for what `ASSUMED` names.
REQUIREMENTS = (
    "dask>=2025.1",
    "distributed>=2025.1",
    "pydantic>=2.7",
    "typer>=0.15",
    "rich>=13.7",
    "psutil>=5.9",
    "jinja2>=3.1",
    "filelock>=3.13",
    "pytest>=8.2",
    "pytest-timeout>=2.3",
)
PYCOLMAP = "4.2.1"
#: Modules that are too large to pack; the machine with the GPU must have them.
ASSUMED = ("numpy", "scipy", "numba", "cv2", "PIL")
#: Debian's packages of the libraries that pycolmap's core is linked with.
DEBIAN = (
    "libsm6",
    "libice6",
    "libx11-6",
    "libxext6",
    "libxcb1",
    "libxau6",
    "libxdmcp6",
    "libbsd0",
    "libmd0",
    "libuuid1",
)
#: Files of wheels that nothing here reads.
_UNUSED = ("*/tests/*", "*.pyi", "distributed/http/static/*", "pycolmap/panorama*", "*/sboms/*", "*.h")
_FILTERS = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 6}]


class PackError(Exception):
    """What is missing, and what to do."""


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder to make; an existing pack there is replaced")
    parser.add_argument("--python", default="3.12", help="CPython of the machine with the GPU")
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--cpu", action="store_true", help="pack pycolmap without CUDA, to try the check out")
    given = parser.parse_args()
    try:
        size = pack(given.out, given.python, given.photos, cuda=not given.cpu)
    except PackError as error:
        sys.exit(f"pack.py: {error}")
    print(f"{given.out}: {size} MB. Check with: bash {given.out / 'check.sh'} {given.out}")


def pack(out: Path, python: str, photos: int, *, cuda: bool) -> int:
    """Make the folder and return its size in megabytes.

    Raises
    ------
    PackError
        Something cannot be had, `out` holds other things, or the folder is too large.
    """
    if out.exists() and any(out.iterdir()) and not (out / "manifest.json").exists():
        raise PackError(f"{out} holds something else. Name a new folder.")
    if photos < FEWEST_PHOTOS:
        raise PackError(f"{photos} photos overlap too little. Take {FEWEST_PHOTOS} or more.")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recon3d-gpu-pack"
    cache.mkdir(parents=True, exist_ok=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Not beside `out`, which may lie in the working tree that is packed.
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        made, tree = Path(temporary) / "made", Path(temporary) / "tree"
        made.mkdir()
        wheels = download_wheels(cache / f"wheels-{python}", python, cuda=cuda)
        core = unpack_wheels(wheels, tree)
        libraries = download_libraries(cache / "debian", tree / "lib")
        say("compressing Python packages and libraries")
        write_archive(made / "packages.tar.xz", tree, sorted(p for p in tree.rglob("*") if p.is_file()))
        shutil.copyfile(compressed_core(core, cache), made / "core.tar.xz")
        commit = pack_source(made)
        pack_data(made / "data", photos)
        manifest = {
            "python": python,
            "cuda": cuda,
            "assumed": ASSUMED,
            "commit": commit,
            "wheels": [wheel.name for wheel in wheels],
            "libraries": libraries,
        }
        (made / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        size = megabytes(made)
        if size > LIMIT:
            raise PackError(f"The pack has {size} MB, {LIMIT} are allowed. Take fewer photos, or pack less.")
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(made, out)
    return size


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def megabytes(folder: Path) -> int:
    """Size as ``du -sm`` has it."""
    return int(subprocess.check_output(["du", "-sm", folder], text=True).split()[0])


def download_wheels(folder: Path, python: str, *, cuda: bool) -> list[Path]:
    """Get wheels of `REQUIREMENTS` and pycolmap for CPython `python` on Linux."""
    folder = folder / ("cuda" if cuda else "cpu")
    folder.mkdir(parents=True, exist_ok=True)
    say(f"wheels for Python {python}")
    platforms = ["manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "linux_x86_64"]
    tag = "cp" + python.replace(".", "")
    common = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    common += ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", "--dest", folder]
    common += [part for abi in (tag, "abi3", "none") for part in ("--abi", abi)]
    common += [part for name in platforms for part in ("--platform", name)]
    name = "pycolmap-cuda12" if cuda else "pycolmap"
    alone = [f"{name}=={PYCOLMAP}", *(["nvidia-cuda-runtime-cu12"] if cuda else [])]
    before = time.time() - 1
    for wanted in (list(REQUIREMENTS), ["--no-deps", *alone]):
        done = subprocess.run([*common, *wanted], capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or [done.stderr.strip()]
            raise PackError(
                f"pip cannot download wheels: {lines[-1]}\nCheck the network, and --python {python}."
            )
    # pip keeps older versions from earlier calls beside the new ones.
    newest: dict[str, Path] = {}
    for wheel in sorted(folder.glob("*.whl"), key=lambda path: path.stat().st_mtime):
        newest[wheel.name.split("-")[0].lower()] = wheel
    for wheel in folder.glob("*.whl"):
        if wheel not in newest.values():
            wheel.unlink()
    say(f"{len(newest)} wheels, {sum(w.stat().st_mtime >= before for w in newest.values())} of them new")
    return sorted(newest.values())


def unpack_wheels(wheels: Sequence[Path], tree: Path) -> Path:
    """Lay the wheels out in ``site`` and CUDA's runtime in ``lib``; returns the wheel with the core."""
    core = None
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                name = entry.filename
                if name.startswith("nvidia/"):
                    if name.endswith("libcudart.so.12"):
                        (tree / "lib").mkdir(parents=True, exist_ok=True)
                        (tree / "lib" / "libcudart.so.12").write_bytes(archive.read(entry))
                elif is_core(name):
                    core = wheel
                elif not (entry.is_dir() or ".data/" in name or any(fnmatch(name, p) for p in _UNUSED)):
                    archive.extract(entry, tree / "site")
    if core is None:
        raise PackError("No wheel holds pycolmap's core. Delete the cache folder and try again.")
    return core


def is_core(name: str) -> bool:
    """Whether a wheel's file is the shared object of pycolmap."""
    return fnmatch(name, "pycolmap/_core.*.so")


def compressed_core(wheel: Path, cache: Path) -> Path:
    """The wheel's core as .tar.xz: a third smaller than in the wheel, but it takes a minute or two."""
    with zipfile.ZipFile(wheel) as archive:
        entry = next(e for e in archive.infolist() if is_core(e.filename))
        target = cache / f"core-{entry.CRC:08x}-{entry.file_size}.tar.xz"
        if target.exists():
            say("pycolmap's core was compressed before")
            return target
        say(f"compressing pycolmap's core ({entry.file_size / 1e6:.0f} MB): this takes a minute or two, once")
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            archive.extract(entry, Path(temporary) / "site")
            packed = Path(temporary) / "core.tar.xz"
            write_archive(packed, Path(temporary), [Path(temporary) / "site" / entry.filename])
            packed.rename(target)
    say(f"core: {target.stat().st_size / 1e6:.1f} MB")
    return target


def download_libraries(cache: Path, target: Path) -> list[str]:
    """Put the shared libraries of Debian's packages into `target`; returns the packages' file names."""
    cache.mkdir(parents=True, exist_ok=True)
    target.mkdir(parents=True, exist_ok=True)
    say("X11's libraries from Debian")
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise PackError(f"{tool} is missing: pack on Debian or Ubuntu.")
    names = []
    for package in DEBIAN:
        files = sorted(cache.glob(f"{package}_*.deb"))
        if not files:
            command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]
            done = subprocess.run(command, cwd=cache, capture_output=True, text=True, check=False)
            files = sorted(cache.glob(f"{package}_*.deb"))
            if done.returncode or not files:
                text = done.stderr.strip() or "nothing came"
                raise PackError(f"apt-get cannot download {package}: {text}\nTry apt-get update first.")
        with tempfile.TemporaryDirectory() as temporary:
            subprocess.run(["dpkg-deb", "-x", files[-1], temporary], check=True)
            found = [p for p in Path(temporary).rglob("lib*.so.*") if p.is_symlink() or p.is_file()]
            for link in (p for p in found if p.is_symlink()):
                # Under the name that the loader asks for; archives keep no links.
                shutil.copyfile(link.resolve(), target / link.name)
            if not any(p.is_symlink() for p in found):
                raise PackError(f"{files[-1].name} holds no shared library.")
        names.append(files[-1].name)
    return names


def pack_source(made: Path) -> str:
    """Pack the working tree, tracked or not, as far as the check needs it; returns its commit."""
    say("recon3d and its tests")
    listed = subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard", "-z", "recon3d", "tests", "pyproject.toml"],
        cwd=ROOT,
        text=True,
    )
    names = sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})
    kept = [n for n in names if not n.startswith("tests/") or n.endswith(".py")]
    write_archive(made / "source.tar.xz", ROOT, [ROOT / name for name in kept], "source/")
    for name in ("check.sh", "unpack.py"):
        shutil.copyfile(ROOT / "tests" / "gpu" / name, made / name)
    commit = subprocess.check_output(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, text=True).strip()
    changed = subprocess.check_output(
        ["git", "status", "--porcelain", "recon3d", "tests"], cwd=ROOT, text=True
    )
    return commit + (" and changes" if changed else "")


def write_archive(path: Path, root: Path, files: Sequence[Path], prefix: str = "") -> None:
    """Write a .tar.xz, whose bytes depend on the files alone."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    with lzma.open(path, "wb", filters=_FILTERS) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for file in files:
            archive.add(file, prefix + file.relative_to(root).as_posix(), filter=plain)


def pack_data(target: Path, count: int) -> None:
    """Scale photos of the dancing girl with their true cameras, and add the true surface."""
    say(f"{count} photos of {PHOTO_SIZE} pixels")
    girl = SETS["girl"]
    photos, model, truth = DATA / girl.images, DATA / str(girl.poses), DATA / str(girl.truth)
    if not (photos.is_dir() and model.is_dir() and truth.is_file()):
        raise PackError(
            f"{photos.parent} is missing or incomplete. Set RECON3D_TEST_DATA to the data's folder."
        )
    (target / "images").mkdir(parents=True)
    (target / "model").mkdir()
    camera = next(_rows(model / "cameras.txt")).split()
    width, height = int(camera[2]), int(camera[3])
    scale = PHOTO_SIZE / max(width, height)
    parameters = [float(value) for value in camera[4:]]
    # Focal length and centre are in pixels; the distortion that follows is not.
    scaled = [value * scale for value in parameters[:3]] + parameters[3:]
    size = (round(width * scale), round(height * scale))
    line = [camera[0], camera[1], *map(str, size), *map(repr, scaled)]
    (target / "model" / "cameras.txt").write_text(" ".join(line) + "\n")
    images = list(_rows(model / "images.txt"))
    chosen = around(images, min(count, len(images)))
    (target / "model" / "images.txt").write_text("".join(f"{row}\n\n" for row in chosen))
    (target / "model" / "points3D.txt").write_text("")
    for row in chosen:
        name = row.split()[9]
        image = cv2.imread(str(photos / name))
        if image is None:
            raise PackError(f"{photos / name} cannot be read.")
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(target / "images" / name), small, [cv2.IMWRITE_JPEG_QUALITY, PHOTO_QUALITY])
    shutil.copyfile(truth, target / "truth.ply")
    shutil.copyfile(photos.parent / "LICENCE.txt", target / "LICENCE.txt")
    scoring = {"box": girl.box, "distances": DISTANCES, "voxel": VOXEL}
    (target / "scoring.json").write_text(json.dumps(scoring) + "\n")


def around(rows: Sequence[str], count: int) -> list[str]:
    """Of images.txt's rows, `count` evenly spaced by where their cameras stand around the vertical axis."""

    def azimuth(row: str) -> float:
        w, x, y, z = (float(value) for value in row.split()[1:5])
        t = np.array([float(value) for value in row.split()[5:8]])
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        center = -rotation.T @ t
        return float(np.arctan2(center[1], center[0]))

    ordered = sorted(rows, key=azimuth)
    kept = {ordered[k * len(ordered) // count] for k in range(count)}
    return [row for row in rows if row in kept]


def _rows(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


if __name__ == "__main__":
    main()

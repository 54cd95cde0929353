"""What `recon3d doctor` looks at."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from recon3d.cli.trials import TRIALS
from recon3d.compute import usable_cores, usable_memory
from recon3d.compute.cuda import colmap_gpu, device_count, is_installed, no_device, own_gpu

#: What a bare Debian lacks: shared library -> package.
_DEBIAN = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libX11.so.6": "libx11-6",
    "libgomp.so.1": "libgomp1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libXext.so.6": "libxext6",
}
#: What pycolmap-cuda12 needs of CUDA: shared library -> wheel.
_WHEELS = {
    "libcudart.so.12": "nvidia-cuda-runtime-cu12",
    "libcurand.so.10": "nvidia-curand-cu12",
}
_MODULES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "numba": "numba",
    "pycolmap": "pycolmap",
    "opencv-python": "cv2",
    "open3d": "open3d",
    "av": "av",
    "dask": "dask",
    "distributed": "distributed",
}
_GIGABYTE = 1e9
#: Seconds that a trial may take.
_PATIENCE = 120
_TRIAL_FIXES = {
    "compiling": "Set NUMBA_CACHE_DIR to a folder that you may write to; then reinstall numba and llvmlite.",
    "worker": "Allow connections from this machine to itself (127.0.0.1), and let TMPDIR be writable.",
    "project": "Set TMPDIR to a folder that you may write to, on a disk with free space.",
    "video": "pip install --force-reinstall av recon3d",
    "photo": "pip install --force-reinstall pillow opencv-python",
    "gpu": "Use engine='colmap-cuda' or 'cpu', and report this.",
}
_GPU_FIX = "Follow the command in brackets to use the GPU."


@dataclass(frozen=True)
class Check:
    """One finding.

    Parameters
    ----------
    name : str
    status : {"ok", "note", "problem"}
    found : str
    fix : str
        What to do; empty when nothing is to be done.
    """

    name: str
    status: Literal["ok", "note", "problem"]
    found: str
    fix: str = ""


def examine() -> list[Check]:
    """Examine this machine.

    Returns
    -------
    list of Check
        One row for each thing that recon3d needs.
    """
    checks = [_python(), _processor(), _memory(), _disk()]
    checks += [_module(package, module) for package, module in _MODULES.items()]
    checks += [_trial(name) for name in TRIALS if name != "gpu"]
    return [*checks, *_gpus()]


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _processor() -> Check:
    return Check("processor", "ok", f"{usable_cores()} cores, {platform.machine()}")


def _memory() -> Check:
    size = usable_memory() / _GIGABYTE
    if size < 3.5:
        return Check("memory", "note", f"{size:.1f} GB", "Use quality low; medium wants 4 GB or more.")
    return Check("memory", "ok", f"{size:.1f} GB")


def _disk() -> Check:
    free = shutil.disk_usage(tempfile.gettempdir()).free / _GIGABYTE
    if free < 2:
        return Check("disk", "note", f"{free:.1f} GB free for temporary files", "Free some space.")
    return Check("disk", "ok", f"{free:.0f} GB free for temporary files")


def _module(package: str, module: str) -> Check:
    """Import a module in a process of its own: a broken native library may abort it."""
    try:
        found = version(package)
    except PackageNotFoundError:
        if package == "pycolmap" and is_installed("pycolmap-cuda12"):
            found = version("pycolmap-cuda12") + " (CUDA)"
        else:
            return Check(package, "problem", "not installed", f"pip install {package}")
    try:
        done = _in_python("-c", f"import {module}")
    except OSError as error:
        return _no_python(package, error)
    except subprocess.TimeoutExpired:
        text = f"{found} was not imported within {_PATIENCE} s"
        return Check(package, "problem", text, f"pip install --force-reinstall {package}")
    if done.returncode == 0:
        return Check(package, "ok", found)
    text = _cause(done.stderr) or f"exit code {done.returncode}"
    return Check(package, "problem", f"{found} cannot be imported: {text}", _library_fix(text))


def _trial(name: str) -> Check:
    """Do a small piece of real work, in a process of its own."""
    try:
        done = _in_python("-m", "recon3d.cli.trials", name)
    except OSError as error:
        return _no_python(name, error)
    except subprocess.TimeoutExpired:
        return Check(name, "problem", f"no end after {_PATIENCE} s", _TRIAL_FIXES[name])
    if done.returncode:
        text = _cause(done.stderr) or f"exit code {done.returncode}"
        return Check(name, "problem", f"failed: {text}", _TRIAL_FIXES[name])
    found, *note = done.stdout.splitlines()
    return Check(name, "note", found, note[1]) if note else Check(name, "ok", found)


def _in_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)


def _no_python(name: str, error: OSError) -> Check:
    return Check(
        name,
        "problem",
        f"not tried: Python ({sys.executable}) cannot be started: {error.strerror}",
        "Check the permissions of this file, or install recon3d in a new environment.",
    )


def _cause(stderr: str) -> str:
    """The line that says why an import failed: a missing library's, where a later error hides it."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    missing = [line for line in lines if "cannot open shared object file" in line]
    return (missing or lines or [""])[-1]


def _library_fix(text: str) -> str:
    for library, debian in _DEBIAN.items():
        if library in text:
            return f"apt-get install {debian}    (Debian, Ubuntu: it has {library})"
    for library, wheel in _WHEELS.items():
        if library in text:
            return f"pip install {wheel}"
    return "pip install --force-reinstall the package; the text above names the cause."


def _gpus() -> list[Check]:
    """What a GPU would be used for, engine by engine."""
    if not device_count():
        return [Check("GPU", "ok", f"none: {no_device()}; the CPU engine is used")]
    return [_own_gpu(), _colmap_gpu()]


def _own_gpu() -> Check:
    name = "GPU: depth maps"
    available, reason = own_gpu()
    if available:
        return replace(_trial("gpu"), name=name)
    return Check(name, "note", f"not by recon3d's own engine: {reason}", _GPU_FIX)


def _colmap_gpu() -> Check:
    name = "GPU: features, matches"
    available, reason = colmap_gpu()
    if available:
        return Check(name, "ok", f"by COLMAP: {reason}")
    return Check(name, "note", f"from the CPU: {reason}", _GPU_FIX)

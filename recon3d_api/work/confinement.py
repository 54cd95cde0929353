"""What a run, and whatever else opens strangers' files with the library, can reach.

Landlock leaves a run its own project, a temporary folder of its own, a cache, the installation and the
GPU. The database, the secret key, other projects and the home folder are out of reach, also for the
workers that it starts. The network stays: a run talks to its workers through it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url

import recon3d
from recon3d_api.files import landlock
from recon3d_api.files.storage import Storage
from recon3d_api.settings import Settings
from recon3d_api.work import processes

#: Libraries and tools.
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/opt/cuda", "/nix/store", "/gnu/store")
#: Not all of /etc: it may hold the service's settings.
_CONFIGURATION = (
    *("alternatives", "ca-certificates", "dask", "fonts", "glvnd", "group", "host.conf", "hosts"),
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "machine-id", "mime.types"),
    *("nsswitch.conf", "OpenCL", "os-release", "passwd", "pki", "protocols", "resolv.conf", "services"),
    *("ssl", "timezone", "vulkan"),
)
_KERNEL = ("/proc", "/sys", "/run/systemd/resolve", "/run/nvidia-persistenced", "/var/cache/fontconfig")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_GPUS = ("nvidia*", "dri", "kfd")
_SHARED_MEMORY = "/dev/shm"
_PREFIX = "recon3d-run-"
#: Variables that name folders with libraries or settings.
_NAMED = ("PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "DASK_CONFIG")


@contextlib.contextmanager
def confined(storage: Storage, folder: str, mark: str) -> Iterator[list[str]]:
    """Give the beginning of a command line that confines the command after it to one project.

    Parameters
    ----------
    storage : Storage
    folder : str
        Name of the project's folder.
    mark : str
        Names the temporary folder, which is gone afterwards.

    Yields
    ------
    list of str
        The calling thread must start the process, and live as long: the kernel ends it with the thread.
    """
    temporary, lock = _locked_folder(mark)
    try:
        yield processes.launcher(_rules(storage, folder, temporary))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)


def remove_leftovers() -> None:
    """Remove the temporary folders of killed processes: nobody holds their locks any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody uses it, removed it, or put something else there
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid == os.getuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _locked_folder(mark: str) -> tuple[Path, int]:
    """A new temporary folder, and the descriptor that holds its lock as long as this process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{mark}-"))
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # taken for a leftover before the lock
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if folder.exists():
            return folder, descriptor
        os.close(descriptor)


def confinement_problem(settings: Settings) -> str:
    """Tell what runs are not kept from.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    str
        Empty when nothing is missing.
    """
    if not landlock.version():
        return "The kernel has no Landlock: a run can read all that the service can read"
    if settings.scheduler:
        where = f"Runs send their work to {settings.scheduler}"
        return f"{where}: Landlock confines the runs, but not the workers there"
    return ""


def _rules(storage: Storage, folder: str, temporary: Path) -> str:
    """The launcher's orders, as JSON; empty without Landlock."""
    if not landlock.version():
        return "{}"
    settings = storage.settings
    cache = settings.data_dir / "cache"
    # numba executes what it finds there, so this is for confined processes alone.
    compiled = Path(os.environ.get("NUMBA_CACHE_DIR") or cache / "numba")
    for path in (cache, compiled):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    gpus = [str(path) for pattern in _GPUS for path in Path("/dev").glob(pattern)]
    rules = {
        "read": sorted({str(path.resolve()) for path in _readable()}),
        "write": [str(storage.root(folder)), str(temporary), str(cache), str(compiled), _SHARED_MEMORY],
        # CUDA names its threads by writing to /proc.
        "devices": [*(f"/dev/{name}" for name in _DEVICES), *gpus, *(["/proc"] if gpus else [])],
        "hidden": [str(path.resolve()) for path in (settings.data_dir, *_database(settings))],
        "environment": {
            "TMPDIR": str(temporary),
            "NUMBA_CACHE_DIR": str(compiled),
            "XDG_CACHE_HOME": str(cache),
            "MPLCONFIGDIR": str(cache / "matplotlib"),
            "CUDA_CACHE_PATH": str(cache / "cuda"),
        },
    }
    return json.dumps(rules)


def _readable() -> Iterator[Path]:
    yield from map(Path, (*_SYSTEM, *_KERNEL))
    yield from (Path("/etc", name) for name in _CONFIGURATION)
    yield from map(Path, (sys.prefix, sys.base_prefix, sys.executable))
    # The folders that they are imported from: Python lists them.
    yield from (Path(recon3d.__file__).parents[1], Path(__file__).parents[2])
    # `python -m` puts the folder that it works in on the module path.
    modules = [part for part in sys.path if Path(part) != Path.cwd()]
    named = [part for name in _NAMED for part in os.environ.get(name, "").split(os.pathsep)]
    yield from (Path(part) for part in (*modules, *named) if Path(part).is_absolute())
    with contextlib.suppress(RuntimeError):  # a user without a home
        yield Path.home() / ".config" / "dask"


def _database(settings: Settings) -> list[Path]:
    """The files of SQLite."""
    url = make_url(settings.resolved_database_url)
    if not url.drivername.startswith("sqlite") or not url.database:
        return []
    return [Path(f"{url.database}{end}") for end in ("", "-wal", "-shm", "-journal")]

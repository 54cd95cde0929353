"""Decodes what strangers sent, in processes that can do little else: checks uploads, shrinks pictures.

The server starts `main` in a process of its own, with a clean environment. That process imports what
is needed once, and then forks for each request: a child decodes what strangers send, so it gets
limits and a sandbox, handles one request and ends. Requests and answers are lines of JSON on stdin
and stdout.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filelock
from PIL import Image, ImageOps

import recon3d
from recon3d import InputError, Project, ProjectError, Recon3DError
from recon3d_api.files import landlock
from recon3d_api.files.content import COPY_AGAIN, content_kind, content_problem
from recon3d_api.reserve import DISK_FULL, disk_is_full

_MEMORY = 8 << 30
_CPU_SECONDS = 600
_OPEN_FILES = 256
#: Beyond the user's threads at the start; decoders have a few.
_THREADS = 128
#: An answer of a child that was taken over is not read without end.
_MAX_ANSWER = 4 << 20
#: Ends the names of depth maps.
DEPTH_MAP = ".npz"
#: A depth map is drawn at its own size first.
_WHOLE = 1 << 14
#: What libraries read beside the modules.
_SYSTEM = (
    *("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/usr/share/zoneinfo"),
    *("/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom", "/proc/self"),
    *("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/sys/fs/cgroup"),
)


def decoding_problem(path: Path) -> str:
    """Decode a photo to find out whether its pixels are whole.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        What is wrong; empty when nothing is.
    """
    kind = content_kind(path)
    if kind not in ("jpeg", "png"):
        return ""
    try:
        with Image.open(path, formats=[kind.upper()]) as image:
            image.draft("L", (64, 64))
            image.load()
    except Image.DecompressionBombError:
        return "has too many pixels"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning) as error:
        return f"is damaged: {error}; {COPY_AGAIN}"
    return ""


def take(request: dict[str, Any]) -> dict[str, Any]:
    """Check files and add them to a project, all or none.

    Parameters
    ----------
    request : dict
        ``project`` (folder), ``kind`` ("video" or "photo") and ``files``, each with ``path`` and
        the checked ``name``.

    Returns
    -------
    dict of str to Any
        What was added, or why nothing was.
    """
    root = Path(request["project"])
    hidden = []
    try:
        paths = []
        for row in request["files"]:
            path = Path(row["path"])
            if problem := content_problem(path, path.suffix) or decoding_problem(path):
                return {"status": 400, "error": f"{row['name']} {problem}."}
            # The library keeps the name that a file has.
            own = path.parent / path.stem
            own.mkdir()
            paths.append(path.rename(own / row["name"]))
            hidden.append(f"{own}/")
        root.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root.parent / ".intake.lock", timeout=300):
            project = Project.create(root, exist_ok=True)
            added = project.add_photos(paths) if request["kind"] == "photo" else [project.add_video(paths[0])]
    except ProjectError as error:
        if "Another process" in error.message:
            return {"status": 409, "error": "The project is being worked on; wait for it, or cancel it."}
        return _not_stored(error.__cause__)
    except Recon3DError as error:
        message = f"{error.message} {error.hint}".strip()
        for folder in hidden:
            message = message.replace(folder, "")
        return {"status": 400, "error": message}
    except OSError as error:
        return _not_stored(error)
    return {"status": 200, "files": [{"path": f"inputs/{row.path}", "name": row.name} for row in added]}


def _not_stored(cause: BaseException | None) -> dict[str, Any]:
    """The answer when the server, and not the files, is at fault."""
    if cause is not None and disk_is_full(cause):
        return {"status": 507, "error": DISK_FULL}
    why = cause.strerror if isinstance(cause, OSError) else "the project is damaged"
    return {"status": 500, "error": f"The server cannot store the files: {why}. Tell its operator."}


def shrink(request: dict[str, Any]) -> dict[str, Any]:
    """Make a smaller picture of a photo, a frame or a depth map, as JPEG.

    Parameters
    ----------
    request : dict
        ``source``, ``target`` (paths) and ``width``.

    Returns
    -------
    dict of str to Any
        Whether it was made.
    """
    target, width = Path(request["target"]), int(request["width"])
    temporary = target.with_name(f".{uuid.uuid4().hex}")
    try:
        source = Path(request["source"])
        picture = _depth(source) if source.suffix == DEPTH_MAP else _photo(source, width)
        picture.thumbnail((width, 1 << 20))
        picture.save(temporary, "JPEG", quality=85)
        os.replace(temporary, target)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        temporary.unlink(missing_ok=True)
        if disk_is_full(error):
            return {"status": 507, "error": DISK_FULL}
        return {"status": 400, "error": f"{Path(request['source']).name} cannot be shown: {error}"}
    except InputError as error:
        return {"status": 404, "error": f"{error.message.replace(f'{source.parent}/', '')} {error.hint}"}
    return {"status": 200}


def _photo(source: Path, width: int) -> Image.Image:
    with Image.open(source, formats=["JPEG", "PNG", "TIFF"]) as image:
        image.draft("RGB", (width, width))
        deep = image.mode.startswith("I")
        seen = image.point(lambda value: value / 256).convert("L") if deep else image  # 16 bits
        return ImageOps.exif_transpose(seen).convert("RGB")


def _depth(source: Path) -> Image.Image:
    return Image.fromarray(recon3d.depth_picture(source, _WHOLE))


# --- the process ------------------------------------------------------------------------------------


def confine(request: dict[str, Any], modules: Sequence[Path]) -> None:
    """Take everything from this process that a request does not need.

    Parameters
    ----------
    request : dict
        ``data`` (the data folder), ``project``, ``upload`` (folder), ``largest`` (bytes of a file).
    modules : sequence of Path
        Folders of Python modules and libraries.
    """
    for limit, value in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_FSIZE, int(request["largest"])),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, _threads_of_user() + _THREADS),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    project = Path(request["project"]).parent
    if request["kind"] != "picture":  # a deleted project is not made anew for a picture of it
        with contextlib.suppress(OSError):  # `take` tells what is wrong
            project.mkdir(parents=True, exist_ok=True)
    data = Path(request["data"]).resolve()  # modules are, too
    readable = [part for root in (*modules, *map(Path, _SYSTEM)) for part in landlock.without(root, data)]
    landlock.restrict(readable, [Path(request["upload"]), project])


def main() -> None:
    """Answer requests until stdin ends."""
    Image.init()
    modules = [Path(part).resolve() for part in (*sys.path, sys.prefix, sys.base_prefix) if part]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the server's to handle
    for line in iter(sys.stdin.buffer.readline, b""):
        answer = _in_child(json.loads(line), modules)
        if answer is None:
            return
        sys.stdout.buffer.write(answer.replace(b"\n", b" ") + b"\n")
        sys.stdout.buffer.flush()


def _in_child(request: dict[str, Any], modules: Sequence[Path]) -> bytes | None:
    """Answer of a child; empty when it died, None when the server is gone."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(request, modules, writing)
    os.close(writing)
    answer = b""
    try:
        waits = select.poll()
        waits.register(reading, select.POLLIN)
        waits.register(0, select.POLLIN)
        while len(answer) <= _MAX_ANSWER:
            ready = dict(waits.poll())
            if 0 in ready:
                return None  # the server sends one request at a time: its end of the pipe is closed
            piece = os.read(reading, 1 << 16)
            if not piece:
                return answer
            answer += piece
        return b""
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _answer(request: dict[str, Any], modules: Sequence[Path], writing: int) -> None:
    """The child's life."""
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(writing, 1)
        os.close(writing)
        try:
            confine(request, modules)
        except OSError as error:
            answer = json.dumps(
                {"status": 500, "error": f"Uploads cannot be checked safely: {error}"}
            ).encode()
        else:
            work = shrink if request["kind"] == "picture" else take
            answer = json.dumps(work(request)).encode()
        while answer:
            answer = answer[os.write(1, answer) :]
    except BaseException as error:  # nothing may unwind into the parent's loop
        with contextlib.suppress(OSError):
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(0)


def _threads_of_user() -> int:
    """Threads that this user has: the kernel counts all of them."""
    count, user = 0, os.getuid()
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == user:
                count += sum(1 for _ in os.scandir(f"{entry.path}/task"))
    return count

"""Decodes uploaded files and puts them into a project: ``python -m recon3d_api.files.intake``.

It runs in a process of its own, with limits on memory and time, because it decodes what strangers
send. Reads a JSON request on stdin, writes a JSON answer to stdout.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import filelock
from PIL import Image

from recon3d import Project, ProjectError, Recon3DError
from recon3d_api.files.content import content_kind
from recon3d_api.files.reserve import DISK_FULL, disk_is_full

_MEMORY = 8 << 30
_CPU_SECONDS = 600


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
        return f"is damaged: {error}"
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
            if problem := decoding_problem(path):
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


def main() -> None:
    """Answer one request."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    json.dump(take(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()

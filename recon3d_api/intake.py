"""Checks uploaded files and puts them into a project: ``python -m recon3d_api.intake``.

It runs in a process of its own, with limits on memory and time, because it decodes what strangers
send. Reads a JSON request on stdin, writes a JSON answer to stdout.
"""

from __future__ import annotations

import json
import resource
import sys
import zipfile
from pathlib import Path
from typing import Any

import filelock
from PIL import Image

from recon3d import Project, ProjectError, Recon3DError

_MEMORY = 8 << 30
_CPU_SECONDS = 600
#: Looks of the content that each suffix may have.
_KINDS = {
    ".mp4": "mp4",
    ".mov": "mp4",
    ".avi": "avi",
    ".mkv": "mkv",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
}
_QUICKTIME_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_ACTIVE = (b"<html", b"<script", b"<svg", b"<?php", b"%pdf-")


def content_kind(start: bytes) -> str:
    """What a file is by its first bytes; empty when it is nothing that is taken."""
    if start[4:8] in _QUICKTIME_BOXES and start[8:12] not in (b"heic", b"heix", b"mif1", b"avif", b"crx "):
        return "mp4"
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "avi"
    if start.startswith(b"\x1a\x45\xdf\xa3"):
        return "mkv"
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    return ""


def content_problem(path: Path, suffix: str) -> str:
    """What is wrong with a file's content; empty when nothing is."""
    with open(path, "rb") as file:
        start = file.read(4096)
    if not start:
        return "is empty"
    kind = content_kind(start)
    if kind != _KINDS[suffix]:
        return f"is not what its name says: {suffix} was expected, the content is {kind or 'something else'}"
    # A file that is a picture to one program and an archive or a page to another is an attack.
    if zipfile.is_zipfile(path) or any(mark in start.lower() for mark in _ACTIVE):
        return "is more than one kind of file at once"
    if kind in ("jpeg", "png"):
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
    """
    root = Path(request["project"])
    hidden = []
    try:
        paths = []
        for row in request["files"]:
            path = Path(row["path"])
            if problem := content_problem(path, path.suffix):
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
        return {"status": 507, "error": "The files could not be stored: the disk is full or read-only."}
    except Recon3DError as error:
        message = f"{error.message} {error.hint}".strip()
        for folder in hidden:
            message = message.replace(folder, "")
        return {"status": 400, "error": message}
    return {"status": 200, "files": [{"path": f"inputs/{row.path}", "name": row.name} for row in added]}


def main() -> None:
    """Answer one request."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    json.dump(take(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()

"""Smaller pictures of photos, frames and depth maps: made in the processes that decode uploads, and kept."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from recon3d_api.http.dependencies import Service
from recon3d_api.http.downloads import OpenedFile

#: A width that is asked for becomes the next of these, so that few pictures are kept.
WIDTHS = (64, 128, 256, 512, 1024, 2048)
#: Pictures that are kept of a project.
_MOST = 3000


async def smaller(service: Service, user_id: int, folder: str, file: Path, width: int) -> Path:
    """Find or make a smaller picture.

    Parameters
    ----------
    service : Service
    user_id : int
        Whose turn it takes.
    folder : str
        Name of the project's folder.
    file : Path
        Photo, frame or depth map in it.
    width : int

    Returns
    -------
    Path
        A JPEG.

    Raises
    ------
    FileNotFoundError
        The file or its project is gone.
    """
    width = next(step for step in WIDTHS if step >= width)
    target = await service.lanes.disk.run(_target, service.storage.pictures(folder), file, width)
    if not target.exists():
        await service.intakes.shrink(user_id, folder, file, target, width)
        await service.lanes.disk.run(_prune, target.parent)
    return target


def shown(file: Path, name: str) -> OpenedFile:
    """Answer with a picture that a browser shows.

    Parameters
    ----------
    file : Path
    name : str

    Returns
    -------
    OpenedFile
    """
    return OpenedFile(file, name, inline=True)


def _target(kept: Path, file: Path, width: int) -> Path:
    status = file.stat()
    kept.mkdir(mode=0o700, exist_ok=True)  # without parents: a deleted project is not made anew
    key = f"{file}-{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
    return kept / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}-{width}.jpg"


def _prune(kept: Path) -> None:
    """Remove the oldest quarter of too many pictures, such as those of former frames."""
    found = []
    for path in kept.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path))
    if len(found) > _MOST:
        for _, path in sorted(found)[: len(found) // 4]:
            path.unlink(missing_ok=True)

"""Sending files and zip archives, with ETag and Range."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import zipstream
from fastapi import Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from recon3d_api.errors import ApiError
from recon3d_api.http.lanes import Lane

_ZIP = "application/zip"
_MEDIA = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
    ".mkv": "video/x-matroska",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".glb": "model/gltf-binary",
    ".html": "text/html",
}
_BINARY = "application/octet-stream"
#: Media types of what is sent, for the OpenAPI document.
MEDIA_TYPES = sorted({*_MEDIA.values(), _ZIP, _BINARY})


class OpenedFile(FileResponse):
    """A file that is opened before the answer begins, so that one that is replaced meanwhile is sent whole.

    Parameters
    ----------
    path : Path or file
        A file is sent from its beginning, and closed.
    name : str
        File name for the browser.
    inline : bool
        Show it, and do not save it.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """

    chunk_size = 1 << 18

    def __init__(self, path: Path | BinaryIO, name: str, *, inline: bool = False) -> None:
        # `__call__` closes it.
        self._file = open(path, "rb") if isinstance(path, Path) else path  # noqa: SIM115
        status = os.fstat(self._file.fileno())
        key = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
        super().__init__(
            # Names the opened file, whatever happens to its path.
            f"/proc/self/fd/{self._file.fileno()}",
            headers=_headers(_tag(key), name, inline=inline),
            media_type=_MEDIA.get(Path(self._file.name).suffix.lower(), _BINARY),
            stat_result=status,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or a part of it."""

        async def answer(message: Message) -> None:
            status = message.get("status")
            if status == 416:
                raise outside(self.stat_result.st_size if self.stat_result else 0)
            if status == 400:
                raise ApiError(400, "The header Range is malformed")
            await send(message)

        with self._file:
            if is_known(Request(scope), self.headers["etag"]):
                await not_modified(self.headers["etag"])(scope, receive, send)
            else:
                await super().__call__(scope, receive, answer)


def zip_answer(request: Request, members: Sequence[tuple[str, Path]], name: str, lane: Lane) -> Response:
    """Answer with an archive that is made while it is sent.

    Its bytes follow from the files alone, so that an interrupted download can be resumed. The files
    are compressed already, so the archive's size is known beforehand.

    Parameters
    ----------
    request : Request
    members : sequence of (str, Path)
        Names in the archive, and files.
    name : str
        File name for the browser.
    lane : Lane
        For reading.

    Returns
    -------
    Response

    Raises
    ------
    ApiError
        416 for a range that lies outside.
    FileNotFoundError
        A file is gone.
    """
    archive = zipstream.ZipStream(sized=True)
    # The archive's times are local; another version may lay it out in another way.
    described = [version("zipstream-ng"), *time.tzname]
    newest = 0.0
    for member, path in members:
        status = path.stat()
        newest = max(newest, status.st_mtime)
        described.append(f"{member}-{status.st_ino}-{status.st_size}-{status.st_mtime_ns}")
        archive.add_path(path, member, recurse=False)
    tag, size = _tag("/".join(described)), len(archive)
    if is_known(request, tag):
        return not_modified(tag)
    headers = _headers(tag, name) | {
        "Last-Modified": formatdate(newest, usegmt=True),
        "Accept-Ranges": "bytes",
    }
    # Only what resumes a download; other ranges get the whole archive, as RFC 9110 allows.
    resumed = re.fullmatch(r"bytes=(\d{1,18})-", request.headers.get("range", "").strip())
    start = int(resumed[1]) if resumed and request.headers.get("if-range", tag) == tag else None
    if start is not None:
        if start >= size:
            raise outside(size)
        headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
    headers["Content-Length"] = str(size - (start or 0))
    status_code = 200 if start is None else 206
    if request.method == "HEAD":
        return Response(status_code=status_code, headers=headers, media_type=_ZIP)
    return StreamingResponse(lane.iterate(_behind(archive, start or 0)), status_code, headers, _ZIP)


def _behind(pieces: zipstream.ZipStream, start: int) -> Iterator[bytes]:
    """What comes from a byte on; everything before is read, too, for the check sums."""
    for piece in pieces:
        if start < len(piece):
            yield piece[start:]
        start = max(start - len(piece), 0)


def is_known(request: Request, tag: str) -> bool:
    """Tell whether the caller has this version already.

    Parameters
    ----------
    request : Request
    tag : str
        The version's ETag.

    Returns
    -------
    bool
    """
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or tag in re.findall(r'"[^"]*"', known)


def not_modified(tag: str) -> Response:
    """Make the answer for a caller who has this version already.

    Parameters
    ----------
    tag : str

    Returns
    -------
    Response
    """
    return Response(status_code=304, headers={"ETag": tag, "Cache-Control": _CACHE})


def outside(size: int) -> ApiError:
    """Make the answer for a range that lies outside a file.

    Parameters
    ----------
    size : int
        The file's.

    Returns
    -------
    ApiError
    """
    return ApiError(416, "The range lies outside the file", {"Content-Range": f"bytes */{size}"})


_CACHE = "private, no-cache"


def _headers(tag: str, name: str, *, inline: bool = False) -> dict[str, str]:
    # Programs such as curl know only the plain name.
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    how = "inline" if inline else "attachment"
    return {
        "ETag": tag,
        "Content-Disposition": f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}",
        "Cache-Control": _CACHE,
    }


def _tag(key: str) -> str:
    return f'"{hashlib.sha256(key.encode()).hexdigest()[:32]}"'

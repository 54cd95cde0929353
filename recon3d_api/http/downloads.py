"""Sending files and zip archives, with ETag and Range."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from recon3d_api.errors import ApiError
from recon3d_api.http.lanes import Lane

_PIECE = 1 << 18


class Source(Protocol):
    """Something that can be sent from any byte on."""

    size: int
    etag: str
    modified: float

    def read(self, start: int, length: int) -> Iterator[bytes]:
        """Yield a range of bytes.

        Parameters
        ----------
        start, length : int
            The range.

        Returns
        -------
        iterator of bytes
        """
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class FileSource:
    """A file; it is opened at once, so that one that is replaced meanwhile is still sent whole."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - `read` or `close` closes it
        status = os.fstat(self._file.fileno())
        self.size = status.st_size
        self.modified = status.st_mtime
        key = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
        self.etag = f'"{hashlib.sha256(key.encode()).hexdigest()[:32]}"'

    def read(self, start: int, length: int) -> Iterator[bytes]:
        """Yield a range of bytes.

        Parameters
        ----------
        start, length : int
            The range.

        Yields
        ------
        bytes
        """
        with self._file as file:
            file.seek(start)
            while length > 0 and (piece := file.read(min(_PIECE, length))):
                length -= len(piece)
                yield piece

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ZipSource:
    """A zip archive of files that are compressed already, made while it is sent.

    Its bytes follow from the files alone, so that a download can be resumed. Sizes are known
    beforehand; check sums follow each file's data (APPNOTE.TXT 4.3.9), and an archive beyond 4 GB
    has zip64's records.

    Parameters
    ----------
    paths : sequence of Path
    fingerprint : str
        Names the content.
    """

    _STAMP = (0, (1 << 5) | 1)  # midnight of 1980-01-01: time and date as MS-DOS has them
    _MAX = 0xFFFFFFFF

    def __init__(self, paths: Sequence[Path], fingerprint: str) -> None:
        self._files = [(path, path.name.encode(), path.stat().st_size) for path in paths]
        self.modified = max((path.stat().st_mtime for path in paths), default=0.0)
        self.etag = f'"{hashlib.sha256(f"zip-{fingerprint}-{len(paths)}".encode()).hexdigest()[:32]}"'
        body = sum(30 + len(name) + size + 16 for _, name, size in self._files)
        offset, directory = 0, 0
        for _, name, size in self._files:
            directory += 46 + len(name) + (12 if offset >= self._MAX else 0)
            offset += 30 + len(name) + size + 16
        self.size = body + directory + 22 + (76 if self._large(body) else 0)

    def _large(self, body: int) -> bool:
        return body >= self._MAX or len(self._files) >= 0xFFFF

    def read(self, start: int, length: int) -> Iterator[bytes]:
        """Yield a range of bytes; everything before it is read, too, for the check sums.

        Parameters
        ----------
        start, length : int
            The range.

        Yields
        ------
        bytes
        """
        skip = start
        for piece in self._write():
            if skip >= len(piece):
                skip -= len(piece)
                continue
            piece = piece[skip : skip + length]
            skip = 0
            length -= len(piece)
            yield piece
            if length <= 0:
                return

    def close(self) -> None:
        """Nothing is open between reads."""

    def _write(self) -> Iterator[bytes]:
        entries, offset = [], 0
        for path, name, size in self._files:
            # Flags: sizes and check sum follow the data; names are UTF-8.
            yield (
                struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0x808, 0, *self._STAMP, 0, 0, 0, len(name), 0) + name
            )
            check, left = 0, size
            with open(path, "rb") as file:
                while left and (piece := file.read(min(_PIECE, left))):
                    check = zlib.crc32(piece, check)
                    left -= len(piece)
                    yield piece
            yield struct.pack("<4s3L", b"PK\7\x08", check, size, size)
            entries.append((name, size, check, offset))
            offset += 30 + len(name) + size + 16
        directory = 0
        for name, size, check, position in entries:
            far = position >= self._MAX
            extra = struct.pack("<2HQ", 1, 8, position) if far else b""
            head = struct.pack(
                "<4s6H3L5H2L",
                b"PK\1\2",
                45 if far else 20,
                45 if far else 20,
                0x808,
                0,
                *self._STAMP,
                check,
                size,
                size,
                len(name),
                len(extra),
                0,
                0,
                0,
                0,
                self._MAX if far else position,
            )
            directory += len(head) + len(name) + len(extra)
            yield head + name + extra
        count = len(entries)
        if self._large(offset):
            yield struct.pack(
                "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, directory, offset
            ) + struct.pack("<4sLQL", b"PK\6\7", 0, offset + directory, 1)
        short = min(count, 0xFFFF)
        yield struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, short, short, directory, min(offset, self._MAX), 0)


def respond(request: Request, source: Source, name: str, media_type: str, lane: Lane) -> Response:
    """Answer a download, whole or in part.

    Parameters
    ----------
    request : Request
    source : Source
    name : str
        File name for the browser.
    media_type : str
    lane : Lane
        For reading.

    Returns
    -------
    Response

    Raises
    ------
    ApiError
        416 for a range that lies outside.
    """
    modified = format_datetime(datetime.fromtimestamp(int(source.modified), timezone.utc), usegmt=True)
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    headers = {
        "ETag": source.etag,
        "Last-Modified": modified,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}",
        "Cache-Control": "private, no-cache",
    }
    known = request.headers.get("if-none-match", "")
    if known and (known.strip() == "*" or source.etag in re.findall(r'"[^"]*"', known)):
        source.close()
        return Response(status_code=304, headers=headers)
    start, end, status = 0, source.size, 200
    wanted = request.headers.get("range")
    condition = request.headers.get("if-range")
    if wanted and (condition is None or condition in (source.etag, modified)):
        found = _parse_range(wanted, source.size)
        if found == (0, 0):
            source.close()
            raise ApiError(
                416, "The range lies outside the file", {"Content-Range": f"bytes */{source.size}"}
            )
        if found is not None:
            (start, end), status = found, 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{source.size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        source.close()
        return Response(status_code=status, headers=headers, media_type=media_type)
    return StreamingResponse(
        lane.iterate(source.read(start, end - start)),
        status,
        headers,
        media_type,
        BackgroundTask(source.close),
    )


def _parse_range(text: str, size: int) -> tuple[int, int] | None:
    """First and behind-last byte; (0, 0) when outside; None when it is to be ignored (RFC 9110 14.2)."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", text.strip())
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if first == "":
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    return (start, end) if start < end else (0, 0)

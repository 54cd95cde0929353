"""Sending a file so that a cut connection goes on where it was: tus 1.0."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import httpx

_PIECE = 1 << 20
_TUS = {"Tus-Resumable": "1.0.0"}
#: Answers after which the offset is asked for anew.
_AGAIN = (408, 409, 423, 429, 500, 502, 503, 504)

#: Sends a request with the caller's token: method, address, further parts.
Send = Callable[..., httpx.Response]


def create(send: Send, project_id: int, path: Path, *, hold: bool = False) -> httpx.Response:
    """Begin an upload.

    Parameters
    ----------
    send : callable
    project_id : int
    path : Path
    hold : bool
        It shall be taken together with others.

    Returns
    -------
    httpx.Response
        ``Location`` is the upload's address.
    """
    told = {"filename": path.name, "project_id": str(project_id)} | ({"hold": "1"} if hold else {})
    pairs = (f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items())
    headers = {**_TUS, "Upload-Length": str(path.stat().st_size), "Upload-Metadata": ",".join(pairs)}
    return send("POST", "/api/v1/files/uploads", headers=headers)


def send_all(
    send: Send, url: str, path: Path, progress: Callable[[int], None], retries: int
) -> httpx.Response:
    """Send a file's bytes until the server has all of them.

    Parameters
    ----------
    send : callable
    url : str
        The upload's address.
    path : Path
    progress : callable
        Is given the bytes that the server has, or that were sent.
    retries : int
        Failures in a row, without a byte's progress, after which it is given up.

    Returns
    -------
    httpx.Response
        The answer to the last bytes, or an error.

    Raises
    ------
    httpx.TransportError
        The server cannot be reached.
    """
    failures, offset, known = 0, 0, True
    while True:
        try:
            if not known:
                answer = send("HEAD", url, headers=_TUS)
                if answer.status_code != 200:
                    known = answer.status_code not in _AGAIN
                    if known or failures >= retries:
                        return answer
                    raise httpx.ReadError("the server is busy")
                have = int(answer.headers["upload-offset"])
                failures = 0 if have > offset else failures
                offset = have
            progress(offset)
            answer = _send_rest(send, url, path, offset, progress)
            if answer.status_code not in _AGAIN or failures >= retries:
                return answer
        except httpx.TransportError:
            if failures >= retries:
                raise
        known = False
        failures += 1
        time.sleep(min(0.25 * 2**failures, 10))


def _send_rest(
    send: Send, url: str, path: Path, offset: int, progress: Callable[[int], None]
) -> httpx.Response:
    headers = {
        **_TUS,
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(path.stat().st_size - offset),
    }
    with open(path, "rb") as file:
        file.seek(offset)
        return send("PATCH", url, headers=headers, content=_read(file, offset, progress))


def _read(file: BinaryIO, offset: int, progress: Callable[[int], None]) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece
        offset += len(piece)
        progress(offset)

"""Sends the application's files; `static` holds them as they are sent, there is no build."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

#: Nothing but the service's own files is loaded, run or asked, and nobody frames the page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "frame-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Asked for each time, so that a new version is seen at once.
    "Cache-Control": "no-cache",
}
_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class _File:
    content: bytes
    tag: str
    media: str


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"', _MEDIA[path.suffix])


#: Read once: they are small, and no path of a request reaches the disk.
_FILES = {path.name: _read(path) for path in (Path(__file__).parent / "static").iterdir()}


def _answer(request: Request, name: str) -> Response:
    file = _FILES[name]
    headers = {**_HEADERS, "ETag": file.tag}
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media, headers=headers)


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    """Send the page to browsers; programs that want JSON get the 404 that this address has always given.

    Parameters
    ----------
    request : Request

    Returns
    -------
    Response

    Raises
    ------
    HTTPException
        404 for programs.
    """
    wanted = request.headers.get("accept", "*/*")
    if "text/html" not in wanted and "*/*" not in wanted:
        raise HTTPException(404, headers={"Vary": "Accept"})
    answer = _answer(request, _INDEX)
    answer.headers["Vary"] = "Accept"
    return answer


@router.api_route("/site/{name}", methods=["GET", "HEAD"])
async def part(name: str, request: Request) -> Response:
    """Send a script, the style or the icon.

    Parameters
    ----------
    name : str
    request : Request

    Returns
    -------
    Response

    Raises
    ------
    HTTPException
        404 for what is not one of them.
    """
    if name not in _FILES or name == _INDEX:
        raise HTTPException(404)
    return _answer(request, name)

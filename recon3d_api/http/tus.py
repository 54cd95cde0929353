"""The words of the tus protocol 1.0 (https://tus.io/protocols/resumable-upload): headers, in and out."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.routing import APIRoute

from recon3d_api.errors import ApiError

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,termination,checksum"
BODY = "application/offset+octet-stream"
#: For browsers that send from other origins.
REQUEST_HEADERS = (
    *("Tus-Resumable", "Upload-Length", "Upload-Metadata", "Upload-Offset", "Upload-Checksum"),
    "X-HTTP-Method-Override",
)
ANSWER_HEADERS = (
    *("Location", "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size"),
    *("Tus-Checksum-Algorithm", "Upload-Length", "Upload-Offset", "Upload-Expires", "Upload-Metadata"),
)
_ALGORITHMS = ("sha1", "sha256")
#: Bytes of `Upload-Metadata`, which proxies limit to less.
_MAX_METADATA = 8192


class TusRoute(APIRoute):
    """A route whose answers, errors too, name the version of the protocol."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's handler.

        Returns
        -------
        callable
        """
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                response = await handle(request)
            except ApiError as error:
                error.headers.setdefault("Tus-Resumable", VERSION)
                raise
            response.headers.setdefault("Tus-Resumable", VERSION)
            return response

        return answer


def _version(
    tus_resumable: Annotated[
        str | None, Header(description="The protocol's version", examples=[VERSION])
    ] = None,
) -> None:
    if tus_resumable != VERSION:
        raise ApiError(412, f"The header Tus-Resumable must be {VERSION}", {"Tus-Version": VERSION})


#: Dependency of routes that the protocol describes.
SPEAKS_TUS = Depends(_version)


def read_metadata(header: str) -> dict[str, str]:
    """Read what a client says of its file.

    Parameters
    ----------
    header : str
        ``Upload-Metadata``: keys, and values in base64, separated by commas.

    Returns
    -------
    dict of str to str

    Raises
    ------
    ApiError
        400 when it is malformed.
    """
    found: dict[str, str] = {}
    if len(header) > _MAX_METADATA:
        raise ApiError(400, "The header Upload-Metadata is too long")
    for pair in filter(None, (part.strip() for part in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            decoded = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ApiError(
                400, f"The header Upload-Metadata is malformed: {key[:50]} is not UTF-8 in base64"
            ) from error
        if key in found:
            raise ApiError(400, f"The header Upload-Metadata names {key[:50]} twice")
        found[key] = decoded
    return found


def write_metadata(values: dict[str, str]) -> str:
    """Say what is known of a file.

    Parameters
    ----------
    values : dict of str to str

    Returns
    -------
    str
        ``Upload-Metadata``.
    """
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


class Checksum:
    """The check sum that a client gives of a body.

    Parameters
    ----------
    header : str
        ``Upload-Checksum``: algorithm, and digest in base64.

    Raises
    ------
    ApiError
        400 when it is malformed, or the algorithm is not known.
    """

    def __init__(self, header: str) -> None:
        algorithm, _, value = header.partition(" ")
        if algorithm not in _ALGORITHMS:
            raise ApiError(400, f"The header Upload-Checksum must begin with {' or '.join(_ALGORITHMS)}")
        try:
            self._wanted = base64.b64decode(value.strip(), validate=True)
        except binascii.Error as error:
            raise ApiError(400, "The header Upload-Checksum is malformed: it is not base64") from error
        self._found = hashlib.new(algorithm, usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        """Take a piece of the body into account.

        Parameters
        ----------
        piece : bytes
        """
        self._found.update(piece)

    @property
    def fits(self) -> bool:
        """Whether the body is what the client sent."""
        return self._found.digest() == self._wanted


def capabilities(max_size: int) -> dict[str, str]:
    """List what the server can do.

    Parameters
    ----------
    max_size : int
        Bytes of the largest file.

    Returns
    -------
    dict of str to str
        Headers.
    """
    return {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(max_size),
        "Tus-Checksum-Algorithm": ",".join(_ALGORITHMS),
    }


def progress(offset: int, expires: float) -> dict[str, str]:
    """Tell how much has come.

    Parameters
    ----------
    offset : int
    expires : float
        Seconds since 1970.

    Returns
    -------
    dict of str to str
        Headers.
    """
    return {
        "Upload-Offset": str(offset),
        "Upload-Expires": formatdate(expires, usegmt=True),
        "Cache-Control": "no-store",
    }

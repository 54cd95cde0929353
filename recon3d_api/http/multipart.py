"""Multipart forms read as they arrive: files go to disk in pieces, fields are checked at once.

FastAPI's own forms read the whole body before anything is checked, the caller's token included.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from recon3d_api.errors import ApiError
from recon3d_api.files.names import base_name
from recon3d_api.files.received import ReceivedFile
from recon3d_api.http.lanes import Lane
from recon3d_api.reserve import DISK_FULL, disk_is_full

_BUFFER = 1 << 18
_MAX_FIELD = 16_384
#: Bytes that are no file's: fields, headers, boundaries, and what surrounds the parts.
_MAX_REST, _MAX_REST_OF_FILE = 64 << 10, 2 << 10
#: Of an upload that is too large so much is still read, so that the client sees the answer.
_DRAIN = 32 << 20


@dataclass
class Form:
    """What came in."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[ReceivedFile] = field(default_factory=list)


def field_error(name: str, message: str, kind: str = "value_error") -> RequestValidationError:
    """Make the error for a form field that FastAPI does not parse.

    Parameters
    ----------
    name : str
    message : str
    kind : str
        Pydantic's type of error.

    Returns
    -------
    RequestValidationError
    """
    return RequestValidationError([{"loc": ("body", name), "msg": message, "type": kind}])


@dataclass
class _Part:
    """A part that is being read."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    header_name: bytearray = field(default_factory=bytearray)
    header_value: bytearray = field(default_factory=bytearray)
    name: str = ""
    received: ReceivedFile | None = None
    file: BinaryIO | None = None
    buffer: bytearray = field(default_factory=bytearray)


class FormReader:
    """Reads one form.

    Parameters
    ----------
    request : Request
    folder : Path
        Where files are written, under names of our own.
    max_file : int
        Bytes that a file may have.
    max_files : int
    room : callable
        Is given the bytes of all files so far and those that will be written now; raises to refuse them.
    lane : Lane
        For writing.
    file_field : str
        Name of the fields that hold files.
    check : mapping of str to async callable
        By name of each other field: is given its value as it comes, and raises to refuse the form.
    name_problem : callable
        Is given the name of each file before its bytes; what it returns, unless empty, refuses it.
    """

    def __init__(
        self,
        request: Request,
        folder: Path,
        *,
        max_file: int,
        max_files: int,
        room: Callable[[int, int], None],
        lane: Lane,
        file_field: str,
        check: Mapping[str, Callable[[str], Awaitable[None]]],
        name_problem: Callable[[str], str],
    ) -> None:
        self._request = request
        self._folder = folder
        self._max_file = max_file
        self._max_files = max_files
        self._room = room
        self._lane = lane
        self._file_field = file_field
        self._check = check
        self._name_problem = name_problem
        self._form = Form()
        self._part: _Part | None = None
        self._actions: list[tuple[str, bytes]] = []
        self._ended = False
        self._rest = 0

    async def read(self) -> Form:
        """Read the form to its end.

        Returns
        -------
        Form

        Raises
        ------
        ApiError
            400 malformed, truncated or refused; 413 too large; 507 the disk is full.
        RequestValidationError
            It is no multipart form, or a field is wrong.
        """
        kind, options = parse_options_header(self._request.headers.get("content-type", ""))
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise field_error("file", "Field required, as multipart/form-data", "missing")
        try:
            parser = MultipartParser(boundary, self._callbacks())
            stream = self._request.stream()
            async for chunk in stream:
                parser.write(chunk)
                self._rest += len(chunk)
                try:
                    await self._act()
                    self._limit_rest()
                except ApiError as error:
                    if error.status == 413:
                        await _drain(stream)
                    raise
            parser.finalize()
            await self._act()
        except FormParserError as error:
            raise ApiError(400, f"The form is malformed: {error}") from error
        except ClientDisconnect as error:
            raise ApiError(400, "The upload was cut off") from error
        except OSError as error:
            if not disk_is_full(error):
                raise
            raise ApiError(507, DISK_FULL) from error
        finally:
            if self._part is not None and self._part.file is not None:
                self._part.file.close()
        if not self._ended:
            raise ApiError(400, "The form ends too early")
        return self._form

    def _callbacks(self) -> Any:
        # The parser's callbacks cannot wait; what they see is worked off after each piece.
        def data(name: str) -> Callable[[bytes, int, int], None]:
            return lambda piece, start, end: self._actions.append((name, piece[start:end]))

        def mark(name: str) -> Callable[[], None]:
            return lambda: self._actions.append((name, b""))

        return {
            "on_part_begin": mark("begin"),
            "on_header_field": data("header_name"),
            "on_header_value": data("header_value"),
            "on_header_end": mark("header_end"),
            "on_headers_finished": mark("headers_end"),
            "on_part_data": data("data"),
            "on_part_end": mark("part_end"),
            "on_end": mark("form_end"),
        }

    async def _act(self) -> None:
        actions, self._actions = self._actions, []
        for name, piece in actions:
            if name == "begin":
                self._part = _Part()
                continue
            if name == "form_end":
                self._ended = True
                continue
            part = self._part
            if part is None:
                continue
            if name == "data":
                await self._data(part, piece)
            elif name == "header_name":
                part.header_name += piece
            elif name == "header_value":
                part.header_value += piece
            elif name == "header_end":
                part.headers[bytes(part.header_name).lower()] = bytes(part.header_value)
                part.header_name.clear()
                part.header_value.clear()
            elif name == "headers_end":
                await self._begin(part)
            else:
                await self._end(part)
                self._part = None

    def _limit_rest(self) -> None:
        if self._rest > _MAX_REST + _MAX_REST_OF_FILE * len(self._form.files):
            raise ApiError(413, "The form has too much beside its files")

    async def _begin(self, part: _Part) -> None:
        kind, options = parse_options_header(part.headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise ApiError(400, "The form is malformed: a part has no name")
        part.name = _text(options[b"name"])
        shown = part.name[:50]
        if b"filename" not in options:
            if part.name not in self._check:
                known = ", ".join([self._file_field, *self._check])
                raise field_error(shown, f"Unknown field, or not a file; use {known}", "extra_forbidden")
            if part.name in self._form.fields:
                raise field_error(shown, "Field given more than once", "value_error")
            self._form.fields[part.name] = ""
            return
        if part.name != self._file_field:
            raise field_error(shown, f"Not a field for files; use {self._file_field}", "extra_forbidden")
        if len(self._form.files) >= self._max_files:
            raise ApiError(
                413 if self._max_files > 1 else 400, f"At most {self._max_files} files in one upload"
            )
        name = base_name(_text(options[b"filename"]))
        if problem := self._name_problem(name):
            raise ApiError(400, problem)
        number = len(self._form.files)
        path = self._folder / f"{number:05d}{Path(name).suffix.lower()}"
        part.received = ReceivedFile(part.name, name, path)
        part.file = await self._lane.run(_create, path)
        self._form.files.append(part.received)

    async def _data(self, part: _Part, piece: bytes) -> None:
        if part.received is None:
            if len(part.buffer) + len(piece) > _MAX_FIELD:
                raise ApiError(400, f"The field {part.name[:50]} is too long")
            part.buffer += piece
            return
        self._rest -= len(piece)
        part.received.size += len(piece)
        if part.received.size > self._max_file:
            raise ApiError(413, f"The file is larger than {self._max_file // (1024 * 1024)} MB")
        part.buffer += piece
        if len(part.buffer) >= _BUFFER:
            await self._flush(part)

    async def _flush(self, part: _Part) -> None:
        piece, part.buffer = part.buffer, bytearray()
        if part.file is not None and piece:
            await self._lane.run(self._write, part.file, piece)

    def _write(self, file: BinaryIO, piece: bytearray) -> None:
        self._room(sum(received.size for received in self._form.files), len(piece))
        file.write(piece)

    async def _end(self, part: _Part) -> None:
        if part.received is None:
            value = _text(bytes(part.buffer))
            self._form.fields[part.name] = value
            await self._check[part.name](value)
            return
        await self._flush(part)
        if part.file is not None:
            await self._lane.run(part.file.close)


def _create(path: Path) -> BinaryIO:
    return open(path, "xb")


async def _drain(stream: Any) -> None:
    left = _DRAIN
    async for chunk in stream:
        left -= len(chunk)
        if left < 0:
            return


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")

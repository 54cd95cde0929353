"""Receiving resumable uploads: from a request's body to the disk, and from there into projects."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import anyio
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from recon3d_api.errors import ApiError, not_found
from recon3d_api.files.received import ReceivedFile
from recon3d_api.files.resumable import Busy, Held, Upload
from recon3d_api.http.arrivals import arriving
from recon3d_api.http.dependencies import Service
from recon3d_api.http.tus import Checksum
from recon3d_api.reserve import DISK_FULL, disk_is_full
from recon3d_api.store import tables as models

logger = logging.getLogger("recon3d_api.files")

_BUFFER = 1 << 18
#: Seconds without a byte after which a request gives way to another. The middleware ends silent ones.
_SILENT = 5.0
_FINISH_EVERY = 20.0
BUSY = "Another request writes to the upload; ask for its offset, and try again"


@contextlib.contextmanager
def holding(service: Service, uploads: Sequence[Upload]) -> Iterator[list[Held]]:
    """Write to uploads, alone.

    Parameters
    ----------
    service : Service
    uploads : sequence of Upload

    Yields
    ------
    list of Held

    Raises
    ------
    ApiError
        423 when another request writes to one, 404 when one has ended meanwhile.
    """
    with contextlib.ExitStack() as stack:
        try:
            held = [stack.enter_context(service.uploads.held(upload)) for upload in uploads]
        except Busy as error:
            raise ApiError(423, BUSY, {"Retry-After": "1"}) from error
        except FileNotFoundError as error:
            raise not_found("Upload") from error
        yield held


async def receive(request: Request, service: Service, held: Held, checksum: Checksum | None) -> None:
    """Append a request's body to an upload; what has come stays, also when the rest does not.

    Parameters
    ----------
    request : Request
    service : Service
    held : Held
    checksum : Checksum or None
        With one, the body is kept when it fits, or not at all.

    Raises
    ------
    ApiError
        400 when the connection was cut or more came than was announced, 423 when another request takes
        over, 460 when the check sum does not fit, 507 when the disk is full.
    """
    lane, begin = service.lanes.disk, held.offset
    buffer = bytearray()

    def write() -> None:
        service.room.check(held.upload.owner_id, held.upload.length, len(buffer))
        held.write(bytes(buffer))
        buffer.clear()

    kept = checksum is None
    counted = contextlib.ExitStack()
    try:
        counted.enter_context(service.quotas.uploading(held.upload.owner_id))
        if checksum is not None:
            await lane.run(held.distrust)
        try:
            async for piece in _pieces(request, held):
                if held.offset + len(buffer) + len(piece) > held.upload.length:
                    raise ApiError(400, "More bytes came than Upload-Length says")
                if checksum is not None:
                    checksum.update(piece)
                buffer += piece
                if len(buffer) >= _BUFFER or (buffer and not piece):
                    await lane.run(write)
        finally:
            if buffer and kept:
                await lane.run(write)
        if buffer:
            await lane.run(write)
        if checksum is not None:
            if not checksum.fits:
                raise ApiError(460, "The body has another check sum; send it again")
            await lane.run(held.trust)
            kept = True
    except OSError as error:
        if not disk_is_full(error):
            raise
        raise ApiError(507, DISK_FULL) from error
    finally:
        counted.close()
        if not kept:
            await lane.run(held.discard, begin)


async def _pieces(request: Request, held: Held) -> AsyncIterator[bytes]:
    """What comes; an empty piece says that nothing has come for a while."""
    last = time.time()
    while True:
        message = None
        with anyio.move_on_after(_SILENT):
            message = await request.receive()
        if message is None:
            if held.wanted_since(last):
                raise ApiError(423, "Another request continues the upload")
            yield b""
            continue
        if message["type"] == "http.disconnect":
            raise ApiError(400, "The upload was cut off; what has come is kept")
        last = time.time()
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


async def finish(service: Service, user: models.User, uploads: Sequence[Held]) -> list[str]:
    """Make complete uploads files of their project, all or none.

    Parameters
    ----------
    service : Service
    user : models.User
    uploads : sequence of Held
        Of one project and one kind.

    Returns
    -------
    list of str
        Their paths, relative to the project.

    Raises
    ------
    ApiError
        400 for a bad file, 404 without the project; 409 while a run works on it, and 507 on a full disk:
        then the uploads stay complete, and are taken later.
    """
    first = uploads[0].upload
    async with arriving(service, user) as arrival:
        files = []
        for number, held in enumerate(uploads):
            # The intake moves its files: the upload keeps its own name until it is over.
            path = arrival.folder / f"{number:05d}{Path(held.upload.name).suffix.lower()}"
            await service.lanes.disk.run(held.link, path)
            files.append(ReceivedFile("file", held.upload.name, path, held.upload.length))
        try:
            paths = await arrival.take(first.project_id, first.kind, files)
        except ApiError as error:
            # The file is at fault, or its project is gone. Of several files, the others are still good.
            if error.status == 404 or (error.status == 400 and arrival.bound and not first.hold):
                for held in uploads:
                    held.end("refused", error=error.detail)
            raise
        for held, stored in zip(uploads, paths, strict=True):
            held.end("stored", file_path=stored)
    return paths


async def finish_now_and_then(service: Service) -> None:
    """Take uploads that were complete when their server ended, or when a run kept them waiting.

    Parameters
    ----------
    service : Service
    """
    while True:
        try:
            for upload in await service.lanes.disk.run(lambda: list(service.uploads.all())):
                await _finish_left(service, upload)
        except (OSError, SQLAlchemyError) as error:
            logger.warning("Finishing uploads failed, it is tried again: %s", error)
        await asyncio.sleep(_FINISH_EVERY)


async def _finish_left(service: Service, upload: Upload) -> None:
    if upload.status != "receiving" or upload.hold or service.uploads.offset(upload) < upload.length:
        return
    if service.uploads.expires(upload) < time.time():
        return
    user = await service.lanes.disk.run(_user, service, upload.owner_id)
    if user is None:
        return
    with contextlib.suppress(ApiError, Busy, FileNotFoundError), service.uploads.held(upload) as held:
        if held.complete:
            await finish(service, user, [held])
            logger.info("An upload that was left complete is stored", extra={"upload": upload.id})


def _user(service: Service, user_id: int) -> models.User | None:
    with service.database.read() as session:
        return session.get(models.User, user_id)

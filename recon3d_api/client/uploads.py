"""Uploads: large files so that they resume, small photos many at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from recon3d_api import schemas
from recon3d_api.client import resumable
from recon3d_api.client.connection import ApiError, Connection, checked, parsed

#: Called with bytes done and bytes in all.
ProgressCallback = Callable[[int, int], None]

#: Larger photos are sent one by one, so that they resume; others together, up to so many bytes and files.
_LARGE, _BATCH_BYTES, _BATCH_FILES = 16 << 20, 32 << 20, 500
#: Uploads that the service takes together.
_TAKEN = 1000
_TIMEOUT = httpx.Timeout(60, read=900)


class Uploads(Connection):
    """How a client uploads."""

    def upload_video(
        self, project_id: int, path: str | os.PathLike[str], progress: ProgressCallback | None = None
    ) -> schemas.VideoUploaded:
        """Upload a video; interrupted uploads resume.

        Parameters
        ----------
        project_id : int
        path : path-like
        progress : callable, optional
            Called with the bytes sent and the bytes in all.

        Returns
        -------
        schemas.VideoUploaded
        """
        file = Path(path)
        count = _counting([file], progress)
        url = self._send_file(project_id, file, count, hold=False)
        shown = self._get(schemas.ResumableUpload, "GET", url.removeprefix("/api/v1"))
        return schemas.VideoUploaded(
            message="Video uploaded successfully",
            file_path=shown.file_path or "",
            file_size=shown.length,
            project_id=project_id,
        )

    def upload_images(
        self,
        project_id: int,
        paths: Sequence[str | os.PathLike[str]],
        progress: ProgressCallback | None = None,
    ) -> schemas.ImagesUploaded:
        """Upload images; interrupted uploads resume.

        Photos travel together, up to 32 MiB a request, and those above 16 MiB alone. The service
        accepts all or none of each thousand.

        Parameters
        ----------
        project_id : int
        paths : sequence of path-like
        progress : callable, optional
            Called with the bytes sent and the bytes in all.

        Returns
        -------
        schemas.ImagesUploaded
        """
        files = [Path(path) for path in paths]
        count = _counting(files, progress)
        taken: list[schemas.VideoUploaded] = []
        for start in range(0, len(files), _TAKEN):
            numbers: list[str] = []
            try:
                self._hold(project_id, files[start : start + _TAKEN], count, numbers)
                body = {"json": {"uploads": numbers}, "timeout": _TIMEOUT}
                answer = self._send("POST", "/api/v1/files/take-uploads", body, repeatable=True)
                taken += parsed(schemas.ImagesUploaded, answer).files
            finally:
                # Also when they were refused: what is held counts against the quota for hours.
                self._end(numbers)
        return schemas.ImagesUploaded(
            message=f"{len(taken)} file{'s' * (len(taken) != 1)} uploaded successfully",
            files=taken,
            file_size=sum(row.file_size for row in taken),
            project_id=project_id,
        )

    def _hold(
        self, project_id: int, files: list[Path], count: Callable[[Path, int], None], numbers: list[str]
    ) -> None:
        """Send images that wait to be taken together, and add the names of their uploads to `numbers`."""
        for batch in _batches(files):
            if batch[0].stat().st_size > _LARGE:
                url = self._send_file(project_id, batch[0], count, hold=True)
                numbers.append(url.rpartition("/")[2])
                continue
            with contextlib.ExitStack() as stack:
                opened = [(path.name, stack.enter_context(open(path, "rb"))) for path in batch]
                counted = [
                    ("files", (name, _Counted(file, path, count)))
                    for (name, file), path in zip(opened, batch, strict=True)
                ]
                form = {"data": {"project_id": str(project_id)}, "files": counted, "timeout": _TIMEOUT}
                # A batch that comes twice does no harm: what is not taken ends after a day.
                answer = self._send("POST", "/api/v1/files/upload/held-images", form, repeatable=True)
            numbers += [upload.id for upload in parsed(list[schemas.ResumableUpload], answer)]

    def _end(self, numbers: list[str]) -> None:
        """End uploads; those that cannot be ended now expire by themselves."""
        if numbers:
            with contextlib.suppress(httpx.HTTPError, ApiError):  # an error on its way tells more
                self._send("POST", "/api/v1/files/end-uploads", {"json": {"uploads": numbers}})

    def _send_file(
        self, project_id: int, path: Path, count: Callable[[Path, int], None], *, hold: bool
    ) -> str:
        def send(method: str, url: str, **parts: Any) -> httpx.Response:
            # An upload that begins twice does no harm: the one without bytes ends after a day.
            return self._send(method, url, parts, repeatable=True)

        url = str(checked(resumable.create(send, project_id, path, hold=hold)).headers["location"])
        try:
            answer = resumable.send_all(self._once, url, path, lambda done: count(path, done), self._retries)
            if answer.status_code == 401 and self._renew():
                answer = resumable.send_all(
                    self._once, url, path, lambda done: count(path, done), self._retries
                )
            checked(answer)
        except BaseException:
            self._end([url.rpartition("/")[2]])
            raise
        return url

    def _once(self, method: str, url: str, headers: dict[str, str], **parts: Any) -> httpx.Response:
        """Send a request once: what is sent anew depends on what has come."""
        return self._http.request(method, url, headers=self._headers() | headers, timeout=_TIMEOUT, **parts)


class _Counted:
    """A file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, path: Path, count: Callable[[Path, int], None]) -> None:
        self._file = file
        self._path = path
        self._count = count

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._count(self._path, self._file.tell())
        return piece


def _batches(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Photos that travel together, in their order; a large one alone."""
    batch: list[Path] = []
    size = 0
    for file in files:
        more = file.stat().st_size
        if batch and (size + more > _BATCH_BYTES or len(batch) == _BATCH_FILES or more > _LARGE):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += more
        if more > _LARGE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _counting(paths: Sequence[Path], progress: ProgressCallback | None) -> Callable[[Path, int], None]:
    """Adds up what has been sent of several files; what is sent again counts once."""
    total, sent = sum(path.stat().st_size for path in paths), 0
    of_each: dict[Path, int] = {}

    def count(path: Path, done: int) -> None:
        nonlocal sent
        more = done - of_each.get(path, 0)
        if more <= 0:
            return
        of_each[path] = done
        sent += more
        if progress is not None:
            progress(sent, total)

    return count

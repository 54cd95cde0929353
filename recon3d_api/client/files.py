"""Files of a project: lists, downloads, removal."""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import quote

import httpx

from recon3d_api import schemas
from recon3d_api.client.accounts import Accounts
from recon3d_api.client.connection import checked
from recon3d_api.client.uploads import ProgressCallback, Uploads
from recon3d_api.schemas import FileType, Quality

_PIECE = 1 << 20


class Files(Accounts, Uploads):
    """What a client does with files."""

    def extract_frames(
        self, project_id: int, interval: float = 1.0, quality: Quality = "medium"
    ) -> schemas.Extraction:
        """Start to extract frames; `wait` waits for the end.

        Parameters
        ----------
        project_id : int
        interval : float
            Seconds between frames.
        quality : {"low", "medium", "high", "extreme"}
            Of the reconstruction that shall use the frames.

        Returns
        -------
        schemas.Extraction
        """
        form = {"project_id": str(project_id), "interval": str(interval), "quality": quality}
        return self._get(schemas.Extraction, "POST", "/files/extract-frames", data=form)

    def files(self, project_id: int) -> list[schemas.FileInfo]:
        """List the files of a project.

        Parameters
        ----------
        project_id : int

        Returns
        -------
        list of schemas.FileInfo
        """
        return self._list(schemas.FileInfo, f"/files/list/{project_id}")

    def remove_file(self, project_id: int, path: str) -> schemas.FileRemoved:
        """Remove an uploaded video or photo before a run.

        Parameters
        ----------
        project_id : int
        path : str
            As `files` lists it.

        Returns
        -------
        schemas.FileRemoved
        """
        return self._get(schemas.FileRemoved, "DELETE", f"/files/{project_id}/{quote(path)}")

    def download(
        self,
        project_id: int,
        file_type: FileType,
        path: str | os.PathLike[str],
        progress: ProgressCallback | None = None,
    ) -> Path:
        """Download a file; an interrupted download resumes.

        Parameters
        ----------
        project_id : int
        file_type : FileType
            Such as "textured_mesh", "report" or "frames" (a zip archive).
        path : path-like
            The file to write. ``PATH.part`` and ``PATH.part.etag`` hold an unfinished download.
        progress : callable, optional
            Called with the bytes received and the bytes in all.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        FileExistsError
            ``PATH.part`` is not from an earlier download.
        """
        if self._login is not None:
            self.me()
        target = Path(path)
        part, tag = Path(f"{target}.part"), Path(f"{target}.part.etag")
        if part.exists() and not tag.exists():  # a download writes the tag first
            raise FileExistsError(f"{part} is not from an earlier download; move it away")
        for attempt in range(self._retries + 1):
            try:
                self._download(f"/api/v1/files/download/{project_id}/{file_type}", part, tag, progress)
                break
            except httpx.TransportError:
                if attempt == self._retries:
                    raise
                time.sleep(min(0.5 * 2**attempt, 10))
        part.replace(target)
        tag.unlink(missing_ok=True)
        return target

    def _download(self, url: str, part: Path, tag: Path, progress: ProgressCallback | None) -> None:
        start = part.stat().st_size if part.exists() and tag.exists() else 0
        headers = self._headers()
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": tag.read_text()}
        with self._http.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 416 and answer.headers.get("content-range") == f"bytes */{start}":
                return  # it was whole already
            if answer.status_code == 416:
                part.unlink()
                raise httpx.ReadError("the file has changed")
            if answer.is_error:
                answer.read()
            checked(answer)
            if answer.status_code != 206:
                start = 0
            tag.write_text(answer.headers["etag"])
            total = start + int(answer.headers["content-length"])
            with open(part, "ab" if start else "wb") as file:
                for piece in answer.iter_bytes(_PIECE):
                    file.write(piece)
                    start += len(piece)
                    if progress is not None:
                        progress(start, total)

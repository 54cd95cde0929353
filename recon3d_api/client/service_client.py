"""A client of the service; answers are the models of `recon3d_api.schemas`.

>>> from recon3d_api.client import Client
>>> client = Client("http://localhost:8000")  # doctest: +SKIP
>>> client.login("ada", "correct horse battery")  # doctest: +SKIP
>>> project = client.create_project("Bust")  # doctest: +SKIP
>>> client.upload_video(project.id, "bust.mp4")  # doctest: +SKIP
>>> client.start_reconstruction(project.id, "low")  # doctest: +SKIP
>>> client.wait(project.id)  # doctest: +SKIP
>>> client.download(project.id, "textured_mesh", "bust.glb")  # doctest: +SKIP
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException
from websockets.sync.client import connect

from recon3d_api import schemas
from recon3d_api.client import resumable
from recon3d_api.client.progress import Bars
from recon3d_api.schemas import FileType, JobStatus, JobType, ProjectStatus, Quality

if sys.version_info >= (3, 11):
    from typing import Unpack
else:
    from typing_extensions import Unpack

Event = dict[str, Any]
Answer = TypeVar("Answer", bound=BaseModel)
Parsed = TypeVar("Parsed")
#: Called with bytes done and bytes in all.
ProgressCallback = Callable[[int, int], None]

_PIECE = 1 << 20


class ApiError(Exception):
    """The service's answer is an error.

    Parameters
    ----------
    status : int
        HTTP status.
    detail : str
        The service's message.
    request_id : str
        Identifies the request in the service's logs.
    """

    def __init__(self, status: int, detail: str, request_id: str = "") -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.request_id = request_id


class JobFilters(TypedDict, total=False):
    """What `Client.jobs` filters by, and how many jobs it skips and returns."""

    project_id: int
    status: JobStatus
    job_type: JobType
    skip: int
    limit: int


class ProjectChanges(TypedDict, total=False):
    """What `Client.update_project` can change."""

    name: str
    description: str | None
    status: ProjectStatus


class ReconstructionFailed(Exception):
    """The run that was waited for failed or was cancelled."""


class Client:
    """Talks to one service.

    Parameters
    ----------
    url : str
        Root of the service, as in ``http://localhost:8000``.
    token : str, optional
        An access token or an API key, if there is one already.
    timeout : float
        Seconds to wait for an answer.
    retries : int
        How often a request is repeated after 429, a lost connection or 503.
    """

    def __init__(
        self, url: str = "http://localhost:8000", token: str = "", *, timeout: float = 60.0, retries: int = 5
    ) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self._retries = retries
        self._login: tuple[str, str] | None = None
        self._http = httpx.Client(base_url=self.url, timeout=timeout)

    def __enter__(self) -> Client:
        """Use as a context manager."""
        return self

    def __exit__(self, *details: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- accounts ---------------------------------------------------------------------------------

    def register(
        self, username: str, email: str, password: str, full_name: str | None = None
    ) -> schemas.User:
        """Register an account, and log in.

        Parameters
        ----------
        username, email, password : str
        full_name : str, optional

        Returns
        -------
        schemas.User
            The new account.
        """
        body = {"username": username, "email": email, "password": password, "full_name": full_name}
        user = self._get(schemas.User, "POST", "/auth/register", json=body)
        self.login(username, password)
        return user

    def login(self, username: str, password: str) -> None:
        """Log in; the client renews the token when it expires.

        Parameters
        ----------
        username, password : str
        """
        form = {"username": username, "password": password}
        self.token = self._get(schemas.Token, "POST", "/auth/token", data=form).access_token
        self._login = (username, password)

    def me(self) -> schemas.User:
        """Get the account.

        Returns
        -------
        schemas.User
        """
        return self._get(schemas.User, "GET", "/auth/me")

    def create_key(self, name: str, expires_at: datetime | None = None) -> schemas.NewApiKey:
        """Make an API key, which `Client` takes in the place of a token.

        Parameters
        ----------
        name : str
        expires_at : datetime, optional
            With a time zone.

        Returns
        -------
        schemas.NewApiKey
            The service does not show the key again.
        """
        body = {"name": name, "expires_at": expires_at.isoformat() if expires_at else None}
        return self._get(schemas.NewApiKey, "POST", "/auth/keys", json=body)

    def api_keys(self) -> list[schemas.ApiKey]:
        """List the API keys.

        Returns
        -------
        list of schemas.ApiKey
            Newest first.
        """
        return self._list(schemas.ApiKey, "/auth/keys")

    def revoke_key(self, key_id: int) -> None:
        """Revoke an API key.

        Parameters
        ----------
        key_id : int
        """
        self._get(schemas.Message, "DELETE", f"/auth/keys/{key_id}")

    # --- projects ---------------------------------------------------------------------------------

    def projects(self, skip: int = 0, limit: int = 100) -> list[schemas.Project]:
        """List the projects.

        Parameters
        ----------
        skip : int
            Projects to skip.
        limit : int
            Most projects to return.

        Returns
        -------
        list of schemas.Project
            Newest first.
        """
        return self._list(schemas.Project, "/projects", params={"skip": skip, "limit": limit})

    def create_project(self, name: str, description: str | None = None) -> schemas.Project:
        """Create a project.

        Parameters
        ----------
        name : str
        description : str, optional

        Returns
        -------
        schemas.Project
        """
        body = {"name": name, "description": description}
        return self._get(schemas.Project, "POST", "/projects", json=body)

    def project(self, project_id: int) -> schemas.Project:
        """Get a project.

        Parameters
        ----------
        project_id : int

        Returns
        -------
        schemas.Project
        """
        return self._get(schemas.Project, "GET", f"/projects/{project_id}")

    def update_project(self, project_id: int, **changes: Unpack[ProjectChanges]) -> schemas.Project:
        """Change a project.

        Parameters
        ----------
        project_id : int
        **changes
            New values of ``name``, ``description`` and ``status``.

        Returns
        -------
        schemas.Project
            The changed project.
        """
        return self._get(schemas.Project, "PUT", f"/projects/{project_id}", json=changes)

    def delete_project(self, project_id: int) -> None:
        """Delete a project and its files.

        Parameters
        ----------
        project_id : int
        """
        self._get(schemas.Message, "DELETE", f"/projects/{project_id}")

    def start_reconstruction(self, project_id: int, quality: Quality = "medium") -> schemas.Started:
        """Start a reconstruction; `wait` waits for its end.

        Parameters
        ----------
        project_id : int
        quality : {"low", "medium", "high", "extreme"}

        Returns
        -------
        schemas.Started
            With one job for each stage.
        """
        path = f"/projects/{project_id}/start-reconstruction"
        return self._get(schemas.Started, "POST", path, params={"quality": quality})

    def check(self, project_id: int) -> schemas.InputCheck:
        """Ask whether a project's inputs can make a model, and what a run would take.

        Parameters
        ----------
        project_id : int

        Returns
        -------
        schemas.InputCheck
        """
        return self._get(schemas.InputCheck, "GET", f"/projects/{project_id}/check")

    def status(self, project_id: int) -> schemas.ProjectRunStatus:
        """Get the progress of a project's newest run.

        Parameters
        ----------
        project_id : int

        Returns
        -------
        schemas.ProjectRunStatus
        """
        return self._get(schemas.ProjectRunStatus, "GET", f"/projects/{project_id}/status")

    # --- files ------------------------------------------------------------------------------------

    def upload_video(
        self, project_id: int, path: str | os.PathLike[str], progress: ProgressCallback | None = None
    ) -> schemas.VideoUploaded:
        """Upload a video; a cut connection goes on where it was.

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
        count = _counted([file], progress)
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
        """Upload images; the service accepts all of them or none, and a cut connection goes on where it was.

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
        count = _counted(files, progress)
        urls = [self._send_file(project_id, file, count, hold=True) for file in files]
        body = {"uploads": [url.rpartition("/")[2] for url in urls]}
        answer = self._send("POST", "/api/v1/files/take-uploads", {"json": body}, repeatable=True)
        taken = _parsed(schemas.ImagesUploaded, answer)
        for url in urls:
            self._send("DELETE", url, {"headers": {"Tus-Resumable": "1.0.0"}})
        return taken

    def _send_file(
        self, project_id: int, path: Path, count: Callable[[Path, int], None], *, hold: bool
    ) -> str:
        def send(method: str, url: str, **parts: Any) -> httpx.Response:
            # An upload that begins twice does no harm: the one without bytes ends after a day.
            return self._send(method, url, parts, repeatable=True)

        url = str(_checked(resumable.create(send, project_id, path, hold=hold)).headers["location"])
        answer = resumable.send_all(self._once, url, path, lambda done: count(path, done), self._retries)
        if answer.status_code == 401 and self._renew():
            answer = resumable.send_all(self._once, url, path, lambda done: count(path, done), self._retries)
        _checked(answer)
        return url

    def _once(self, method: str, url: str, headers: dict[str, str], **parts: Any) -> httpx.Response:
        """Send a request once: what is sent anew depends on what has come."""
        timeout = httpx.Timeout(60, read=900)
        return self._http.request(method, url, headers=self._headers() | headers, timeout=timeout, **parts)

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
            _checked(answer)
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

    # --- jobs -------------------------------------------------------------------------------------

    def jobs(self, **filters: Unpack[JobFilters]) -> list[schemas.Job]:
        """List jobs.

        Parameters
        ----------
        **filters
            ``project_id``, ``status`` and ``job_type`` to filter by; ``skip`` and ``limit``.

        Returns
        -------
        list of schemas.Job
            Newest first.
        """
        return self._list(schemas.Job, "/jobs", params=dict(filters))

    def job(self, job_id: int) -> schemas.Job:
        """Get a job.

        Parameters
        ----------
        job_id : int

        Returns
        -------
        schemas.Job
        """
        return self._get(schemas.Job, "GET", f"/jobs/{job_id}")

    def cancel(self, job_id: int) -> schemas.Job:
        """Cancel a job and the later ones of its run.

        Parameters
        ----------
        job_id : int

        Returns
        -------
        schemas.Job
        """
        return self._get(schemas.Job, "POST", f"/jobs/{job_id}/cancel")

    def logs(self, job_id: int, offset: int = 0) -> list[str]:
        """Get the log lines of a job.

        Parameters
        ----------
        job_id : int
        offset : int
            Lines to skip.

        Returns
        -------
        list of str
        """
        path = f"/jobs/{job_id}/logs"
        return self._get(schemas.Logs, "GET", path, params={"offset": offset}).logs

    # --- waiting ----------------------------------------------------------------------------------

    def events(self, project_id: int, after: int | None = None) -> Iterator[Event]:
        """Yield the events of a project's jobs as they come; a lost connection resumes where it ended.

        Parameters
        ----------
        project_id : int
        after : int, optional
            Only events with a higher ``seq``; by default, only new events.

        Yields
        ------
        dict
            First the state, with ``event`` "state", then each event; docs/reference/rest-api.md
            describes them.

        Raises
        ------
        ApiError
            404 when the project does not exist, 401 when the token is not valid.
        OSError
            The service cannot be reached.
        """
        failures = 0
        while True:
            query = "" if after is None else f"?after={after}"
            address = f"ws{self.url.removeprefix('http')}/ws/jobs/{project_id}{query}"
            try:
                with connect(address, additional_headers=self._headers()) as socket:
                    for text in socket:
                        message: Event = json.loads(text)
                        failures, after = 0, max(after or 0, message["seq"])
                        if message["event"] != "heartbeat":
                            yield message
            except ConnectionClosed as error:
                code = error.rcvd.code if error.rcvd else 1006
                if code == 4404:
                    raise ApiError(404, "Project not found") from error
                if code == 4401 and not self._renew():
                    raise ApiError(401, "Could not validate credentials") from error
            except (OSError, InvalidHandshake):
                failures += 1
                if failures > self._retries:
                    raise
            time.sleep(min(0.2 * 2**failures, 5))

    def wait(self, project_id: int, *, progress: bool = True, poll: float = 2.0) -> schemas.Project:
        """Wait for the end of a project's newest run.

        Parameters
        ----------
        project_id : int
        progress : bool
            Show a bar for each job.
        poll : float
            Seconds between requests where WebSockets do not get through.

        Returns
        -------
        schemas.Project
            The project after the run.

        Raises
        ------
        ReconstructionFailed
            The run failed, or was cancelled; the message says why.
        """
        with Bars(progress) as bars:
            try:
                for message in self.events(project_id):
                    for job in message.get("jobs", [message]):
                        bars.show(job)
                    if not bars.active:
                        break
            except (OSError, WebSocketException):
                while True:
                    for job in self._newest_run(project_id):
                        bars.show({**job.model_dump(), "job_id": job.id})
                    if not bars.active:
                        break
                    time.sleep(poll)
        return self._outcome(project_id)

    def _newest_run(self, project_id: int) -> list[schemas.Job]:
        jobs = self._get(schemas.JobsStatus, "GET", f"/jobs/project/{project_id}/status").jobs
        run: list[schemas.Job] = []
        for job in jobs:  # newest run first, each in order
            if any(job.job_type == known.job_type for known in run):
                break
            run.append(job)
        return run

    def _outcome(self, project_id: int) -> schemas.Project:
        # The run ends a moment after its last job, when its process ends.
        deadline = time.monotonic() + 30
        project = self.project(project_id)
        while project.status == "processing" and time.monotonic() < deadline:
            time.sleep(0.2)
            project = self.project(project_id)
        jobs = self._newest_run(project_id)
        for status in ("failed", "cancelled"):
            for job in jobs:
                if job.status == status:
                    why = job.error_message or job.message or status
                    raise ReconstructionFailed(f"{job.job_type}: {why}")
        return project

    # --- requests ---------------------------------------------------------------------------------

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _renew(self) -> bool:
        if self._login is None:
            return False
        self.login(*self._login)
        return True

    def _get(self, answer: type[Answer], method: str, path: str, **parts: Any) -> Answer:
        return _parsed(answer, self._send(method, f"/api/v1{path}", parts))

    def _list(self, row: type[Answer], path: str, **parts: Any) -> list[Answer]:
        return _parsed(list[row], self._send("GET", f"/api/v1{path}", parts))  # type: ignore[valid-type]

    def _send(
        self, method: str, url: str, parts: Mapping[str, Any], *, repeatable: bool = False
    ) -> httpx.Response:
        renewed = url.endswith(("/auth/token", "/auth/register"))
        attempt = -1
        while True:
            attempt += 1
            last = attempt >= self._retries
            try:
                rest = {key: value for key, value in parts.items() if key != "headers"}
                headers = self._headers() | parts.get("headers", {})
                answer = self._http.request(method, url, headers=headers, **rest)
            except httpx.TransportError as error:
                # A request that changes something may have arrived: it is not repeated.
                safe = repeatable or method == "GET" or isinstance(error, httpx.ConnectError)
                if last or not safe:
                    raise
                time.sleep(min(0.5 * 2**attempt, 10))
                continue
            if answer.status_code == 401 and not renewed:
                renewed = True
                if self._renew():
                    continue
            if last or answer.status_code not in (429, 503):
                return answer
            time.sleep(min(float(answer.headers.get("retry-after", 1)), 60))


def _counted(paths: Sequence[Path], progress: ProgressCallback | None) -> Callable[[Path, int], None]:
    """Adds up what has been sent of several files; what is sent again counts once."""
    total = sum(path.stat().st_size for path in paths)
    sent: dict[Path, int] = {}

    def count(path: Path, done: int) -> None:
        before = sum(sent.values())
        sent[path] = max(done, sent.get(path, 0))
        if progress is not None and sum(sent.values()) > before:
            progress(sum(sent.values()), total)

    return count


def _parsed(kind: type[Parsed], answer: httpx.Response) -> Parsed:
    text = _checked(answer).content
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise ApiError(
            answer.status_code,
            f"{answer.url} gave an answer that this client does not understand; use the client of the"
            f" service's version: {error}",
            answer.headers.get("x-request-id", ""),
        ) from error


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        try:
            detail = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = answer.reason_phrase
        raise ApiError(answer.status_code, detail, answer.headers.get("x-request-id", ""))
    return answer

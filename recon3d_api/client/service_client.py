"""A client of the service.

>>> from recon3d_api.client.service_client import Client
>>> client = Client("http://localhost:8000")  # doctest: +SKIP
>>> client.login("ada", "correct horse battery")  # doctest: +SKIP
>>> project = client.create_project("Bust")  # doctest: +SKIP
>>> client.upload_video(project["id"], "bust.mp4")  # doctest: +SKIP
>>> client.start_reconstruction(project["id"], "low")  # doctest: +SKIP
>>> client.wait(project["id"])  # doctest: +SKIP
>>> client.download(project["id"], "textured_mesh", "bust.glb")  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException
from websockets.sync.client import connect

from recon3d_api.client.progress import Bars, CountedFile

Json = dict[str, Any]
#: Called with bytes done and bytes in all.
ProgressCallback = Callable[[int, int], None]

_PIECE = 1 << 20


class ApiError(Exception):
    """The service's answer is an error.

    Attributes
    ----------
    status : int
        HTTP status.
    detail : str
        What the service says.
    request_id : str
        Finds the request in the service's logs.
    """

    def __init__(self, status: int, detail: str, request_id: str = "") -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.request_id = request_id


class ReconstructionFailed(Exception):
    """The run that was waited for failed or was cancelled."""


class Client:
    """Talks to one service.

    Parameters
    ----------
    url : str
        Root of the service, as in ``http://localhost:8000``.
    token : str, optional
        An access token, if there is one already.
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

    def register(self, username: str, email: str, password: str, full_name: str | None = None) -> Json:
        """Register an account, and log in."""
        body = {"username": username, "email": email, "password": password, "full_name": full_name}
        user: Json = self._json("POST", "/auth/register", json=body)
        self.login(username, password)
        return user

    def login(self, username: str, password: str) -> None:
        """Get a token; a new one is got by itself when it expires."""
        answer = self._json("POST", "/auth/token", data={"username": username, "password": password})
        self.token = answer["access_token"]
        self._login = (username, password)

    def me(self) -> Json:
        """The account."""
        return self._json("GET", "/auth/me")

    # --- projects ---------------------------------------------------------------------------------

    def projects(self, skip: int = 0, limit: int = 100) -> list[Json]:
        """Projects, newest first."""
        return self._rows("/projects", params={"skip": skip, "limit": limit})

    def create_project(self, name: str, description: str | None = None) -> Json:
        """Create a project."""
        return self._json("POST", "/projects", json={"name": name, "description": description})

    def project(self, project_id: int) -> Json:
        """Get a project."""
        return self._json("GET", f"/projects/{project_id}")

    def update_project(self, project_id: int, **changes: Any) -> Json:
        """Change ``name``, ``description`` or ``status``."""
        return self._json("PUT", f"/projects/{project_id}", json=changes)

    def delete_project(self, project_id: int) -> None:
        """Delete a project and its files."""
        self._json("DELETE", f"/projects/{project_id}")

    def start_reconstruction(self, project_id: int, quality: str = "medium") -> Json:
        """Start a reconstruction; `wait` waits for it."""
        path = f"/projects/{project_id}/start-reconstruction"
        return self._json("POST", path, params={"quality": quality})

    def status(self, project_id: int) -> Json:
        """How far a project is."""
        return self._json("GET", f"/projects/{project_id}/status")

    # --- files ------------------------------------------------------------------------------------

    def upload_video(
        self, project_id: int, path: str | os.PathLike[str], progress: ProgressCallback | None = None
    ) -> Json:
        """Upload a video, in pieces."""
        return self._upload("video", project_id, [("file", Path(path))], progress)

    def upload_images(
        self,
        project_id: int,
        paths: Sequence[str | os.PathLike[str]],
        progress: ProgressCallback | None = None,
    ) -> Json:
        """Upload images: all are taken, or none."""
        return self._upload("images", project_id, [("files", Path(path)) for path in paths], progress)

    def _upload(
        self,
        kind: str,
        project_id: int,
        paths: Sequence[tuple[str, Path]],
        progress: ProgressCallback | None,
    ) -> Json:
        if self._login is not None:
            self.me()  # renews the token, should it have expired: the upload itself is sent once
        total, done = sum(path.stat().st_size for _, path in paths), 0

        def count(size: int) -> None:
            nonlocal done
            done = min(done + size, total)
            if progress is not None:
                progress(done, total)

        with contextlib.ExitStack() as stack:
            files = []
            for field, path in paths:
                file = stack.enter_context(open(path, "rb"))
                files.append((field, (path.name, CountedFile(file, count))))
            # The project goes first: if it is the wrong one, the files need not be sent.
            answer = self._http.post(
                f"/api/v1/files/upload/{kind}",
                data={"project_id": str(project_id)},
                files=files,  # type: ignore[arg-type]
                headers=self._headers(),
                timeout=httpx.Timeout(60, read=900),
            )
        result: Json = _checked(answer).json()
        return result

    def extract_frames(self, project_id: int, interval: float = 1.0) -> Json:
        """Start to extract frames; `wait` waits for it."""
        form = {"project_id": str(project_id), "interval": str(interval)}
        return self._json("POST", "/files/extract-frames", data=form)

    def files(self, project_id: int) -> list[Json]:
        """Files of a project."""
        return self._rows(f"/files/list/{project_id}")

    def download(
        self,
        project_id: int,
        file_type: str,
        path: str | os.PathLike[str],
        progress: ProgressCallback | None = None,
    ) -> Path:
        """Download a file; one that was cut off is resumed.

        Parameters
        ----------
        project_id : int
        file_type : {"video", "frames", "mesh", "textured_mesh", "point_cloud"}
        path : path-like
            Where it goes. ``PATH.part`` and ``PATH.part.etag`` hold what has come so far.
        progress : callable, optional

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

    def jobs(self, **filters: Any) -> list[Json]:
        """Jobs; filters are ``project_id``, ``status``, ``job_type``, ``skip`` and ``limit``."""
        return self._rows("/jobs", params=filters)

    def job(self, job_id: int) -> Json:
        """Get a job."""
        return self._json("GET", f"/jobs/{job_id}")

    def cancel(self, job_id: int) -> Json:
        """Cancel a job and the later ones of its run."""
        return self._json("POST", f"/jobs/{job_id}/cancel")

    def logs(self, job_id: int, offset: int = 0) -> list[str]:
        """Log lines of a job."""
        lines: list[str] = self._json("GET", f"/jobs/{job_id}/logs", params={"offset": offset})["logs"]
        return lines

    # --- waiting ----------------------------------------------------------------------------------

    def events(self, project_id: int, after: int | None = None) -> Iterator[Json]:
        """Events of a project's jobs as they come; lost connections are taken up where they ended.

        Parameters
        ----------
        project_id : int
        after : int, optional
            Events with a higher ``seq`` are given; by default those from now on.

        Yields
        ------
        dict
            First the state, with ``event`` "state", then each event. Heartbeats are left out.

        Raises
        ------
        ApiError
            404 when the project is not there, 401 when the token is not good.
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
                        message: Json = json.loads(text)
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

    def wait(self, project_id: int, *, progress: bool = True, poll: float = 2.0) -> Json:
        """Wait for the newest run of a project.

        Parameters
        ----------
        project_id : int
        progress : bool
            Show a bar for each job.
        poll : float
            Seconds between questions where WebSockets do not get through.

        Returns
        -------
        dict
            The project.

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
                        bars.show({**job, "job_id": job["id"]})
                    if not bars.active:
                        break
                    time.sleep(poll)
        return self._outcome(project_id)

    def _newest_run(self, project_id: int) -> list[Json]:
        jobs = self._json("GET", f"/jobs/project/{project_id}/status")["jobs"]
        run: list[Json] = []
        for job in jobs:  # newest run first, each in order
            if any(job["job_type"] == known["job_type"] for known in run):
                break
            run.append(job)
        return run

    def _outcome(self, project_id: int) -> Json:
        # The run itself ends a moment after its last job: its process says goodbye.
        deadline = time.monotonic() + 30
        project = self.project(project_id)
        while project["status"] == "processing" and time.monotonic() < deadline:
            time.sleep(0.2)
            project = self.project(project_id)
        jobs = self._newest_run(project_id)
        for status in ("failed", "cancelled"):
            for job in jobs:
                if job["status"] == status:
                    why = job["error_message"] or job["message"] or status
                    raise ReconstructionFailed(f"{job['job_type']}: {why}")
        return project

    # --- requests ---------------------------------------------------------------------------------

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _renew(self) -> bool:
        if self._login is None:
            return False
        self.login(*self._login)
        return True

    def _json(self, method: str, path: str, **parts: Any) -> Json:
        answer: Json = _checked(self._send(method, f"/api/v1{path}", parts)).json()
        return answer

    def _rows(self, path: str, **parts: Any) -> list[Json]:
        answer: list[Json] = _checked(self._send("GET", f"/api/v1{path}", parts)).json()
        return answer

    def _send(self, method: str, url: str, parts: Mapping[str, Any]) -> httpx.Response:
        renewed = url.endswith(("/auth/token", "/auth/register"))
        attempt = -1
        while True:
            attempt += 1
            last = attempt >= self._retries
            try:
                answer = self._http.request(method, url, headers=self._headers(), **parts)
            except httpx.TransportError as error:
                # A request that changes something may have arrived: it is not repeated.
                if last or (method != "GET" and not isinstance(error, httpx.ConnectError)):
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


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        try:
            detail = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = answer.reason_phrase
        raise ApiError(answer.status_code, detail, answer.headers.get("x-request-id", ""))
    return answer

"""Waiting for what a run does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException
from websockets.sync.client import connect

from recon3d_api import schemas
from recon3d_api.client.connection import ApiError
from recon3d_api.client.progress import Bars
from recon3d_api.client.projects import Projects

Event = dict[str, Any]


class ReconstructionFailed(Exception):
    """The run that was waited for failed or was cancelled."""


class Waiting(Projects):
    """How a client follows runs."""

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

"""Jobs."""

from __future__ import annotations

import sys
from typing import TypedDict

from recon3d_api import schemas
from recon3d_api.client.connection import Connection
from recon3d_api.schemas import JobStatus, JobType

if sys.version_info >= (3, 11):
    from typing import Unpack
else:
    from typing_extensions import Unpack


class JobFilters(TypedDict, total=False):
    """What `Client.jobs` filters by, and how many jobs it skips and returns."""

    project_id: int
    status: JobStatus
    job_type: JobType
    skip: int
    limit: int


class Jobs(Connection):
    """What a client does with jobs."""

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

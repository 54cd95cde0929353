"""From received files to files of a project, for uploads by forms and for those that resume."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from anyio import to_thread

from recon3d_api.errors import ApiError
from recon3d_api.files.received import ReceivedFile
from recon3d_api.http.dependencies import Service, own_project
from recon3d_api.store import tables as models
from recon3d_api.work import deletions
from recon3d_api.work import queue as runs
from recon3d_api.work.quotas import count_bytes

logger = logging.getLogger("recon3d_api.files")


class Arrival:
    """Files that arrive, in a folder that is gone afterwards.

    Parameters
    ----------
    service : Service
    user : models.User
    folder : Path
    """

    def __init__(self, service: Service, user: models.User, folder: Path) -> None:
        self._service = service
        self._user = user
        self.folder = folder
        #: Names the project's folder once the upload is tied to it.
        self.bound = ""

    async def take(self, project_id: int, kind: str, files: Sequence[ReceivedFile]) -> list[str]:
        """Check the files and add them to a project, all or none.

        Parameters
        ----------
        project_id : int
        kind : {"video", "photo"}
        files : sequence of ReceivedFile

        Returns
        -------
        list of str
            Their paths, relative to the project.

        Raises
        ------
        ApiError
            400 for a bad file, 404 without the project, 409 while a run works on it, 507 on a full disk.
        """
        project = await to_thread.run_sync(open_project, self._service, self._user, project_id)
        self.bound = project.folder
        self._service.storage.bind(self.folder, self.bound)
        # A deletion waits for this upload from here on; one that was faster is seen now.
        await to_thread.run_sync(open_project, self._service, self._user, project_id)
        paths = await self._service.intakes.take(self._user.id, self.folder, self.bound, kind, files)
        self._service.metrics.uploaded.inc(sum(file.size for file in files))
        await self._service.lanes.disk.run(
            count_bytes, self._service.database, self._service.storage, project_id, self.bound
        )
        return paths


@contextlib.asynccontextmanager
async def arriving(service: Service, user: models.User) -> AsyncIterator[Arrival]:
    """Give an upload a folder, and let a deletion that waited for it happen afterwards.

    Parameters
    ----------
    service : Service
    user : models.User

    Yields
    ------
    Arrival
    """
    arrival = None
    try:
        with service.storage.incoming() as folder:
            arrival = Arrival(service, user, folder)
            yield arrival
    except ApiError as error:
        service.metrics.refused.labels("upload").inc()
        logger.warning(
            "Upload refused", extra={"user": user.id, "status": error.status, "reason": error.detail}
        )
        raise
    finally:
        if arrival is not None and arrival.bound:  # the project may have been deleted meanwhile
            await to_thread.run_sync(deletions.carry_out, service.database, service.storage, arrival.bound)


async def require_project(service: Service, user: models.User, project_id: int) -> None:
    """Check that a project was not deleted while files arrived; a run may have started.

    Parameters
    ----------
    service : Service
    user : models.User
    project_id : int

    Raises
    ------
    ApiError
        404 when it was.
    """
    try:
        await to_thread.run_sync(open_project, service, user, project_id)
    except ApiError as error:
        if error.status == 404:
            raise


def open_project(service: Service, user: models.User, project_id: int) -> models.Project:
    """Find a project of the caller that takes files now.

    Parameters
    ----------
    service : Service
    user : models.User
    project_id : int

    Returns
    -------
    models.Project

    Raises
    ------
    ApiError
        404, 400 when it is archived, 409 while a run works on it.
    """
    with service.database.read() as session:
        project = own_project(session, user, project_id)
        if project.status == "archived":
            raise ApiError(400, "The project is archived; set its status back first")
        if runs.active_run(session, project_id) is not None:
            raise ApiError(409, runs.BUSY)
        return project

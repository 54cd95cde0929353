"""Projects."""

from __future__ import annotations

import sys
from typing import TypedDict

from recon3d_api import schemas
from recon3d_api.client.connection import Connection
from recon3d_api.schemas import ProjectStatus, Quality

if sys.version_info >= (3, 11):
    from typing import Unpack
else:
    from typing_extensions import Unpack


class ProjectChanges(TypedDict, total=False):
    """What `Client.update_project` can change."""

    name: str
    description: str | None
    status: ProjectStatus


class Projects(Connection):
    """What a client does with projects."""

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

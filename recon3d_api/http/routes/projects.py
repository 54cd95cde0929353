"""Projects and their reconstructions."""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute

import recon3d
from recon3d_api import schemas
from recon3d_api.errors import ApiError
from recon3d_api.http import listing
from recon3d_api.http.dependencies import ProjectId, ServiceDep, UserDep, answers, own_project, throttle
from recon3d_api.http.routes.jobs import job_out
from recon3d_api.http.routing import Route
from recon3d_api.http.run_options import checked
from recon3d_api.store import audit
from recon3d_api.store import tables as models
from recon3d_api.work import deletions, turns
from recon3d_api.work import queue as runs
from recon3d_api.work.confinement import confined

router = APIRouter(route_class=Route, prefix="/projects", tags=["projects"])
_general = Depends(throttle("general"))
_NO_OPTIONS = schemas.StartReconstruction()

_PROJECTS = TypeAdapter(list[schemas.Project])
_COLUMNS = tuple(getattr(models.Project, name) for name in schemas.Project.model_fields)
_NAME = func.lower(models.Project.name)
_ORDERS: dict[str, tuple[ColumnElement[Any] | InstrumentedAttribute[Any], ...]] = {
    "id": (models.Project.id,),
    "-id": (models.Project.id.desc(),),
    "name": (_NAME, models.Project.id),
    "-name": (_NAME.desc(), models.Project.id.desc()),
    "updated_at": (models.Project.updated_at, models.Project.id),
    "-updated_at": (models.Project.updated_at.desc(), models.Project.id.desc()),
}


@router.get("", dependencies=[_general], responses={**answers(401), 200: listing.described()})
def list_projects(
    request: Request,
    response: Response,
    user: UserDep,
    service: ServiceDep,
    search: listing.Search = None,
    status: Annotated[schemas.ProjectStatus | None, Query(description="Filter by status")] = None,
    order: Annotated[schemas.ProjectOrder, Query(description="A minus reverses it")] = "-id",
    skip: listing.Skip = 0,
    limit: listing.Limit = 100,
) -> list[schemas.Project]:
    """List the caller's projects, newest first unless `order` says otherwise."""
    wanted = select(*_COLUMNS).where(models.Project.owner_id == user.id)
    if search is not None:
        wanted = wanted.where(listing.contains(models.Project.name, search))
    if status is not None:
        wanted = wanted.where(models.Project.status == status)
    wanted = wanted.order_by(*_ORDERS[order])
    with service.database.read() as session:
        rows = listing.read_page(session, wanted, request, response, skip, limit)
    return _PROJECTS.validate_python([dict(row._mapping) for row in rows])


@router.post("", status_code=201, dependencies=[_general], responses=answers(401, 403, 507))
def create_project(body: schemas.ProjectCreate, user: UserDep, service: ServiceDep) -> schemas.Project:
    """Create a new project."""
    with service.database.write() as session:
        service.quotas.check_projects(session, user.id)
        project = models.Project(
            owner_id=user.id, name=body.name, description=body.description, folder=uuid.uuid4().hex
        )
        session.add(project)
    return schemas.Project.model_validate(project)


@router.get("/{project_id}", dependencies=[_general], responses=answers(401, 404))
def get_project(project_id: ProjectId, user: UserDep, service: ServiceDep) -> schemas.Project:
    """Get a project."""
    with service.database.read() as session:
        return schemas.Project.model_validate(own_project(session, user, project_id))


@router.put("/{project_id}", dependencies=[_general], responses=answers(400, 401, 404, 507))
def update_project(
    project_id: ProjectId, body: schemas.ProjectUpdate, user: UserDep, service: ServiceDep
) -> schemas.Project:
    """Change a project's name or description, archive it, or bring it back.

    A project that is being processed cannot be archived; the other states are the service's to set.
    """
    with service.database.write() as session:
        project = own_project(session, user, project_id, lock=True)
        if body.name is not None:
            project.name = body.name
        if "description" in body.model_fields_set:
            project.description = body.description
        if body.status is not None and body.status != project.status:
            busy = runs.active_run(session, project_id) is not None
            if body.status == "archived" and project.status != "processing" and not busy:
                project.previous_status, project.status = project.status, "archived"
            elif project.status == "archived" and body.status == project.previous_status:
                project.status = project.previous_status
            else:
                raise ApiError(400, f"A project that is {project.status} cannot become {body.status}")
        session.flush()
        session.refresh(project)
        return schemas.Project.model_validate(project)


@router.delete("/{project_id}", dependencies=[_general], responses=answers(401, 404, 409, 507))
def delete_project(project_id: ProjectId, user: UserDep, service: ServiceDep) -> schemas.Message:
    """Delete a project with all its files; refused while a run works on it."""
    folders: list[str] = []

    def delete() -> None:
        if not folders:
            with service.database.write() as session:
                project = own_project(session, user, project_id, lock=True)
                if runs.active_run(session, project_id) is not None:
                    raise ApiError(409, runs.BUSY)
                folder = project.folder
                audit.record(session, "project.deleted", user=user, target=f"project {project.id}")
                deletions.request(session, project)
            folders.append(folder)
        deletions.carry_out(service.database, service.storage, folders[0])

    service.storage.reserve.spend(delete)
    return schemas.Message(message="Project deleted successfully")


@router.post(
    "/{project_id}/start-reconstruction",
    dependencies=[Depends(throttle("processing"))],
    responses=answers(400, 401, 403, 404, 409, 507),
)
def start_reconstruction(
    project_id: ProjectId,
    user: UserDep,
    service: ServiceDep,
    quality: Annotated[schemas.Quality, Query(description="Reconstruction quality")] = "medium",
    body: Annotated[schemas.StartReconstruction, Body()] = _NO_OPTIONS,
) -> schemas.Started:
    """Start 3D reconstruction for a project: one job for each stage.

    What an earlier run has finished with the same options is used again. An interval that was given
    to extract-frames is kept, unless this run has its own. A run that ends before `texturing` makes no
    model, and leaves the project's status as it is. Users take turns: `queue_position` of the status
    tells when it is taken.
    """
    wanted = checked(quality, body)
    service.quotas.check_disk(user.id, 0)
    with service.database.write() as session:
        project = own_project(session, user, project_id, lock=True)
        if project.status == "archived":
            raise ApiError(400, "The project is archived; set its status back first")
        if not service.storage.has_input(project.folder):
            raise ApiError(400, "The project has no video and no images; upload some first")
        service.quotas.check_queue(session, user.id)
        wanted.setdefault("frame_extraction", {}).setdefault("interval", project.frame_interval)
        run = runs.create_run(
            session,
            project,
            quality=quality,
            options=_given(wanted),
            until=None if body.until == recon3d.STAGE_NAMES[-1] else body.until,
            flags=[name for name in runs.FLAGS if getattr(body, name)],
        )
        answer = schemas.Started(
            message="Reconstruction started",
            project_id=project_id,
            quality=quality,
            status=project.status,
            jobs=[job_out(job) for job in run.jobs],
        )
    service.runner.wake()
    return answer


@router.get(
    "/{project_id}/check",
    dependencies=[Depends(throttle("processing"))],
    responses=answers(400, 401, 404),
)
def check_inputs(project_id: ProjectId, user: UserDep, service: ServiceDep) -> schemas.InputCheck:
    """Look at a sample of a project's inputs, before hours are spent on them.

    The first answer takes some seconds; the same inputs are not looked at again.
    """
    with service.database.read() as session:
        folder = own_project(session, user, project_id).folder
    opened = service.storage.open(folder)
    if opened is None or not service.storage.has_input(folder):
        raise ApiError(400, "The project has no video and no images; upload some first")
    try:
        with confined(service.storage, folder, f"check-{project_id}") as launcher:
            found = recon3d.check(opened, workers=service.settings.run_workers or None, launcher=launcher)
    except recon3d.Recon3DError as error:
        raise ApiError(400, error.message.replace(f"{opened.path}/", "")) from error
    told = json.loads(json.dumps(found.to_json()).replace(f"{opened.path}/", ""))
    return schemas.InputCheck(project_id=project_id, **told)


@router.get("/{project_id}/status", dependencies=[_general], responses=answers(401, 404))
def project_status(project_id: ProjectId, user: UserDep, service: ServiceDep) -> schemas.ProjectRunStatus:
    """Get the current status of a project's reconstruction."""
    with service.database.read() as session:
        project = own_project(session, user, project_id)
        run = runs.newest_run(session, project_id)
        jobs = run.jobs if run else []
        current = next((job for job in jobs if job.status == "running"), None)
        return schemas.ProjectRunStatus(
            project_id=project.id,
            status=project.status,
            progress=schemas.Progress(
                total_frames=project.total_frames,
                processed_frames=project.processed_frames,
                percentage=round(100 * run.fraction, 1) if run else 0.0,
            ),
            current_job=job_out(current) if current else None,
            eta_seconds=_eta(run),
            reconstruction_quality=project.reconstruction_quality,
            processing_time=project.processing_time,
            error_message=run.error if run else None,
            queue_position=turns.position(session, run) if run else None,
            created_at=project.created_at,
            updated_at=project.updated_at,
        )


def _given(options: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Options without those that are left to the stage."""
    told = {
        stage: {option: value for option, value in values.items() if value is not None}
        for stage, values in options.items()
    }
    return {stage: values for stage, values in told.items() if values}


def _eta(run: models.Run | None) -> float | None:
    if run is None or run.status != "running" or run.seconds_left is None:
        return None
    return round(run.seconds_left, 1)

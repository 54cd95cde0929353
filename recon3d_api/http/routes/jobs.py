"""Jobs: the stages of runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from recon3d_api import schemas
from recon3d_api.errors import not_found
from recon3d_api.http import listing
from recon3d_api.http.dependencies import (
    JobId,
    ProjectId,
    Service,
    ServiceDep,
    UserDep,
    answers,
    own_project,
    throttle,
)
from recon3d_api.http.routing import Route
from recon3d_api.store import tables as models
from recon3d_api.work import job_log as joblog
from recon3d_api.work import queue as runs

router = APIRouter(
    route_class=Route, prefix="/jobs", tags=["jobs"], dependencies=[Depends(throttle("general"))]
)

_FOLLOW_POLL = 0.3
_STORED = tuple(name for name in schemas.Job.model_fields if name != "duration")
_COLUMNS = tuple(getattr(models.Job, name) for name in _STORED)
_JOBS = TypeAdapter(list[schemas.Job])


def job_out(job: models.Job) -> schemas.Job:
    """Convert a row for an answer.

    Parameters
    ----------
    job : models.Job

    Returns
    -------
    schemas.Job
    """
    duration = _duration(job.started_at, job.completed_at, models.utcnow())
    values = {name: getattr(job, name) for name in _STORED}
    return schemas.Job(**values, duration=duration)


def _duration(started: datetime | None, completed: datetime | None, now: datetime) -> float | None:
    if started is None:
        return None
    return round(max(((completed or now) - started).total_seconds(), 0.0), 3)


def _own_job(session: Session, user: models.User, job_id: int) -> tuple[models.Job, models.Project]:
    found = session.execute(
        select(models.Job, models.Project)
        .join(models.Project, models.Project.id == models.Job.project_id)
        .where(models.Job.id == job_id, models.Project.owner_id == user.id)
    ).first()
    if found is None:
        raise not_found("Job")
    return found[0], found[1]


@router.get("", responses={**answers(401), 200: listing.described()})
def list_jobs(
    request: Request,
    response: Response,
    user: UserDep,
    service: ServiceDep,
    project_id: Annotated[int | None, Query(ge=1, le=schemas.MAX_ID, description="Filter by project")] = None,
    status: Annotated[schemas.JobStatus | None, Query(description="Filter by status")] = None,
    job_type: Annotated[schemas.JobType | None, Query(description="Filter by type")] = None,
    search: listing.Search = None,
    order: Annotated[schemas.JobOrder, Query(description="A minus reverses it")] = "-id",
    skip: listing.Skip = 0,
    limit: listing.Limit = 100,
) -> list[schemas.Job]:
    """List the caller's jobs, newest first unless `order` says otherwise."""
    wanted = select(*_COLUMNS).where(models.Job.owner_id == user.id)
    for column, value in (
        (models.Job.project_id, project_id),
        (models.Job.status, status),
        (models.Job.job_type, job_type),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    if search is not None:
        named = select(models.Project.id).where(
            models.Project.owner_id == user.id, listing.contains(models.Project.name, search)
        )
        wanted = wanted.where(models.Job.project_id.in_(named))
    wanted = wanted.order_by(models.Job.id if order == "id" else models.Job.id.desc())
    with service.database.read() as session:
        rows = listing.read_page(session, wanted, request, response, skip, limit)
    now = models.utcnow()
    return _JOBS.validate_python(
        [{**row._mapping, "duration": _duration(row.started_at, row.completed_at, now)} for row in rows]
    )


@router.get("/project/{project_id}/status", responses=answers(401, 404))
def jobs_of_project(project_id: ProjectId, user: UserDep, service: ServiceDep) -> schemas.JobsStatus:
    """Get the status of all jobs of a project, newest run first."""
    with service.database.read() as session:
        project = own_project(session, user, project_id)
        rows = session.scalars(
            select(models.Job)
            .where(models.Job.project_id == project_id)
            .order_by(models.Job.run_id.desc(), models.Job.position)
        ).all()
        counts = Counter(row.status for row in rows)
        return schemas.JobsStatus(
            project_id=project_id,
            status=project.status,
            total=len(rows),
            pending=counts["pending"],
            running=counts["running"],
            completed=counts["completed"],
            failed=counts["failed"],
            cancelled=counts["cancelled"],
            jobs=[job_out(row) for row in rows],
        )


@router.get("/{job_id}", responses=answers(401, 404))
def get_job(job_id: JobId, user: UserDep, service: ServiceDep) -> schemas.Job:
    """Get a job."""
    with service.database.read() as session:
        return job_out(_own_job(session, user, job_id)[0])


@router.post("/{job_id}/cancel", responses=answers(400, 401, 404, 507))
def cancel_job(job_id: JobId, user: UserDep, service: ServiceDep) -> schemas.Job:
    """Cancel a job, and the later jobs of its run.

    A job that is running ends within seconds; until then it says "Cancelling". What earlier jobs have
    made is kept. Cancelling a job that waits lets the ones before it go on.
    """

    def cancel() -> schemas.Job:
        with service.database.write() as session:
            _own_job(session, user, job_id)
            return job_out(runs.cancel_job(session, job_id))

    # A project is deleted after its run is cancelled: so both work on a full disk.
    answer = service.storage.reserve.spend(cancel)
    service.runner.wake()
    return answer


@router.get(
    "/{job_id}/logs",
    response_model=schemas.Logs,
    responses={
        **answers(401, 404),
        200: {
            "description": "Lines as JSON, or with `follow` as plain text while they come",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    },
)
def get_logs(
    job_id: JobId,
    user: UserDep,
    service: ServiceDep,
    offset: Annotated[int, Query(ge=0, le=schemas.MAX_ID, description="Lines to skip")] = 0,
    follow: Annotated[bool, Query(description="Stream lines until the job is over")] = False,
) -> schemas.Logs | Response:
    """Get the log lines of a job."""
    with service.database.read() as session:
        job, project = _own_job(session, user, job_id)
        over, folder = job.status not in models.ACTIVE_JOB, project.folder
    if follow:
        stream = _follow(service, folder, job_id, offset)
        return StreamingResponse(stream, media_type="text/plain; charset=utf-8")
    lines = joblog.read(service.storage.log(folder, job_id), offset)
    last = offset + len(lines)
    complete = over and not joblog.read(service.storage.log(folder, job_id), last, 1)
    return schemas.Logs(job_id=job_id, logs=lines, offset=offset, next_offset=last, complete=complete)


async def _follow(service: Service, folder: str, job_id: int, offset: int) -> AsyncIterator[str]:
    def more() -> tuple[list[str], bool]:
        with service.database.read() as session:
            status = session.scalar(select(models.Job.status).where(models.Job.id == job_id))
        lines = joblog.read(service.storage.log(folder, job_id), offset)
        return lines, status not in models.ACTIVE_JOB

    while True:
        lines, over = await service.lanes.logs.run(more)
        for line in lines:
            yield f"{line}\n"
        offset += len(lines)
        if over and not lines:
            return
        await asyncio.sleep(_FOLLOW_POLL)

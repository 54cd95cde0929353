"""What the queue of runs knows: making runs, their jobs' states, and the events of these.

Whoever changes jobs locks rows in the same order: the run, then its jobs, then the project.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from recon3d_api.errors import ApiError
from recon3d_api.schemas import JobStatus
from recon3d_api.store import run_mails, webhooks
from recon3d_api.store.tables import (
    ACTIVE_JOB,
    ACTIVE_RUN,
    JOB_TYPES,
    Event,
    Job,
    Project,
    Run,
    utcnow,
)

BUSY = "A run of this project is going on; wait for it, or cancel it"

#: What a run may be told to continue with, and where its row keeps that: no stage has this name.
FLAGS = ("force", "accept_partial")
PIPELINE = "pipeline"

#: Columns of a project that belong to the run that made its results.
_NUMBERS = ("total_frames", "processed_frames", "processing_time", "reconstruction_quality")


def active_run(session: Session, project_id: int) -> Run | None:
    """Find the run that waits or works.

    Parameters
    ----------
    session : Session
    project_id : int

    Returns
    -------
    Run or None
    """
    return session.scalar(select(Run).where(Run.project_id == project_id, Run.status.in_(ACTIVE_RUN)))


def newest_run(session: Session, project_id: int) -> Run | None:
    """Find the run that was started last.

    Parameters
    ----------
    session : Session
    project_id : int

    Returns
    -------
    Run or None
    """
    return session.scalar(select(Run).where(Run.project_id == project_id).order_by(Run.id.desc()).limit(1))


def create_run(
    session: Session,
    project: Project,
    *,
    quality: str,
    options: dict[str, dict[str, Any]],
    until: str | None = None,
    flags: Sequence[str] = (),
) -> Run:
    """Queue a run, with a job for each stage.

    Parameters
    ----------
    session : Session
    project : Project
    quality : str
    options : dict of str to dict of str to Any
        Options by stage.
    until : str, optional
        Last stage.
    flags : sequence of str
        Those of `FLAGS` that are set.

    Returns
    -------
    Run

    Raises
    ------
    ApiError
        409 when the project has an active run.
    """
    if active_run(session, project.id) is not None:
        raise ApiError(409, BUSY)
    full = until is None
    told = dict.fromkeys(flags, True)
    run = Run(
        project_id=project.id,
        owner_id=project.owner_id,
        quality=quality,
        until=until,
        options={**options, **({PIPELINE: told} if told else {})},
        full=full,
        kept_numbers=_numbers_of_results(session, project),
    )
    session.add(run)
    try:
        session.flush()
    except IntegrityError as error:  # another request was faster
        raise ApiError(409, BUSY) from error
    last = JOB_TYPES.index(until) if until else len(JOB_TYPES) - 1
    for position, job_type in enumerate(JOB_TYPES[: last + 1]):
        parameters = {"quality": quality, **told, **options.get(job_type, {})}
        run.jobs.append(
            Job(
                project_id=project.id,
                owner_id=project.owner_id,
                position=position,
                job_type=job_type,
                parameters=parameters,
            )
        )
    # Of earlier runs only the states stay, so that a project's events do not grow for ever.
    session.execute(delete(Event).where(Event.project_id == project.id, Event.event == "job_progress"))
    if full:
        project.previous_status = project.status
        project.status = "processing"
        project.processed_frames = 0
        project.processing_time = 0.0
    session.flush()
    return run


def _numbers_of_results(session: Session, project: Project) -> dict[str, Any] | None:
    """Numbers of the results that the project has; None before its first reconstruction."""
    finished = select(Run.id).where(Run.project_id == project.id, Run.full, Run.status == "completed")
    if project.status != "completed" and session.scalar(finished.limit(1)) is None:
        return None
    return {name: getattr(project, name) for name in _NUMBERS}


def emit(session: Session, job: Job, event: str, pictures: datetime | None = None) -> None:
    """Append an event with the job's present state.

    The project's row is locked until the transaction ends, so that readers see events in the order
    of their numbers, without gaps that fill later.

    Parameters
    ----------
    session : Session
    job : Job
    event : str
        Name of the event.
    pictures : datetime, optional
        When the newest frame or depth map was written.
    """
    session.flush()
    seq = session.scalar(
        update(Project)
        .where(Project.id == job.project_id)
        .values(event_seq=Project.event_seq + 1)
        .returning(Project.event_seq)
        .execution_options(synchronize_session=False)
    )
    if seq is None:
        return  # the project is being deleted
    session.add(
        Event(
            project_id=job.project_id,
            seq=seq,
            job_id=job.id,
            event=event,
            job_type=job.job_type,
            status=job.status,
            progress=job.progress,
            message=job.message,
            error=job.error_message,
            pictures=pictures,
        )
    )


def end_job(
    session: Session, job: Job, status: JobStatus, message: str | None, error: str | None = None
) -> None:
    """End a job, and emit its event.

    Parameters
    ----------
    session : Session
    job : Job
    status : JobStatus
    message : str or None
    error : str, optional
        Why it failed.
    """
    job.status = status
    job.completed_at = utcnow()
    job.eta = None
    if message is not None:
        job.message = message
    job.error_message = error
    if status == "completed":
        job.progress = 100.0
    emit(session, job, f"job_{status}")


def end_run(
    session: Session, run: Run, status: Literal["completed", "failed", "cancelled"], error: str | None = None
) -> None:
    """End a run: unfinished jobs are cancelled, and the project's status is set.

    Parameters
    ----------
    session : Session
    run : Run
    status : {"completed", "failed", "cancelled"}
    error : str, optional
        Why it failed.
    """
    pending = "Cancelled" if status == "cancelled" else "Not run, since an earlier job failed"
    for job in run.jobs:
        if job.status == "running":
            end_job(session, job, "cancelled" if status == "cancelled" else "failed", None, error)
        elif job.status == "pending":
            end_job(session, job, "cancelled", pending)
    run.status = status
    run.error = error
    run.completed_at = utcnow()
    run.runner = None
    project = session.get_one(Project, run.project_id)
    if run.full:
        project.status = project.previous_status if status == "cancelled" else status
    if run.kept_numbers is not None and not (run.full and status == "completed"):
        for name, value in run.kept_numbers.items():
            setattr(project, name, value)
    webhooks.run_ended(session, project, run)
    run_mails.run_ended(session, project, run)
    session.flush()


def locked_run(session: Session, run_id: int) -> Run | None:
    """Lock a run's row against its runner.

    Parameters
    ----------
    session : Session
    run_id : int

    Returns
    -------
    Run or None
    """
    return session.scalar(
        select(Run).where(Run.id == run_id).with_for_update().execution_options(populate_existing=True)
    )


def cancel_job(session: Session, job_id: int) -> Job:
    """Cancel a job and the later ones of its run.

    A job that runs ends when its process does; its runner sees the request.

    Parameters
    ----------
    session : Session
    job_id : int

    Returns
    -------
    Job

    Raises
    ------
    ApiError
        400 when the job is over.
    """
    run_id = session.scalar(select(Job.run_id).where(Job.id == job_id))
    run = locked_run(session, run_id) if run_id is not None else None
    if run is None:
        raise ApiError(404, "Job not found")
    # The lock on the run is enough. One on the jobs would wait for whoever deletes the project, who
    # waits for the run.
    jobs = session.scalars(
        select(Job)
        .where(Job.run_id == run.id)
        .order_by(Job.position)
        .execution_options(populate_existing=True)
    ).all()
    job = next(row for row in jobs if row.id == job_id)
    if job.status not in ACTIVE_JOB:
        raise ApiError(400, f"The job is over: {job.status}")
    if run.status == "queued":
        # No process works on it: earlier jobs that have not run yet continue.
        if job.status == "running" or all(row.status not in ACTIVE_JOB for row in jobs if row is not job):
            end_run(session, run, "cancelled")
            return job
    elif job.status == "running":
        run.cancel_requested = True
        job.message = "Cancelling"
    for later in jobs:
        if later.position >= job.position and later.status == "pending":
            end_job(session, later, "cancelled", "Cancelled")
    if not any(row.status in ACTIVE_JOB for row in jobs):
        if run.status == "queued":
            end_run(session, run, "cancelled")
        else:
            run.cancel_requested = True
    session.flush()
    return job

"""Uploads by forms, extracting frames, lists and removal of files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Form, Request

import recon3d
from recon3d_api import schemas
from recon3d_api.errors import ApiError, not_found
from recon3d_api.files import catalog, names, resumable
from recon3d_api.files.content import EMPTY
from recon3d_api.files.received import ReceivedFile
from recon3d_api.http import arrivals, multipart
from recon3d_api.http.dependencies import (
    FilePath,
    ProjectId,
    Service,
    ServiceDep,
    UserDep,
    answers,
    own_project,
    throttle,
)
from recon3d_api.http.routes.jobs import job_out
from recon3d_api.http.routes.uploads import require_few, upload_out
from recon3d_api.http.routing import Route
from recon3d_api.store import tables as models
from recon3d_api.work import queue as runs
from recon3d_api.work.quotas import forget_bytes

router = APIRouter(route_class=Route, prefix="/files", tags=["files"])
_general = Depends(throttle("general"))

_BINARY = "application/octet-stream"


def _form(files: dict[str, Any], required: str) -> dict[str, Any]:
    """The body of an upload for the OpenAPI document: FastAPI does not read it, so cannot say."""
    properties = {**files, "project_id": {"type": "integer", "minimum": 1, "maximum": schemas.MAX_ID}}
    schema = {"type": "object", "required": [required, "project_id"], "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


_FILE = {"type": "string", "contentMediaType": _BINARY}


@router.post(
    "/upload/video",
    dependencies=[_general],
    responses=answers(400, 401, 403, 404, 409, 413, 507),
    openapi_extra=_form({"file": {**_FILE, "description": "MP4, AVI, MOV or MKV"}}, "file"),
)
async def upload_video(request: Request, user: UserDep, service: ServiceDep) -> schemas.VideoUploaded:
    """Upload a video file for 3D reconstruction.

    Several videos of one project are reconstructed together.
    """
    (uploaded,) = await _upload(request, user, service, "file", "video", names.VIDEO_SUFFIXES, 1)
    return uploaded


@router.post(
    "/upload/images",
    dependencies=[_general],
    responses=answers(400, 401, 403, 404, 409, 413, 507),
    openapi_extra=_form(
        {"files": {"type": "array", "items": _FILE, "description": "JPG, JPEG, PNG or TIFF"}}, "files"
    ),
)
async def upload_images(request: Request, user: UserDep, service: ServiceDep) -> schemas.ImagesUploaded:
    """Upload images for 3D reconstruction: all are taken, or none."""
    most = service.settings.max_upload_files
    uploaded = await _upload(request, user, service, "files", "photo", names.IMAGE_SUFFIXES, most)
    return schemas.ImagesUploaded(
        message=f"{len(uploaded)} image{'s' * (len(uploaded) > 1)} uploaded successfully",
        files=uploaded,
        file_size=sum(row.file_size for row in uploaded),
        project_id=uploaded[0].project_id,
    )


@router.post(
    "/upload/held-images",
    status_code=201,
    dependencies=[_general],
    responses=answers(400, 401, 403, 404, 409, 413, 507),
    openapi_extra=_form(
        {"files": {"type": "array", "items": _FILE, "description": "JPG, JPEG, PNG or TIFF"}}, "files"
    ),
)
async def hold_images(request: Request, user: UserDep, service: ServiceDep) -> list[schemas.ResumableUpload]:
    """Send several images that wait, as uploads with `hold`, until `take-uploads` takes them together."""
    most = service.settings.max_upload_files
    async with _received(request, user, service, "files", names.IMAGE_SUFFIXES, most) as (_, number, files):
        if empty := next((file for file in files if file.size == 0), None):
            raise ApiError(400, f"{names.base_name(empty.name)} {EMPTY}")
        project = await to_thread.run_sync(arrivals.open_project, service, user, number)
        uploads = [
            resumable.Upload(
                id=resumable.new_id(),
                owner_id=user.id,
                project_id=project.id,
                folder=project.folder,
                name=names.base_name(file.name),
                kind="photo",
                length=file.size,
                hold=True,
                created=time.time(),
            )
            for file in files
        ]
        await service.lanes.disk.run(_hold, service, user, uploads, [file.path for file in files])
    return [upload_out(service, upload) for upload in uploads]


def _hold(service: Service, user: models.User, uploads: list[resumable.Upload], paths: list[Path]) -> None:
    with contextlib.ExitStack() as undo:
        with service.uploads.beginning(user.id):
            require_few(service, user.id, len(uploads))
            for upload, path in zip(uploads, paths, strict=True):
                service.uploads.create(upload, path)
                undo.callback(service.uploads.remove, upload)
        # Deleted meanwhile: the project's uploads were removed before these came.
        arrivals.open_project(service, user, uploads[0].project_id)
        undo.pop_all()


async def _upload(
    request: Request,
    user: models.User,
    service: Service,
    field: str,
    kind: str,
    suffixes: Sequence[str],
    most: int,
) -> list[schemas.VideoUploaded]:
    """Receive a form, check what came, and put it into the project."""
    async with _received(request, user, service, field, suffixes, most) as (arrival, project_id, files):
        paths = await arrival.take(project_id, kind, files)
    await arrivals.require_project(service, user, project_id)
    return [
        schemas.VideoUploaded(
            message=f"{'Video' if kind == 'video' else 'Image'} uploaded successfully",
            file_path=path,
            file_size=file.size,
            project_id=project_id,
        )
        for path, file in zip(paths, files, strict=True)
    ]


@contextlib.asynccontextmanager
async def _received(
    request: Request,
    user: models.User,
    service: Service,
    field: str,
    suffixes: Sequence[str],
    most: int,
) -> AsyncIterator[tuple[arrivals.Arrival, int, list[ReceivedFile]]]:
    """Receive a form with files for a project, within the caller's quotas."""

    async def check(value: str) -> None:
        # The project may be named before the file: then a wrong one costs nobody the upload.
        await to_thread.run_sync(arrivals.open_project, service, user, _project_id(value))

    settings = service.settings
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isascii() and length.isdigit() else 0
    async with arrivals.arriving(service, user) as arrival:
        with service.quotas.uploading(user.id) as upload:
            upload.size = announced
            await service.lanes.disk.run(service.quotas.check_disk, user.id, announced, upload)
            form = await multipart.FormReader(
                request,
                arrival.folder,
                max_file=settings.max_upload_bytes,
                max_files=most,
                room=lambda size, unwritten: service.room.check(user.id, size, unwritten),
                lane=service.lanes.disk,
                file_field=field,
                check={"project_id": check},
                name_problem=lambda name: names.name_problem(name, suffixes),
            ).read()
            if "project_id" not in form.fields:
                raise multipart.field_error("project_id", "Field required", "missing")
            if not form.files:
                raise multipart.field_error(field, "Field required", "missing")
            project_id = _project_id(form.fields["project_id"])
            upload.size = sum(file.size for file in form.files)
            await service.lanes.disk.run(service.quotas.check_disk, user.id, upload.size, upload)
            yield arrival, project_id, form.files


def _project_id(text: str) -> int:
    if (number := schemas.read_id(text)) is None:
        raise multipart.field_error("project_id", "Input should be a valid, positive integer", "int_parsing")
    return number


@router.post(
    "/extract-frames",
    dependencies=[Depends(throttle("processing"))],
    responses=answers(400, 401, 403, 404, 409, 507),
)
def extract_frames(
    user: UserDep,
    service: ServiceDep,
    form: Annotated[schemas.ExtractFrames, Form()],
) -> schemas.Extraction:
    """Extract frames from the uploaded video, as a job.

    Later reconstructions keep the interval. One of the same quality uses these frames and does not
    extract again.
    """
    project_id, interval = form.project_id, form.interval
    with service.database.write() as session:
        project = own_project(session, user, project_id, lock=True)
        if project.status == "archived":
            raise ApiError(400, "The project is archived; set its status back first")
        if not service.storage.has_video(project.folder):
            raise ApiError(400, "The project has no video; upload one first")
        service.quotas.check_queue(session, user.id)
        options = {"frame_extraction": {"interval": interval}}
        run = runs.create_run(
            session, project, quality=form.quality, options=options, until="frame_extraction"
        )
        project.frame_interval = interval
        job = job_out(run.jobs[0])
    service.runner.wake()
    return schemas.Extraction(
        message="Frame extraction started", project_id=project_id, interval=interval, job_id=job.id, job=job
    )


@router.get("/list/{project_id}", dependencies=[_general], responses=answers(401, 404))
def list_files(project_id: ProjectId, user: UserDep, service: ServiceDep) -> list[schemas.FileInfo]:
    """List all files associated with a project."""
    with service.database.read() as session:
        project = own_project(session, user, project_id)
    opened = service.storage.open(project.folder)
    if opened is None:
        return []
    outdated = opened.results.outdated
    listed = []
    for entry in catalog.entries(opened):
        if (found := catalog.size_and_time(entry.file)) is not None:
            size, modified = found
            listed.append(
                schemas.FileInfo(
                    type=entry.type,
                    path=entry.path,
                    size=size,
                    modified=modified,
                    outdated=entry.type in outdated,
                )
            )
    return listed


@router.delete(
    "/{project_id:int}/{path:path}", dependencies=[_general], responses=answers(400, 401, 404, 409, 507)
)
def remove_file(
    project_id: ProjectId, path: FilePath, user: UserDep, service: ServiceDep
) -> schemas.FileRemoved:
    """Remove an uploaded video or photo, by its path in the list; refused while a run works on the project.

    Results that were made with it stay until the next run, which uses the files that are left. What has
    been made from the files cannot be removed.
    """
    made = False

    def remove() -> None:
        nonlocal made
        with service.database.write() as session:
            # The lock on the row keeps runs from starting meanwhile.
            project = own_project(session, user, project_id, lock=True)
            if project.status == "archived":
                raise ApiError(400, "The project is archived; set its status back first")
            if runs.active_run(session, project_id) is not None:
                raise ApiError(409, runs.BUSY)
            opened = service.storage.open(project.folder)
            entry = catalog.find(opened, path) if opened else None
            if opened is None or entry is None:
                raise not_found("File")
            if not path.startswith(catalog.INPUTS):
                raise ApiError(400, "Only uploaded videos and photos can be removed; a run replaces the rest")
            row = next(row for row in opened.inputs if opened.input_file(row) == entry.file)
            try:
                opened.remove_inputs([row])
            except recon3d.ProjectError as error:
                if isinstance(error.__cause__, OSError):
                    raise error.__cause__ from None
                raise ApiError(409, "The project is being worked on; wait for it, or cancel it") from error
            made = bool(opened.results.files())
            forget_bytes(session, project_id)

    service.storage.reserve.spend(remove)
    kept = "The results were made with it and stay until the next run" if made else "There are no results yet"
    return schemas.FileRemoved(message=f"File removed. {kept}", project_id=project_id, path=path)

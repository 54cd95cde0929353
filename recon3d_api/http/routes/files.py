"""Uploads, extracting frames, lists and downloads."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import Response

from recon3d_api import schemas
from recon3d_api.errors import ApiError, not_found
from recon3d_api.files import storage
from recon3d_api.http import multipart
from recon3d_api.http.access import redeem_ticket
from recon3d_api.http.dependencies import (
    ProjectId,
    Service,
    ServiceDep,
    TokenDep,
    UserDep,
    answers,
    current_user,
    own_project,
    throttle,
    ticket_target,
)
from recon3d_api.http.downloads import FileSource, Source, ZipSource, respond
from recon3d_api.http.routes.jobs import job_out
from recon3d_api.http.routing import Route
from recon3d_api.store import tables as models
from recon3d_api.work import deletions
from recon3d_api.work import queue as runs
from recon3d_api.work.quotas import count_bytes

logger = logging.getLogger("recon3d_api.files")

router = APIRouter(route_class=Route, prefix="/files", tags=["files"])
_general = Depends(throttle("general"))

_NOT_YET = {
    "video": "No video has been uploaded",
    "frames": "No frames have been extracted yet",
    "mesh": "The mesh has not been made yet",
    "textured_mesh": "The textured mesh has not been made yet",
    "point_cloud": "The point cloud has not been made yet",
}
_MEDIA = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
    ".mkv": "video/x-matroska",
    ".glb": "model/gltf-binary",
}
_ZIP, _BINARY = "application/zip", "application/octet-stream"
_SENT = sorted({*_MEDIA.values(), _ZIP, _BINARY})


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
    (uploaded,) = await _upload(request, user, service, "file", "video", storage.VIDEO_SUFFIXES, 1)
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
    uploaded = await _upload(request, user, service, "files", "photo", storage.IMAGE_SUFFIXES, most)
    return schemas.ImagesUploaded(
        message=f"{len(uploaded)} image{'s' * (len(uploaded) > 1)} uploaded successfully",
        files=uploaded,
        file_size=sum(row.file_size for row in uploaded),
        project_id=uploaded[0].project_id,
    )


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

    async def check(value: str) -> None:
        # The project may be named before the file: then a wrong one costs nobody the upload.
        await to_thread.run_sync(_open_project, service, user, _project_id(value))

    settings = service.settings
    bound = ""
    try:
        with service.quotas.uploading(user.id) as upload, service.storage.incoming() as folder:
            length = request.headers.get("content-length", "")
            upload.size = int(length) if length.isascii() and length.isdigit() else 0
            await service.lanes.disk.run(service.quotas.check_disk, user.id, upload.size, upload)
            form = await multipart.FormReader(
                request,
                folder,
                max_file=settings.max_upload_bytes,
                max_files=most,
                min_free=settings.min_free_mb << 20,
                lane=service.lanes.disk,
                file_field=field,
                check={"project_id": check},
                name_problem=lambda name: storage.name_problem(name, suffixes),
            ).read()
            if "project_id" not in form.fields:
                raise multipart.field_error("project_id", "Field required", "missing")
            if not form.files:
                raise multipart.field_error(field, "Field required", "missing")
            project_id = _project_id(form.fields["project_id"])
            project = await to_thread.run_sync(_open_project, service, user, project_id)
            bound = project.folder
            upload.size = sum(file.size for file in form.files)
            await service.lanes.disk.run(service.quotas.check_disk, user.id, upload.size, upload)
            service.storage.bind(folder, bound)
            # A deletion waits for this upload from here on; one that was faster is seen now.
            await to_thread.run_sync(_open_project, service, user, project_id)
            paths = await service.intakes.take(user.id, folder, bound, kind, form.files)
            await service.lanes.disk.run(count_bytes, service.database, service.storage, project_id, bound)
    except ApiError as error:
        service.metrics.refused.labels("upload").inc()
        logger.warning(
            "Upload refused", extra={"user": user.id, "status": error.status, "reason": error.detail}
        )
        raise
    finally:
        if bound:  # the project may have been deleted meanwhile
            await to_thread.run_sync(deletions.carry_out, service.database, service.storage, bound)
    try:
        await to_thread.run_sync(_open_project, service, user, project_id)
    except ApiError as error:
        if error.status == 404:
            raise
    service.metrics.uploaded.inc(sum(file.size for file in form.files))
    return [
        schemas.VideoUploaded(
            message=f"{'Video' if kind == 'video' else 'Image'} uploaded successfully",
            file_path=path,
            file_size=file.size,
            project_id=project_id,
        )
        for path, file in zip(paths, form.files, strict=True)
    ]


def _project_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= schemas.MAX_ID):
        raise multipart.field_error("project_id", "Input should be a valid, positive integer", "int_parsing")
    return int(text)


def _open_project(service: Service, user: models.User, project_id: int) -> models.Project:
    """A project of the caller that takes files now."""
    with service.database.read() as session:
        project = own_project(session, user, project_id)
        if project.status == "archived":
            raise ApiError(400, "The project is archived; set its status back first")
        if runs.active_run(session, project_id) is not None:
            raise ApiError(409, runs.BUSY)
        return project


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
    """Extract frames from the uploaded video, as a job; later reconstructions keep the interval."""
    project_id, interval = form.project_id, form.interval
    with service.database.write() as session:
        project = own_project(session, user, project_id, lock=True)
        if project.status == "archived":
            raise ApiError(400, "The project is archived; set its status back first")
        if not service.storage.has_video(project.folder):
            raise ApiError(400, "The project has no video; upload one first")
        service.quotas.check_queue(session, user.id)
        options = {"frame_extraction": {"interval": interval}}
        run = runs.create_run(session, project, quality="medium", options=options, until="frame_extraction")
        project.frame_interval = interval
        job = job_out(run.jobs[0])
    service.runner.wake()
    return schemas.Extraction(
        message="Frame extraction started", project_id=project_id, interval=interval, job_id=job.id, job=job
    )


@router.api_route(
    "/download/{project_id}/{file_type}", methods=["HEAD"], dependencies=[_general], include_in_schema=False
)
@router.get(
    "/download/{project_id}/{file_type}",
    dependencies=[_general],
    response_class=Response,
    responses={
        **answers(401, 404, 416),
        200: {
            "description": "The file",
            "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in _SENT},
        },
        206: {"description": "The part that `Range` asked for"},
        304: {"description": "Not changed since the `ETag` in `If-None-Match`"},
    },
)
def download(
    project_id: ProjectId,
    file_type: schemas.FileType,
    request: Request,
    service: ServiceDep,
    token: TokenDep,
    ticket: Annotated[str | None, Query(max_length=100, description="In the place of a token")] = None,
) -> Response:
    """Download a file of a project.

    `video` is the one uploaded last, `frames` a zip archive, `mesh` and `point_cloud` are PLY,
    `textured_mesh` is GLB. `Range` and `If-Range` resume a download.
    """
    if ticket is not None and token is None:
        token = redeem_ticket(service.database, ticket, ticket_target(project_id, file_type))
    user = current_user(service, token)
    with service.database.read() as session:
        project = own_project(session, user, project_id)
    folder = project.folder
    base = storage.safe_name(f"{project.name}.x").removesuffix(".x")
    try:
        source: Source
        if file_type == "frames":
            frames = service.storage.frames(folder)
            if frames is None:
                raise not_yet(project, file_type)
            source, name, media = ZipSource(frames[1], frames[0]), f"{base}-frames.zip", _ZIP
        else:
            path = (
                service.storage.video(folder)
                if file_type == "video"
                else service.storage.result(folder, file_type)
            )
            if path is None:
                raise not_yet(project, file_type)
            name = path.name if file_type == "video" else f"{base}-{path.name}"
            source, media = FileSource(path), _MEDIA.get(path.suffix, _BINARY)
    except FileNotFoundError as error:
        raise not_yet(project, file_type) from error
    return respond(request, source, name, media, service.lanes.disk)


def not_yet(project: models.Project, file_type: str) -> ApiError:
    """Make the answer for a file that does not exist yet.

    Parameters
    ----------
    project : models.Project
    file_type : str

    Returns
    -------
    ApiError
    """
    error = not_found()
    error.detail = f"{_NOT_YET[file_type]}; the project is {project.status}"
    return error


@router.get("/list/{project_id}", dependencies=[_general], responses=answers(401, 404))
def list_files(project_id: ProjectId, user: UserDep, service: ServiceDep) -> list[schemas.FileInfo]:
    """List all files associated with a project."""
    with service.database.read() as session:
        project = own_project(session, user, project_id)
    return [
        schemas.FileInfo(type=row.type, path=row.path, size=row.size, modified=row.modified)
        for row in service.storage.list(project.folder)
    ]

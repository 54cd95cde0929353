"""Uploads that resume, by the tus protocol 1.0; docs/how-to/upload-large-files.md shows how to use them."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Path, Request, Response

from recon3d_api import schemas
from recon3d_api.errors import ApiError, not_found
from recon3d_api.files import names, resumable
from recon3d_api.files.content import EMPTY
from recon3d_api.http import tus
from recon3d_api.http.arrivals import open_project, require_project
from recon3d_api.http.dependencies import Service, ServiceDep, UserDep, answers, throttle
from recon3d_api.http.receiving import finish, holding, receive
from recon3d_api.store import tables as models

_general = Depends(throttle("general"))
router = APIRouter(prefix="/files", tags=["uploads"], route_class=tus.TusRoute, dependencies=[_general])

UploadId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])]
Offset = Annotated[int | None, Header(ge=0, le=2**62, description="Bytes that the server has")]
_SUFFIXES = (*names.VIDEO_SUFFIXES, *names.IMAGE_SUFFIXES)
#: What can go wrong with PATCH, and with POST in its place.
_APPENDED = answers(400, 401, 404, 408, 409, 410, 412, 415, 423, 460, 507)
_BODY = {"content": {tus.BODY: {"schema": {"type": "string", "format": "binary"}}}}


@router.options("/uploads", status_code=204, response_class=Response, responses=answers(401))
def uploads_options(user: UserDep, service: ServiceDep) -> Response:
    """Tell which parts of the tus protocol the service speaks, and how large a file may be."""
    return Response(status_code=204, headers=tus.capabilities(service.settings.max_upload_bytes))


@router.post(
    "/uploads",
    status_code=201,
    response_class=Response,
    dependencies=[tus.SPEAKS_TUS],
    responses=answers(400, 401, 403, 404, 409, 412, 413, 507),
)
def create_upload(
    request: Request,
    user: UserDep,
    service: ServiceDep,
    upload_length: Annotated[int | None, Header(ge=0, le=2**62, description="Bytes of the file")] = None,
    upload_metadata: Annotated[
        str, Header(description="`filename` and `project_id`, and `hold` for uploads that are taken together")
    ] = "",
) -> Response:
    """Begin an upload that resumes; `Location` is where its bytes go by PATCH."""
    if upload_length is None:
        raise ApiError(400, "The header Upload-Length is missing: the length must be known")
    told = tus.read_metadata(upload_metadata)
    name = names.base_name(told.get("filename") or told.get("name") or "")
    if problem := names.name_problem(name, _SUFFIXES):
        raise ApiError(400, problem)
    number = schemas.read_id(told.get("project_id", ""))
    if number is None:
        raise ApiError(400, "Upload-Metadata must have the key project_id, a positive integer")
    if upload_length == 0:
        raise ApiError(400, f"{name} {EMPTY}")
    settings = service.settings
    if upload_length > settings.max_upload_bytes:
        raise ApiError(413, f"The file is larger than {settings.max_upload_mb} MB")
    project = open_project(service, user, number)
    video = name.lower().endswith(names.VIDEO_SUFFIXES)
    upload = resumable.Upload(
        id=resumable.new_id(),
        owner_id=user.id,
        project_id=project.id,
        folder=project.folder,
        name=name,
        kind="video" if video else "photo",
        length=upload_length,
        hold="hold" in told,
        created=time.time(),
    )
    with service.uploads.beginning(user.id), service.quotas.keeping(user.id, upload_length) as kept:
        require_few(service, user.id, 1)
        service.quotas.check_disk(user.id, upload_length, kept)
        service.room.check(user.id, upload_length, upload_length)
        service.uploads.create(upload)
    try:
        open_project(service, user, number)
    except ApiError as error:
        if error.status == 404:  # deleted meanwhile: its uploads were removed before this one came
            service.uploads.remove(upload)
            raise
    # Without host and scheme, which a proxy may know better.
    headers = {"Location": f"{request.url.path.rstrip('/')}/{upload.id}"}
    return Response(status_code=201, headers=headers | tus.progress(0, service.uploads.expires(upload)))


@router.get("/uploads", responses=answers(401))
def list_uploads(user: UserDep, service: ServiceDep) -> list[schemas.ResumableUpload]:
    """List the caller's uploads that resume, and those that ended within the last day."""
    return [upload_out(service, upload) for upload in service.uploads.of_owner(user.id)]


@router.post("/take-uploads", responses=answers(400, 401, 404, 409, 423, 507))
async def take_uploads(
    body: schemas.TakeUploads, user: UserDep, service: ServiceDep
) -> schemas.ImagesUploaded:
    """Make complete uploads files of their project together: all are taken, or none.

    They are of one kind and one project. Those that are stored already are taken as they are.
    """
    uploads = [_own(service, user, upload_id) for upload_id in dict.fromkeys(body.uploads)]
    if len({(upload.project_id, upload.kind) for upload in uploads}) > 1:
        raise ApiError(400, "Take uploads of one project and one kind at a time")
    if uploads[0].kind == "video" and len(uploads) > 1:
        raise ApiError(400, "Take videos one by one")
    for upload in uploads:
        if upload.status == "refused":
            raise ApiError(400, upload.error)
        if service.uploads.offset(upload) < upload.length:
            raise ApiError(400, f"{upload.name} is not complete")
    project_id = uploads[0].project_id
    waiting = [upload for upload in uploads if upload.status == "receiving"]
    paths = {upload.id: upload.file_path for upload in uploads}
    if waiting:
        with holding(service, waiting) as held:
            taken = await finish(service, user, held)
        await require_project(service, user, project_id)
        paths |= {upload.id: path for upload, path in zip(waiting, taken, strict=True)}
    files = [
        schemas.VideoUploaded(
            message=f"{'Video' if upload.kind == 'video' else 'Image'} uploaded successfully",
            file_path=paths[upload.id],
            file_size=upload.length,
            project_id=project_id,
        )
        for upload in uploads
    ]
    return schemas.ImagesUploaded(
        message=f"{len(files)} file{'s' * (len(files) > 1)} uploaded successfully",
        files=files,
        file_size=sum(row.file_size for row in files),
        project_id=project_id,
    )


@router.post("/end-uploads", status_code=204, response_class=Response, responses=answers(401, 423))
def end_uploads(body: schemas.TakeUploads, user: UserDep, service: ServiceDep) -> Response:
    """Give up several uploads, or forget that they were taken; unknown ones have ended already."""
    for upload_id in body.uploads:
        upload = service.uploads.find(user.id, upload_id)
        if upload is not None:
            _remove(service, upload)
    return Response(status_code=204)


@router.get("/uploads/{upload_id}", responses=answers(401, 404))
def get_upload(upload_id: UploadId, user: UserDep, service: ServiceDep) -> schemas.ResumableUpload:
    """Get what has become of an upload."""
    return upload_out(service, _own(service, user, upload_id))


@router.head(
    "/uploads/{upload_id}",
    response_class=Response,
    dependencies=[tus.SPEAKS_TUS],
    responses=answers(401, 404, 410, 412),
)
def upload_offset(upload_id: UploadId, user: UserDep, service: ServiceDep) -> Response:
    """Ask where to go on: `Upload-Offset` is the number of bytes that the server has."""
    upload = _own(service, user, upload_id)
    _require_accepted(upload)
    told = {"filename": upload.name, "project_id": str(upload.project_id)} | (
        {"hold": ""} if upload.hold else {}
    )
    return Response(
        headers={
            **tus.progress(service.uploads.offset(upload), service.uploads.expires(upload)),
            "Upload-Length": str(upload.length),
            "Upload-Metadata": tus.write_metadata(told),
        }
    )


@router.patch(
    "/uploads/{upload_id}",
    status_code=204,
    response_class=Response,
    dependencies=[tus.SPEAKS_TUS],
    responses=_APPENDED,
    openapi_extra={"requestBody": {"required": True, **_BODY}},
)
async def append_to_upload(
    upload_id: UploadId,
    request: Request,
    user: UserDep,
    service: ServiceDep,
    upload_offset: Offset = None,
    upload_checksum: Annotated[
        str | None, Header(description="`sha1` or `sha256` and the body's digest in base64")
    ] = None,
) -> Response:
    """Send bytes from `Upload-Offset` on; the answer to the last ones says whether the file is accepted.

    What has come stays when the connection is cut. A file that is complete while a run works on the
    project is taken after the run.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != tus.BODY:
        raise ApiError(415, f"The header Content-Type must be {tus.BODY}")
    if upload_offset is None:
        raise ApiError(400, "The header Upload-Offset is missing")
    checksum = None if upload_checksum is None else tus.Checksum(upload_checksum)
    upload = await to_thread.run_sync(_own, service, user, upload_id)
    _require_accepted(upload)
    if upload.status == "stored":
        _require_offset(upload_offset, upload.length)
        return Response(status_code=204, headers=tus.progress(upload.length, service.uploads.expires(upload)))
    with holding(service, [upload]) as (held,):
        _require_offset(upload_offset, held.offset)
        coming = request.headers.get("content-length", "0")
        if coming.isdigit() and held.offset + int(coming) > upload.length:
            raise ApiError(400, "More bytes come than Upload-Length says")
        await receive(request, service, held, checksum)
        headers = tus.progress(held.offset, service.uploads.expires(upload))
        if held.complete and not upload.hold:
            await finish(service, user, [held])
            await require_project(service, user, upload.project_id)
    return Response(status_code=204, headers=headers)


@router.delete(
    "/uploads/{upload_id}",
    status_code=204,
    response_class=Response,
    dependencies=[tus.SPEAKS_TUS],
    responses=answers(401, 404, 412, 423),
)
def delete_upload(upload_id: UploadId, user: UserDep, service: ServiceDep) -> Response:
    """Give an upload up; what became a file of the project stays there."""
    _remove(service, _own(service, user, upload_id))
    return Response(status_code=204)


@router.post(
    "/uploads/{upload_id}",
    status_code=204,
    response_class=Response,
    dependencies=[tus.SPEAKS_TUS],
    responses=_APPENDED,
    openapi_extra={"requestBody": {"required": False, **_BODY}},
)
async def overridden(
    upload_id: UploadId,
    request: Request,
    user: UserDep,
    service: ServiceDep,
    x_http_method_override: Annotated[Literal["PATCH", "DELETE"], Header(description="What is meant")],
    upload_offset: Offset = None,
    upload_checksum: Annotated[str | None, Header(description="As for PATCH")] = None,
) -> Response:
    """Stand in for PATCH and DELETE where a network lets only GET and POST through."""
    if x_http_method_override == "PATCH":
        return await append_to_upload(upload_id, request, user, service, upload_offset, upload_checksum)
    return await to_thread.run_sync(delete_upload, upload_id, user, service)


def _own(service: Service, user: models.User, upload_id: str) -> resumable.Upload:
    upload = service.uploads.find(user.id, upload_id)
    if upload is None:
        raise not_found("Upload")
    return upload


def _remove(service: Service, upload: resumable.Upload) -> None:
    try:
        service.uploads.remove(upload)
    except resumable.Busy as error:
        raise ApiError(423, "Another request writes to the upload") from error


def _require_accepted(upload: resumable.Upload) -> None:
    if upload.status == "refused":
        raise ApiError(410, upload.error)


def _require_offset(given: int, known: int) -> None:
    if given != known:
        raise ApiError(409, f"The upload has {known} bytes", {"Upload-Offset": str(known)})


def require_few(service: Service, user_id: int, more: int) -> None:
    """Check, within `Uploads.beginning`, that a user may begin more uploads.

    Parameters
    ----------
    service : Service
    user_id : int
    more : int

    Raises
    ------
    ApiError
        400 when they would be too many.
    """
    if service.uploads.count(user_id) + more > service.settings.max_resumable_uploads:
        raise ApiError(400, "You have too many unfinished uploads; finish some, or DELETE them")


def upload_out(service: Service, upload: resumable.Upload) -> schemas.ResumableUpload:
    """Describe an upload.

    Parameters
    ----------
    service : Service
    upload : Upload

    Returns
    -------
    schemas.ResumableUpload
    """
    return schemas.ResumableUpload(
        id=upload.id,
        project_id=upload.project_id,
        name=upload.name,
        length=upload.length,
        offset=service.uploads.offset(upload),
        hold=upload.hold,
        status=upload.status,
        file_path=upload.file_path or None,
        error=upload.error or None,
        expires=datetime.fromtimestamp(service.uploads.expires(upload), timezone.utc),
    )

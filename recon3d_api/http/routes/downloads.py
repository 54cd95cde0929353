"""Downloads: by type, by path, and pictures of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from recon3d import Project
from recon3d_api import schemas
from recon3d_api.errors import ApiError, not_found
from recon3d_api.files import catalog, names
from recon3d_api.http import pictures
from recon3d_api.http.access import redeem_ticket
from recon3d_api.http.dependencies import (
    FilePath,
    ProjectId,
    Service,
    ServiceDep,
    TokenDep,
    UserDep,
    answers,
    current_user,
    file_purpose,
    own_project,
    throttle,
    ticket_target,
)
from recon3d_api.http.downloads import MEDIA_TYPES, OpenedFile, zip_answer
from recon3d_api.store import tables as models

router = APIRouter(tags=["files"])
_general = Depends(throttle("general"))

#: Types that are one archive.
_ARCHIVES = ("image", "frames", "sparse")
_NOT_YET = {
    "video": "No video has been uploaded",
    "image": "No photo has been uploaded",
    "frames": "No frames have been extracted yet",
    "sparse": "The cameras have not been found yet",
    "mesh": "The mesh has not been made yet",
    "textured_mesh": "The textured mesh has not been made yet",
    "normal_map": "There is no normal map",
    "point_cloud": "The point cloud has not been made yet",
    "report": "The report has not been made yet",
}
Width = Annotated[
    int | None,
    Query(
        ge=1, le=pictures.WIDTHS[-1], description="Pixels; a JPEG of at least this width, if the file has it"
    ),
]


def _file_answers(*statuses: int, media: list[str] = MEDIA_TYPES) -> dict[int | str, dict[str, Any]]:
    content = {name: {"schema": {"type": "string", "format": "binary"}} for name in media}
    return {
        **answers(*statuses),
        200: {"description": "The file", "content": content},
        206: {"description": "The part that `Range` asked for"},
        304: {"description": "Not changed since the `ETag` in `If-None-Match`"},
    }


@router.api_route(
    "/files/download/{project_id}/{file_type}",
    methods=["HEAD"],
    dependencies=[_general],
    include_in_schema=False,
)
@router.get(
    "/files/download/{project_id}/{file_type}",
    dependencies=[_general],
    response_class=Response,
    responses=_file_answers(401, 404, 416),
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

    `video` is the one uploaded last; `image` (the photos), `frames` and `sparse` (a COLMAP model) are zip
    archives, `mesh` and `point_cloud` are PLY, `textured_mesh` is GLB, `normal_map` is PNG, `report`
    is HTML. `Range` and `If-Range` resume a download.
    """
    if ticket is not None and token is None:
        token = redeem_ticket(service.database, ticket, ticket_target(project_id, file_type))
    project, opened = _opened(service, current_user(service, token), project_id)
    found = catalog.of_type(opened, file_type) if opened else []
    base = names.safe_stem(project.name)
    try:
        if not found:
            raise _not_yet(project, file_type)
        if file_type in _ARCHIVES:
            members = [(entry.member, entry.file) for entry in found]
            kind = "photos" if file_type == "image" else file_type
            return zip_answer(request, members, f"{base}-{kind}.zip", service.lanes.disk)
        newest = found[-1]
        name = newest.name if file_type == "video" else f"{base}-{newest.name}"
        return OpenedFile(newest.file, name)
    except FileNotFoundError as error:
        raise _not_yet(project, file_type) from error


def _not_yet(project: models.Project, file_type: str) -> ApiError:
    return ApiError(404, f"{_NOT_YET[file_type]}; the project is {project.status}")


def _opened(service: Service, user: models.User, project_id: int) -> tuple[models.Project, Project | None]:
    with service.database.read() as session:
        project = own_project(session, user, project_id)
    return project, service.storage.open(project.folder)


@router.api_route(
    "/projects/{project_id}/preview", methods=["HEAD"], dependencies=[_general], include_in_schema=False
)
@router.get(
    "/projects/{project_id}/preview",
    dependencies=[_general],
    response_class=Response,
    responses=_file_answers(401, 404, 416, 507, media=["image/png", "image/jpeg", "image/tiff"]),
)
async def preview(project_id: ProjectId, user: UserDep, service: ServiceDep, width: Width = None) -> Response:
    """Get a still picture of the newest model; before there is one, the first frame or photo."""
    project, opened = await service.lanes.disk.run(_opened, service, user, project_id)
    file = await service.lanes.disk.run(_thumbnail, opened)
    if file is None:
        raise ApiError(404, f"There is nothing to show yet; the project is {project.status}")
    return await _picture(service, user, project, file, file.name, width)


def _thumbnail(opened: Project | None) -> Path | None:
    return opened.thumbnail if opened else None


@router.api_route(
    "/files/{project_id:int}/{path:path}", methods=["HEAD"], dependencies=[_general], include_in_schema=False
)
@router.get(
    "/files/{project_id:int}/{path:path}",
    dependencies=[_general],
    response_class=Response,
    responses=_file_answers(400, 401, 404, 416, 507),
)
async def download_path(
    project_id: ProjectId,
    path: FilePath,
    service: ServiceDep,
    token: TokenDep,
    width: Width = None,
    ticket: Annotated[str | None, Query(max_length=100, description="In the place of a token")] = None,
) -> Response:
    """Download one file, by its path in the list.

    With `width`, a photo or a frame is a JPEG of the next of the widths 64, 128, 256, 512, 1024 and 2048.
    """
    if ticket is not None and token is None:
        target = ticket_target(project_id, file_purpose(path))
        token = await to_thread.run_sync(redeem_ticket, service.database, ticket, target)
    user = await to_thread.run_sync(current_user, service, token)
    project, opened = await service.lanes.disk.run(_opened, service, user, project_id)
    entry = await service.lanes.disk.run(_found, opened, path)
    if entry is None:
        raise not_found("File")
    if width is not None and entry.type not in ("image", "frames"):
        raise ApiError(400, "Only photos and frames have a width")
    if width is not None:
        return await _picture(service, user, project, entry.file, entry.name, width)
    try:
        return await service.lanes.disk.run(OpenedFile, entry.file, entry.name)
    except FileNotFoundError as error:
        raise not_found("File") from error


def _found(opened: Project | None, path: str) -> catalog.Entry | None:
    return catalog.find(opened, path) if opened else None


async def _picture(
    service: Service, user: models.User, project: models.Project, file: Path, name: str, width: int | None
) -> Response:
    try:
        if width is not None:
            file = await pictures.smaller(service, user.id, project.folder, file, width)
            name = f"{Path(name).stem}.jpg"
        return await service.lanes.disk.run(pictures.shown, file, name)
    except FileNotFoundError as error:
        raise not_found("File") from error

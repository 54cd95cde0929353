"""Pictures of the frames and depth maps that exist now, also while a run makes them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

import recon3d
from recon3d_api import schemas
from recon3d_api.errors import not_found
from recon3d_api.files.stage_pictures import moment, pictures_of
from recon3d_api.http import listing, pictures
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
from recon3d_api.store.tables import Project, User

router = APIRouter(
    prefix="/projects/{project_id}/pictures", tags=["projects"], dependencies=[Depends(throttle("general"))]
)

_Width = Annotated[
    int, Query(ge=1, le=pictures.WIDTHS[-1], description="Pixels; at least so wide, if the file is")
]
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    },
    206: {"description": "The part that `Range` asked for"},
    304: {"description": "Not changed since the `ETag` in `If-None-Match`"},
}
_Found = tuple[recon3d.StagePicture, ...]


def _made(service: Service, user: User, project_id: int, kind: schemas.PictureKind) -> tuple[Project, _Found]:
    with service.database.read() as session:
        project = own_project(session, user, project_id)
    return project, pictures_of(service.storage, project.folder, kind)


@router.get("/{kind}", responses={**answers(401, 404), 200: listing.described()})
async def list_pictures(
    project_id: ProjectId,
    kind: schemas.PictureKind,
    request: Request,
    answer: Response,
    user: UserDep,
    service: ServiceDep,
    order: Annotated[schemas.PictureOrder, Query(description="A minus reverses it")] = "name",
    skip: listing.Skip = 0,
    limit: listing.Limit = 100,
) -> list[schemas.StagePicture]:
    """List the newest frames or depth maps, also while their stage works.

    A stage that works adds pictures and replaces them by better ones. `pictures` in the progress messages
    of the WebSocket tells when the newest one was written.
    """
    _, found = await service.lanes.disk.run(_made, service, user, project_id, kind)
    by_time = order.endswith("modified")
    rows = sorted(
        found,
        key=lambda picture: (picture.modified_ns if by_time else 0, picture.name),
        reverse=order.startswith("-"),
    )
    answer.headers["X-Total-Count"] = str(len(rows))
    answer.headers["Link"] = listing.links(request, skip, limit, len(rows))
    return [
        schemas.StagePicture(name=row.name, modified=moment(row.modified_ns), finished=row.finished)
        for row in rows[skip : skip + limit]
    ]


@router.api_route("/{kind}/{name:path}", methods=["HEAD"], include_in_schema=False)
@router.get(
    "/{kind}/{name:path}", response_class=Response, responses={**answers(400, 401, 404, 416, 507), **_JPEG}
)
async def picture(
    project_id: ProjectId,
    kind: schemas.PictureKind,
    name: FilePath,
    user: UserDep,
    service: ServiceDep,
    width: _Width = 512,
) -> Response:
    """Get a frame or a depth map as a JPEG of the next of the widths 64, 128, 256, 512, 1024 and 2048.

    Of a depth map, near is red, far is blue, and unknown is dark. It is never wider than the map itself.
    """
    project, found = await service.lanes.disk.run(_made, service, user, project_id, kind)
    file = next((row.path for row in found if row.name == name), None)
    if file is None:
        raise not_found("Picture")
    try:
        small = await pictures.smaller(service, user.id, project.folder, file, width)
        return await service.lanes.disk.run(pictures.shown, small, f"{file.stem}.jpg")
    except FileNotFoundError as error:
        raise not_found("Picture") from error

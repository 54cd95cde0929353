"""The page that shows a project's model to its owner, for a frame in another page."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from recon3d_api.errors import ApiError
from recon3d_api.http.access import redeem_ticket
from recon3d_api.http.dependencies import (
    ProjectId,
    Service,
    ServiceDep,
    TokenDep,
    answers,
    current_user,
    own_project,
    throttle,
    ticket_target,
)
from recon3d_api.http.downloads import OpenedFile
from recon3d_api.http.security import Token
from recon3d_api.work import share_page

logger = logging.getLogger("recon3d_api.model_page")

router = APIRouter(tags=["projects"], dependencies=[Depends(throttle("general"))])


@router.get(
    "/projects/{project_id}/page",
    response_class=Response,
    responses={
        **answers(401, 404, 503),
        200: {"description": "The page", "content": {"text/html": {"schema": {"type": "string"}}}},
    },
)
async def model_page(
    project_id: ProjectId,
    service: ServiceDep,
    token: TokenDep,
    ticket: Annotated[str | None, Query(max_length=100, description="In the place of a token")] = None,
) -> Response:
    """Get a page that shows the model in 3D, and needs nothing else.

    Photos and cameras are in it, other than in the page of a link. It runs in a sandbox. A page of this
    service may frame it, with a ticket for the purpose `page`.
    """
    return await service.lanes.disk.run(_page, service, project_id, token, ticket)


def _page(service: Service, project_id: int, token: Token | None, ticket: str | None) -> Response:
    if ticket is not None and token is None:
        token = redeem_ticket(service.database, ticket, ticket_target(project_id, "page"))
    user = current_user(service, token)
    with service.database.read() as session:
        project = own_project(session, user, project_id)
    try:
        page = share_page.open_page(service.storage, project.folder, project.name, owner=True)
    except FileNotFoundError:  # the project was deleted meanwhile
        page = None
    except share_page.PageError as error:
        logger.error("The page of a model cannot be made: %s", error, extra={"project": project_id})
        raise ApiError(503, "The model cannot be shown now. Try again later") from error
    if page is None:
        raise ApiError(404, "The model has not been made yet")
    headers = {
        "Content-Security-Policy": share_page.policy_of(page, frames="'self'"),
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, no-cache",
    }
    answer = OpenedFile(page, "model.html", inline=True)
    answer.headers.update(headers)
    return answer

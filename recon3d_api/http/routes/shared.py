"""What a link shows to who has no account: its model, and nothing else of the project."""

from __future__ import annotations

import base64
import hashlib
import html
import logging
import os
from datetime import datetime, timezone
from pathlib import Path as File
from typing import Annotated, get_args

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.exc import SQLAlchemyError

from recon3d_api import schemas
from recon3d_api.errors import ApiError, not_found
from recon3d_api.files import names
from recon3d_api.http.dependencies import Service, ServiceDep, answers, throttle
from recon3d_api.http.downloads import OpenedFile
from recon3d_api.store.shares import count_view, find_share
from recon3d_api.store.tables import Project, Share
from recon3d_api.work import share_page

logger = logging.getLogger("recon3d_api.shares")

_general = Depends(throttle("general"))
router = APIRouter(prefix="/shared", tags=["sharing"], dependencies=[_general])
page_router = APIRouter(dependencies=[_general])

_GLB, _PLY = "model/gltf-binary", "application/octet-stream"
#: Addresses hold the token: they go to nobody else, and copies end with the link.
_PRIVATE = {"Referrer-Policy": "no-referrer", "Cache-Control": "private, no-cache", "X-Robots-Tag": "noindex"}
_ENDED = "It has expired, was ended, or never existed. Ask whoever sent it for a new one."
#: Of a page of words, which asks for nothing else.
_STYLE = (
    "html{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif;-webkit-text-size-adjust:100%}"
    "main{max-width:27rem;margin:12vh auto;padding:0 1.5rem;overflow-wrap:anywhere}"
    "h1{font-size:1.8rem;line-height:1.2;margin:0 0 .5rem}"
)
_STYLE_HASH = f"sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}"
_Token = Annotated[str, Path(max_length=100, examples=["Zr8qLw0Tn4xVb7yKc2mEd9sHf6jGp3"])]


def _found(service: Service, token: str) -> tuple[Share, Project]:
    with service.database.read() as session:
        found = find_share(session, token)
    if found is None:
        raise not_found("Share")
    return found


def _opened(path: File, name: str, *, inline: bool) -> Response:
    """A file that a run may replace while it is sent."""
    try:
        answer = OpenedFile(path, name, inline=inline)
    except FileNotFoundError as error:
        raise ApiError(404, "The file is being made anew; try again later") from error
    answer.headers.update(_PRIVATE)
    return answer


def _status(path: File | None) -> os.stat_result | None:
    try:
        return path.stat() if path else None
    except FileNotFoundError:  # a run replaces it
        return None


def _file(service: Service, project: Project, file_type: str) -> File | None:
    path = service.storage.result(project.folder, file_type)
    return path if path is not None and path.is_file() else None


def _count(service: Service, share: Share, request: Request) -> None:
    if request.method == "GET" and "range" not in request.headers:
        try:
            count_view(service.database, share)
        except SQLAlchemyError as error:  # a full disk keeps nobody from looking
            logger.warning("A view was not counted: %s", error)


@router.get("/{token}", responses=answers(404))
def shared_model(token: _Token, service: ServiceDep) -> schemas.SharedModel:
    """Tell what a link shows. The same 404 answers unknown, revoked and expired links."""
    share, project = _found(service, token)
    model = _file(service, project, "textured_mesh")
    status = _status(model)
    files = []
    for kind in get_args(schemas.SharedType) if share.download else ():
        if (known := _status(_file(service, project, kind))) is not None:
            files.append(schemas.SharedFile(type=kind, size=known.st_size))
    return schemas.SharedModel(
        name=project.name,
        status=project.status,
        ready=status is not None,
        size=status.st_size if status else None,
        modified=datetime.fromtimestamp(status.st_mtime, timezone.utc) if status else None,
        expires_at=share.expires_at,
        download=share.download,
        files=files,
    )


def _sent(media: str, *statuses: int) -> dict[int | str, dict[str, object]]:
    content = {media: {"schema": {"type": "string", "format": "binary"}}}
    return {
        **answers(*statuses),
        200: {"description": "The file", "content": content},
        206: {"description": "The part that `Range` asked for"},
        304: {"description": "Not changed since the `ETag` in `If-None-Match`"},
    }


@router.get("/{token}/model", response_class=Response, responses=_sent(_GLB, 404, 416))
def shared_glb(token: _Token, request: Request, service: ServiceDep) -> Response:
    """Get the model as GLB, for a viewer in a page of your own."""
    share, project = _found(service, token)
    path = _file(service, project, "textured_mesh")
    if path is None:
        raise ApiError(404, "The model has not been made yet")
    answer = _opened(path, path.name, inline=True)
    _count(service, share, request)
    return answer


@router.get("/{token}/download/{file_type}", response_class=Response, responses=_sent(_PLY, 404, 416))
def shared_file(token: _Token, file_type: schemas.SharedType, service: ServiceDep) -> Response:
    """Download a file of the model, where the link allows it."""
    share, project = _found(service, token)
    if not share.download:
        raise ApiError(404, "This link shows the model; it has no downloads")
    path = _file(service, project, file_type)
    if path is None:
        raise ApiError(404, "The file has not been made yet")
    base = names.safe_stem(project.name)
    return _opened(path, f"{base}-{path.name}", inline=False)


@page_router.get("/share/{token}", response_class=HTMLResponse, include_in_schema=False)
async def shared_page(token: _Token, request: Request, service: ServiceDep) -> Response:
    """Show a model in a page that needs nothing else."""
    return await service.lanes.disk.run(_page, service, token, request)


def _page(service: Service, token: str, request: Request) -> Response:
    try:
        share, project = _found(service, token)
    except ApiError:
        return _words("This link shows nothing", _ENDED, 404)
    try:
        page = share_page.open_page(service.storage, project.folder, project.name)
    except FileNotFoundError:  # the project was deleted meanwhile
        return _words("This link shows nothing", _ENDED, 404)
    except share_page.PageError as error:
        logger.error("The page of a shared model cannot be made: %s", error, extra={"project": project.id})
        return _words(project.name, "The model cannot be shown now. Try again later.", 503)
    if page is None:
        return _words(project.name, "The model has not been made yet. Look again later.", 404)
    _count(service, share, request)
    answer = OpenedFile(page, "model.html", inline=True)
    answer.headers.update({**_PRIVATE, "Content-Security-Policy": share_page.policy_of(page)})
    return answer


def _words(title: str, text: str, status: int) -> HTMLResponse:
    title = html.escape(title)
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{title}</h1><p>{html.escape(text)}</p></main></body></html>"
    )
    policy = f"default-src 'none'; style-src '{_STYLE_HASH}'; frame-ancestors 'none'"
    headers = {**_PRIVATE, "Content-Security-Policy": policy}
    return HTMLResponse(body, status, headers)

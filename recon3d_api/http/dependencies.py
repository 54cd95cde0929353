"""What routes ask for: the service's parts, the caller, a project of theirs, a rate limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, Path, Request
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection

from recon3d_api import logs
from recon3d_api.errors import ApiError, not_found, unauthorized
from recon3d_api.files.installation import Installation
from recon3d_api.files.intakes import Intakes
from recon3d_api.files.resumable import Uploads
from recon3d_api.files.room import Room
from recon3d_api.files.storage import Storage
from recon3d_api.http import keys
from recon3d_api.http.access import active_user, identify
from recon3d_api.http.hub import Hub
from recon3d_api.http.lanes import Lanes
from recon3d_api.http.metrics import Metrics
from recon3d_api.http.rate_limits import RateLimits
from recon3d_api.http.routing import in_thread
from recon3d_api.http.security import Passwords, Token, Tokens
from recon3d_api.mail import Mailer
from recon3d_api.schemas import MAX_ID, Error, ValidationErrors
from recon3d_api.settings import Settings
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Project, User
from recon3d_api.work.quotas import Quotas
from recon3d_api.work.runner import JobRunner
from recon3d_api.work.webhooks import WebhookSender

API = "/api/v1"


@dataclass
class Service:
    """The parts of a running service; ``app.state.service``."""

    settings: Settings
    database: Database
    storage: Storage
    intakes: Intakes
    room: Room
    uploads: Uploads
    lanes: Lanes
    quotas: Quotas
    installation: Installation
    metrics: Metrics
    limits: RateLimits
    passwords: Passwords
    tokens: Tokens
    hub: Hub
    runner: JobRunner
    mailer: Mailer
    webhooks: WebhookSender


def get_service(connection: HTTPConnection) -> Service:
    """Get the service's parts.

    Parameters
    ----------
    connection : HTTPConnection

    Returns
    -------
    Service
    """
    service: Service = connection.app.state.service
    return service


async def _service(connection: HTTPConnection) -> Service:
    # FastAPI would take a thread for what is no coroutine.
    return get_service(connection)


ServiceDep = Annotated[Service, Depends(_service)]
_TOKEN = "recon3d.token"
_scheme = OAuth2PasswordBearer(tokenUrl=f"{API}/auth/token", auto_error=False)


def client_address(connection: HTTPConnection) -> str:
    """Get the caller's address, for limits and logs.

    Parameters
    ----------
    connection : HTTPConnection

    Returns
    -------
    str
    """
    return connection.client.host if connection.client else "unknown"


def bearer(connection: HTTPConnection) -> str:
    """Read the token of the ``Authorization`` header.

    Parameters
    ----------
    connection : HTTPConnection

    Returns
    -------
    str
        Empty without a token.
    """
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def throttle(kind: str) -> Callable[..., Awaitable[None]]:
    """Make a dependency that counts requests per user or, without a token, per address.

    Parameters
    ----------
    kind : str
        Name of the limit.

    Returns
    -------
    callable
    """

    async def count(request: Request) -> None:
        service = get_service(request)
        known = await read_token(request)
        who = f"user:{known.user_id}" if known else f"address:{client_address(request)}"
        if service.limits.blocking:
            await to_thread.run_sync(service.limits.check, kind, who)
        else:
            service.limits.check(kind, who)

    return count


async def read_token(request: HTTPConnection) -> Token | None:
    """Read the caller's access token or API key, once in a request.

    Parameters
    ----------
    request : HTTPConnection

    Returns
    -------
    Token or None
        None without a valid one.
    """
    if _TOKEN not in request.scope:
        service, text = get_service(request), bearer(request)
        if text.startswith(keys.PREFIX):  # found in the database; tokens are only computed
            request.scope[_TOKEN] = await to_thread.run_sync(identify, service.database, service.tokens, text)
        else:
            request.scope[_TOKEN] = service.tokens.read(text)
    token: Token | None = request.scope[_TOKEN]
    return token


#: Describes the header in the OpenAPI document.
_Described = Annotated[str | None, Depends(_scheme)]


async def current_token(request: Request, described: _Described) -> Token | None:
    """Read the caller's token.

    Parameters
    ----------
    request : Request
    described : str or None

    Returns
    -------
    Token or None
        None without a valid one.
    """
    return await read_token(request)


TokenDep = Annotated[Token | None, Depends(current_token)]


def current_user(service: Service, token: Token | None) -> User:
    """Find the caller.

    Parameters
    ----------
    service : Service
    token : Token or None

    Returns
    -------
    User

    Raises
    ------
    ApiError
        401 without a valid token.
    """
    user = active_user(service.database, token)
    if user is None:
        raise unauthorized()
    if caller := logs.caller.get():
        caller.user_id = user.id
    return user


async def caller(request: Request, described: _Described) -> User:
    """Find the caller, in the endpoint's thread where it has one.

    Parameters
    ----------
    request : Request
    described : str or None

    Returns
    -------
    User

    Raises
    ------
    ApiError
        401 without a valid token.
    """
    token = await read_token(request)
    if token is None:
        raise unauthorized()
    return await in_thread(current_user, get_service(request), token)


def ticket_target(project_id: int, purpose: str) -> str:
    """Name what a ticket is good for.

    Parameters
    ----------
    project_id : int
    purpose : str
        "events", or the type of a file.

    Returns
    -------
    str
    """
    return f"{project_id}/{purpose}"


async def administrator(request: Request, described: _Described) -> User:
    """Find the caller, who must be an administrator.

    Parameters
    ----------
    request : Request
    described : str or None

    Returns
    -------
    User

    Raises
    ------
    ApiError
        401 without a valid token, 403 for other users.
    """
    return await in_thread(_current_admin, get_service(request), await read_token(request))


def _current_admin(service: Service, token: Token | None) -> User:
    user = current_user(service, token)
    if not user.is_admin:
        raise ApiError(403, "This needs an administrator's account")
    return user


AdminDep = Annotated[User, Depends(administrator)]
UserDep = Annotated[User, Depends(caller)]
ProjectId = Annotated[int, Path(ge=1, le=MAX_ID, examples=[1])]
FilePath = Annotated[
    str, Path(min_length=1, max_length=1000, description="As in the list", examples=["inputs/photos/a.jpg"])
]
JobId = Annotated[int, Path(ge=1, le=MAX_ID, examples=[3])]


def own_project(session: Session, user: User, project_id: int, *, lock: bool = False) -> Project:
    """Find a project of the caller.

    Parameters
    ----------
    session : Session
    user : User
    project_id : int
    lock : bool
        Lock the row until the transaction ends.

    Returns
    -------
    Project

    Raises
    ------
    ApiError
        404 when there is none, also when it is someone else's.
    """
    project = session.get(Project, project_id, with_for_update=lock or None)
    if project is None or project.owner_id != user.id:
        raise not_found()
    return project


_WORDS = {
    400: "The request cannot be read, or makes no sense at this moment; `detail` says why",
    401: "No valid token",
    403: "Not allowed for this caller, turned off by the operator, or beyond a quota; `detail` says which",
    404: "It does not exist, or belongs to someone else",
    408: "The body came too slowly",
    409: "A run of this project is going on, or an upload has another offset",
    410: "The upload was refused, and has to begin anew",
    412: "The header `Tus-Resumable` is not 1.0.0",
    413: "Too large",
    415: "The body is not `application/offset+octet-stream`",
    416: "The range lies outside the file",
    422: "Something in the request is invalid",
    423: "Another request writes to the upload",
    429: "Too many requests; see `Retry-After`",
    460: "The body has another check sum",
    500: "An error of the server's own; `X-Request-ID` finds it in the logs",
    503: "Not ready",
    507: "The server's disk is full",
}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route for the OpenAPI document; some can always happen.

    Parameters
    ----------
    *statuses : int
        HTTP statuses.

    Returns
    -------
    dict of int or str to dict of str to Any
    """
    return {
        status: {
            "description": _WORDS[status],
            "model": ValidationErrors if status == 422 else Error,
        }
        for status in sorted({*statuses, 400, 408, 413, 422, 429, 500})
    }

"""Every error leaves as ``{"detail": "…"}``: one base, one place that turns exceptions into answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from recon3d_api.reserve import DISK_FULL, disk_is_full

logger = logging.getLogger("recon3d_api")

_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


class ApiError(Exception):
    """An answer other than success.

    Parameters
    ----------
    status : int
        HTTP status.
    detail : str
        What the caller can do something about.
    headers : mapping, optional
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def not_found(what: str = "Project") -> ApiError:
    """Make the answer for what does not exist or belongs to someone else.

    Parameters
    ----------
    what : str
        Such as "Project".

    Returns
    -------
    ApiError
    """
    return ApiError(404, f"{what} not found")


def unauthorized(detail: str = "Could not validate credentials") -> ApiError:
    """Make the answer for a request without a valid token.

    Parameters
    ----------
    detail : str

    Returns
    -------
    ApiError
    """
    return ApiError(401, detail, {"WWW-Authenticate": "Bearer"})


def install(app: FastAPI) -> None:
    """Register the error handlers.

    Parameters
    ----------
    app : FastAPI
    """
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    for kind in (OSError, DBAPIError):
        app.add_exception_handler(kind, _full_disk)


def _api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return JSONResponse({"detail": error.detail}, error.status, error.headers)


def _full_disk(request: Request, error: Exception) -> JSONResponse:
    if not disk_is_full(error):
        raise error
    logger.error("The disk is full: %s", error)
    return JSONResponse({"detail": DISK_FULL}, 507)


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = error.detail if isinstance(error.detail, str) else str(error.detail)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return JSONResponse({"detail": detail}, error.status_code, headers)


def _methods(request: Request) -> list[str]:
    """Methods of a path: each is a route of its own, which knows nothing of the others."""
    asked = [dict(request.scope, method=method) for method in _METHODS]
    routes = request.app.routes
    return [s["method"] for s in asked if any(route.matches(s)[0] is Match.FULL for route in routes)]


def _validation_error(request: Request, error: Exception) -> JSONResponse:
    """Say in words what is wrong, and keep the fields beside it; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    fields = [
        {"loc": [str(part) for part in row["loc"]], "msg": row["msg"], "type": row["type"]}
        for row in error.errors()
    ]
    words = "; ".join(f"{'.'.join(f['loc'][1:]) or f['loc'][0]}: {f['msg']}" for f in fields)
    return JSONResponse({"detail": words or "Invalid request", "errors": fields}, 422)

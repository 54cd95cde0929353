"""For those who run the service: is it alive, can it work, what are its numbers."""

from __future__ import annotations

import secrets

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

import recon3d
from recon3d_api import schemas
from recon3d_api.errors import unauthorized
from recon3d_api.http.dependencies import Service, ServiceDep, answers, bearer
from recon3d_api.http.routing import Route
from recon3d_api.store.tables import Runner


async def _operator(request: Request, service: ServiceDep) -> None:
    """Refuse who does not have the operators' token, where there is one."""
    wanted = service.settings.operations_token
    if wanted and not secrets.compare_digest(bearer(request).encode(), wanted.encode()):
        raise unauthorized()


router = APIRouter(route_class=Route, tags=["operations"])
#: What may be on a port of its own.
internal = APIRouter(route_class=Route, tags=["operations"], dependencies=[Depends(_operator)])


@router.get("/health", responses=answers())
async def health() -> schemas.Alive:
    """Tell that the process answers."""
    return schemas.Alive(version=recon3d.__version__)


@internal.get("/ready", responses={**answers(401), 503: {"model": schemas.Ready, "description": "Not ready"}})
def ready(service: ServiceDep) -> Response:
    """Tell whether database, disk and a runner are there; 503 when one is not."""
    checks = {"database": _database(service), "disk": _disk(service)}
    checks["runner"] = _runner(service) if checks["database"] == "ok" else "unknown"
    bad = [f"{name}: {found}" for name, found in checks.items() if found != "ok"]
    body = schemas.Ready(
        status="not ready" if bad else "ready", detail="; ".join(bad) or "ready", checks=checks
    )
    return JSONResponse(body.model_dump(), 503 if bad else 200)


@internal.get(
    "/metrics",
    response_class=Response,
    responses={
        **answers(401),
        200: {
            "description": "Prometheus' text format",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    },
)
def metrics(service: ServiceDep) -> Response:
    """Numbers for Prometheus."""
    return Response(service.metrics.render(service.database), media_type=CONTENT_TYPE_LATEST)


def _database(service: Service) -> str:
    try:
        with service.database.read() as session:
            session.execute(select(1))
    except SQLAlchemyError as error:
        return f"does not answer ({type(error).__name__})"
    return "ok"


def _disk(service: Service) -> str:
    try:
        free = service.storage.free
        probe = service.settings.incoming_dir / f".ready-{id(service)}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    if problem := service.installation.problem():
        return problem
    return "ok" if free >= service.settings.min_free_mb << 20 else f"only {free >> 20} MB free"


def _runner(service: Service) -> str:
    if service.settings.runners:
        return "ok" if service.runner.alive else "not running"
    with service.database.read() as session:
        since = service.database.now(session) - 2 * service.settings.lease_seconds
        seen = session.scalar(select(Runner.name).where(Runner.seen > since).limit(1))
    return "ok" if seen else "no `recon3d-api worker` was heard of lately"

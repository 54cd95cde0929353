"""The application: parts put together, started and ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

import recon3d
from recon3d_api import errors, logs
from recon3d_api.files.installation import Installation
from recon3d_api.files.intakes import Intakes
from recon3d_api.files.resumable import Uploads
from recon3d_api.files.room import Room
from recon3d_api.files.storage import Storage
from recon3d_api.http import listing, receiving, tus
from recon3d_api.http.dependencies import API, Service
from recon3d_api.http.hub import Hub
from recon3d_api.http.lanes import Lanes
from recon3d_api.http.metrics import Metrics
from recon3d_api.http.middleware import RequestMiddleware
from recon3d_api.http.operations_server import OperationsServer
from recon3d_api.http.rate_limits import RateLimits
from recon3d_api.http.routes import (
    about,
    admin,
    auth,
    downloads,
    files,
    jobs,
    keys,
    model_page,
    notifications,
    operations,
    pages,
    passwords,
    projects,
    quota,
    sessions,
    shared,
    shares,
    stage_pictures,
    uploads,
    webhooks,
)
from recon3d_api.http.routes import live as events
from recon3d_api.http.security import Passwords, Tokens
from recon3d_api.mail import Mailer
from recon3d_api.settings import Settings
from recon3d_api.site import pages as site
from recon3d_api.store.database import Database
from recon3d_api.work.outbox import Outbox, Queue
from recon3d_api.work.quotas import Quotas
from recon3d_api.work.run_mails import RunMailQueue
from recon3d_api.work.runner import Command, JobRunner
from recon3d_api.work.startup import Sweeper, begin
from recon3d_api.work.webhooks import WebhookQueue

logger = logging.getLogger("recon3d_api")

_DESCRIPTION = """\
From a video or photos to a textured 3D model, as a service.

Register, get a token (the *Authorize* button takes username and password), create a project, upload a
video, start the reconstruction, and follow it by polling or on the WebSocket
`/ws/jobs/{project_id}`. Every error is `{"detail": "…"}`.
"""


def create_app(settings: Settings | None = None, *, command: Command | None = None) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    settings : Settings, optional
        By default from the environment.
    command : callable, optional
        Makes the command that works on a run; by default `recon3d run`.

    Returns
    -------
    FastAPI

    Yields
    ------
    FastAPI

    Raises
    ------
    InsecureSettings
        Production with a weak secret.
    """
    settings = (settings or Settings()).prepare()
    logs.redact_queries()
    metrics = Metrics()
    database = Database(settings.resolved_database_url)
    storage = Storage(settings)
    resumable = Uploads(storage)
    mailer = Mailer(settings)
    queues: list[Queue] = [WebhookQueue(settings, database)]
    if mailer.enabled:
        queues.append(RunMailQueue(settings, database, mailer))
    service = Service(
        settings=settings,
        database=database,
        storage=storage,
        intakes=Intakes(storage),
        room=Room(storage),
        uploads=resumable,
        lanes=Lanes(),
        quotas=Quotas(database, storage, resumable),
        installation=Installation(database, storage),
        metrics=metrics,
        limits=RateLimits(settings, metrics),
        passwords=Passwords(),
        tokens=Tokens(settings.secret_key, settings.token_minutes),
        hub=Hub(database),
        runner=JobRunner(settings, database, storage, command=command),
        mailer=mailer,
        outbox=Outbox(database, queues),
    )

    sweeper = Sweeper(database, storage)
    operators = OperationsServer(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            await to_thread.run_sync(start, service)
            sweeper.start()
            service.outbox.start()
            operators.start()
            finishing = asyncio.create_task(receiving.finish_now_and_then(service))
            yield
            finishing.cancel()
            await service.hub.close()
            await to_thread.run_sync(service.runner.stop)
        finally:
            await to_thread.run_sync(operators.stop)
            await to_thread.run_sync(service.outbox.stop)
            await to_thread.run_sync(sweeper.stop)
            await to_thread.run_sync(service.mailer.stop)
            await to_thread.run_sync(database.changes.stop)
            service.intakes.close()
            service.installation.close()
            database.dispose()

    app = FastAPIOffline(
        title="recon3d API",
        version=recon3d.__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.service = service
    errors.install(app)
    for part in (auth, passwords, sessions, keys, projects, uploads, downloads, files, jobs, admin, quota):
        app.include_router(part.router, prefix=API)
    for part in (shares, shared, webhooks, notifications, about, model_page, stage_pictures):
        app.include_router(part.router, prefix=API)
    app.include_router(shared.page_router)
    app.include_router(operations.router)
    if settings.operations_port is None:
        app.include_router(operations.internal)
    app.include_router(events.router)
    app.include_router(pages.router)
    app.include_router(site.router)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"],
            allow_headers=[
                *("Authorization", "Content-Type", "Range", "If-Range", "X-Request-ID"),
                *tus.REQUEST_HEADERS,
            ],
            expose_headers=[
                *("Content-Disposition", "Content-Range", "ETag", "Retry-After", "X-Request-ID"),
                *listing.HEADERS,
                *tus.ANSWER_HEADERS,
            ],
        )
    app.add_middleware(RequestMiddleware, metrics=metrics, body_seconds=settings.body_seconds)
    return app


def start(service: Service) -> None:
    """Check the database and the data folder, finish deletions, and begin to take runs.

    Parameters
    ----------
    service : Service
        The service's parts.

    Raises
    ------
    InstallationMismatch
        The database and the data folder do not belong together.
    """
    unowned = begin(service.installation, service.database, service.storage)
    service.metrics.unowned.set(unowned)
    service.database.changes.start()
    service.runner.start()


def openapi() -> dict[str, Any]:
    """Build the OpenAPI document.

    Returns
    -------
    dict of str to Any
        Ready for JSON.
    """
    return create_app().openapi()

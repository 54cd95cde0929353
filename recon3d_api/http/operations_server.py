"""A server of its own for ``/metrics``, ``/ready`` and ``/health``."""

from __future__ import annotations

import socket
import threading

import uvicorn
from fastapi import FastAPI

from recon3d_api import errors
from recon3d_api.http.dependencies import Service
from recon3d_api.http.middleware import RequestMiddleware
from recon3d_api.http.routes import operations

_STOP_SECONDS = 5.0


class OperationsServer:
    """Serves operators, in a thread of its own.

    Parameters
    ----------
    service : Service
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, where the settings have a port for it.

        Raises
        ------
        OSError
            The port is taken.
        """
        settings = self._service.settings
        if settings.operations_port is None:
            return
        family = socket.AF_INET6 if ":" in settings.operations_host else socket.AF_INET
        listener = socket.create_server((settings.operations_host, settings.operations_port), family=family)
        app = FastAPI(docs_url=None, redoc_url=None)
        app.state.service = self._service
        errors.install(app)
        app.include_router(operations.router)
        app.include_router(operations.internal)
        app.add_middleware(RequestMiddleware, metrics=self._service.metrics)
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="recon3d-operations", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_STOP_SECONDS)

"""A server of its own for ``/metrics``, ``/ready`` and ``/health``."""

from __future__ import annotations

import functools
import socket
import threading

from fastapi import FastAPI
from uvicorn import Config

from recon3d_api import errors
from recon3d_api.http.dependencies import Service
from recon3d_api.http.middleware import RequestMiddleware
from recon3d_api.http.routes import operations
from recon3d_api.http.serving import Server
from recon3d_api.threads import in_background

_STOP_SECONDS = 5.0


class OperationsServer:
    """Serves operators, in a thread of its own.

    Parameters
    ----------
    service : Service
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._server: Server | None = None
        self._ended: threading.Event | None = None

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
        self._server = Server(Config(app, log_config=None, lifespan="off"))
        self._ended = in_background(functools.partial(self._server.run, [listener]), "recon3d-operations")

    def stop(self) -> None:
        """End."""
        if self._server is not None and self._ended is not None:
            self._server.ask_to_end()
            self._ended.wait(_STOP_SECONDS)

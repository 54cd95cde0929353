"""Around every request: its id, one log line, metrics, a limit on bodies, and no trace to outside."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recon3d_api import logs
from recon3d_api.metrics import Metrics

logger = logging.getLogger("recon3d_api.access")

_MAX_BODY = 1 << 20
_STREAMED = "/files/upload/"
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestMiddleware:
    """ASGI middleware.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        mark = logs.request_id.set(request_id)
        began = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            if _STREAMED not in scope["path"]:
                receive = _limited(receive)
            await self._app(scope, receive, answer)
        except Exception:
            logger.exception("Unhandled error", extra={"path": scope["path"]})
            if not status:
                await _plain(answer, 500, "Internal server error")
        finally:
            self._count(scope, status, time.perf_counter() - began)
            logs.request_id.reset(mark)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's pattern, not the path: projects must not each have a time series.
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "PUT", "DELETE") else "OTHER"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        logger.info(
            "%s %s %d",
            method,
            scope["path"],
            status,
            extra={
                "status": status,
                "seconds": round(seconds, 4),
                "address": scope["client"][0] if scope.get("client") else "",
            },
        )


def _limited(receive: Receive) -> Receive:
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        if message["type"] == "http.request":
            size += len(message.get("body", b""))
            if size > _MAX_BODY:
                raise HTTPException(413, "The request is too large")
        return message

    return limited


async def _plain(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

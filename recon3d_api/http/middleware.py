"""Around every request: its id, one log line, metrics, a limit on bodies, and no trace to outside."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recon3d_api import logs
from recon3d_api.http.metrics import Metrics

logger = logging.getLogger("recon3d_api.access")

_MAX_BODY = 1 << 20
_SLOWEST = 1024
_STREAMED = ("/files/upload/", "/files/uploads/")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestMiddleware:
    """ASGI middleware.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    body_seconds : float
        A body that brings less than `_SLOWEST` bytes a second for so long is refused; 0 for never.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, body_seconds: float = 0.0) -> None:
        self._app = app
        self._body_seconds = body_seconds
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        mark = logs.request_id.set(request_id)
        caller = logs.Caller(scope["client"][0] if scope.get("client") else "")
        caller_mark = logs.caller.set(caller)
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
                    # The rest of a body that nobody wants is not waited for.
                    *([] if body.whole else [(b"connection", b"close")]),
                ]
            await send(message)

        most = None if any(part in scope["path"] for part in _STREAMED) else _MAX_BODY
        body = _Body(scope, receive, most, self._body_seconds)
        try:
            await self._app(scope, body.receive, answer)
        except Exception:
            logger.exception("Unhandled error", extra={"path": logs.without_token(scope["path"])})
            if not status:
                await _plain(answer, 500, "Internal server error")
        finally:
            self._count(scope, caller, status, time.perf_counter() - began)
            logs.caller.reset(caller_mark)
            logs.request_id.reset(mark)

    def _count(self, scope: Scope, caller: logs.Caller, status: int, seconds: float) -> None:
        # The route's pattern, not the path: projects must not each have a time series.
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        logger.info(
            "%s %s %d",
            method,
            logs.without_token(scope["path"]),
            status,
            extra={
                "status": status,
                "seconds": round(seconds, 4),
                "address": caller.address,
                "user_id": caller.user_id,
            },
        )


class _Body:
    """Counts a request's body, and knows whether all of it has come."""

    def __init__(self, scope: Scope, receive: Receive, limit: int | None, seconds: float) -> None:
        names = dict(scope["headers"])
        self.whole = names.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in names
        self._receive = receive
        self._limit = limit
        self._size = 0
        self._seconds = seconds
        self._left, self._lacking = seconds, seconds * _SLOWEST

    async def receive(self) -> Message:
        """The next piece."""
        message = await (self._receive() if self.whole or not self._seconds else self._in_time())
        if message["type"] == "http.request":
            self.whole = not message.get("more_body", False)
            self._size += len(message.get("body", b""))
            if self._limit is not None and self._size > self._limit:
                raise HTTPException(413, "The request is too large")
        return message

    async def _in_time(self) -> Message:
        """The next piece, unless the client is too slow; time that nobody waits does not count."""
        began = time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(self._left, 0.01))
        except asyncio.TimeoutError:
            raise HTTPException(408, f"The body came too slowly: {self._size} bytes so far") from None
        self._left -= time.monotonic() - began
        self._lacking -= len(message.get("body", b""))
        if self._lacking <= 0:  # fast enough; the next stretch begins
            self._left, self._lacking = self._seconds, self._seconds * _SLOWEST
        return message


async def _plain(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

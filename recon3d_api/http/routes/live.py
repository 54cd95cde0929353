"""The WebSocket with the events of a project's jobs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from sqlalchemy import select

from recon3d_api.http.access import active_user, identify, redeem_ticket
from recon3d_api.http.dependencies import Service, bearer, get_service, ticket_target
from recon3d_api.http.hub import Listener, timestamp
from recon3d_api.schemas import MAX_ID
from recon3d_api.store import tables as models
from recon3d_api.work import queue as runs

router = APIRouter()

_HEARTBEAT = 15.0
NOT_AUTHENTICATED, NOT_FOUND = 4401, 4404


@router.websocket("/ws/jobs/{project_id}")
async def job_events(websocket: WebSocket, project_id: str) -> None:
    """Send the state, then every event; see docs/reference/rest-api.md."""
    service = get_service(websocket)
    number = int(project_id) if project_id.isascii() and project_id.isdigit() and len(project_id) < 11 else 0
    token, protocol = _token(websocket)
    # Accepted first: a refused handshake could not carry the codes 4401 and 4404.
    await websocket.accept(subprotocol=protocol)
    known = await to_thread.run_sync(identify, service.database, service.tokens, token)
    ticket = websocket.query_params.get("ticket")
    if ticket is not None and known is None:
        target = ticket_target(number, "events")
        known = await to_thread.run_sync(redeem_ticket, service.database, ticket, target)
    user = await to_thread.run_sync(active_user, service.database, known)
    if user is None or known is None:
        await websocket.close(NOT_AUTHENTICATED, "Could not validate credentials")
        return
    state = await to_thread.run_sync(_state, service, user, number)
    if state is None:
        await websocket.close(NOT_FOUND, "Project not found")
        return
    after = websocket.query_params.get("after", "")
    if after.isascii() and after.isdigit() and len(after) < 11:
        state["seq"] = min(int(after), state["seq"])
    service.metrics.listeners.inc()
    try:
        await websocket.send_text(json.dumps(state))
        async with service.hub.listen(number, state["seq"], known) as listener:
            sender = asyncio.create_task(_send(websocket, listener, number))
            receiver = asyncio.create_task(_drain(websocket))
            try:
                await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sender, receiver):
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                        await task
    except (WebSocketDisconnect, RuntimeError):
        pass  # the client went away between two messages
    finally:
        service.metrics.listeners.dec()


def _token(websocket: WebSocket) -> tuple[str, str | None]:
    """The token, from wherever the client could put it, and the subprotocol to answer with."""
    offered = [part.strip() for part in websocket.headers.get("sec-websocket-protocol", "").split(",")]
    protocol = "bearer" if offered[0] == "bearer" else None
    if token := bearer(websocket):
        return token, protocol
    if protocol and len(offered) > 1:
        return offered[1], protocol
    return "", protocol


def _state(service: Service, user: models.User, project_id: int) -> dict[str, Any] | None:
    """The present state, as the first message; events with a higher `seq` follow."""
    if not 1 <= project_id <= MAX_ID:
        return None
    with service.database.read() as session:
        project = session.scalar(
            select(models.Project).where(models.Project.id == project_id, models.Project.owner_id == user.id)
        )
        if project is None:
            return None
        run = runs.newest_run(session, project_id)
        jobs = run.jobs if run else []
        current = next((job for job in jobs if job.status == "running"), None)
        return {
            "event": "state",
            "job_id": current.id if current else None,
            "project_id": project_id,
            "job_type": current.job_type if current else None,
            "status": project.status,
            "progress": round(100 * run.fraction, 1) if run else 0.0,
            "message": current.message if current else None,
            "error": run.error if run else None,
            "seq": project.event_seq,
            "timestamp": timestamp(models.utcnow()),
            "jobs": [
                {
                    "job_id": job.id,
                    "job_type": job.job_type,
                    "status": job.status,
                    "progress": job.progress,
                    "message": job.message,
                    "error": job.error_message,
                }
                for job in jobs
            ],
        }


async def _send(websocket: WebSocket, listener: Listener, project_id: int) -> None:
    token = listener.token
    while True:
        left = min(token.expires - time.time(), _HEARTBEAT)
        message = await listener.next(max(left, 0.01))
        if message is not None:
            await websocket.send_text(message.text)
        elif listener.revoked:
            await websocket.close(NOT_AUTHENTICATED, "The token was revoked or has expired")
            return
        elif listener.closed:
            await websocket.close(NOT_FOUND, "Project not found")
            return
        elif time.time() >= token.expires:
            await websocket.close(NOT_AUTHENTICATED, "The token has expired")
            return
        else:
            heartbeat: dict[str, Any] = dict.fromkeys(
                ("job_id", "job_type", "status", "progress", "message", "error")
            )
            heartbeat.update(event="heartbeat", project_id=project_id, seq=listener.last)
            heartbeat["timestamp"] = timestamp(models.utcnow())
            await websocket.send_text(json.dumps(heartbeat))


async def _drain(websocket: WebSocket) -> None:
    """Read and drop what the client says, to notice when it goes."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass

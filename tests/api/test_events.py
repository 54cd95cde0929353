"""The WebSocket."""

from __future__ import annotations

import contextlib
import json
import math
import time
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from recon3d_api.http.hub import Listener, Message
from recon3d_api.http.routes import live
from recon3d_api.http.security import Token
from recon3d_api.store.expiry import forget_expired
from recon3d_api.store.tables import Ticket
from tests.api.conftest import Api, jobs_of, new_project, plant, started, wait_status

FIELDS = {
    "event",
    "job_id",
    "project_id",
    "job_type",
    "status",
    "progress",
    "message",
    "error",
    "seq",
    "timestamp",
}


def listen(api: Api, client: httpx.Client, number: object, query: str = "", **parts: Any) -> ClientConnection:
    headers = parts.pop("additional_headers", {"Authorization": client.headers["authorization"]})
    address = f"{api.url.replace('http', 'ws')}/ws/jobs/{number}{query}"
    return connect(address, additional_headers=headers, **parts)


def until(socket: ClientConnection, *ends: tuple[str, str]) -> list[dict[str, Any]]:
    """Messages up to one of (event, job_type)."""
    messages = []
    while True:
        messages.append(json.loads(socket.recv(timeout=30)))
        if (messages[-1]["event"], messages[-1]["job_type"]) in ends:
            return messages


def test_all_events_of_a_run(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    working.behave(number, seconds=0.3)
    with listen(working, worker, number) as socket:
        first = json.loads(socket.recv(timeout=10))
        assert set(first) == FIELDS | {"jobs"}
        assert (first["event"], first["status"], first["seq"], first["jobs"]) == ("state", "draft", 0, [])
        started(worker, number)
        messages = until(socket, ("job_completed", "texturing"))
    assert all(set(message) == FIELDS for message in messages)
    assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
    jobs = {job["id"]: job["job_type"] for job in jobs_of(worker, number)}
    expected = []
    for job_id, job_type in jobs.items():
        own = [message for message in messages if message["job_id"] == job_id]
        assert {message["job_type"] for message in own} == {job_type}
        assert [m["event"] for m in own if m["event"] != "job_progress"] == ["job_started", "job_completed"]
        assert [m["progress"] for m in own] == sorted(m["progress"] for m in own)
        expected += own
    assert messages == expected  # a stage after the other
    assert any(message["event"] == "job_progress" for message in messages)
    assert messages[-1]["progress"] == 100.0
    # Who comes later gets the state, and with `after` all that was missed.
    with listen(working, worker, number) as socket:
        state = json.loads(socket.recv(timeout=10))
        assert (state["seq"], len(state["jobs"])) == (len(messages), 7)
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.3)
    with listen(working, worker, number, "?after=3") as socket:
        assert json.loads(socket.recv(timeout=10))["seq"] == 3
        assert until(socket, ("job_completed", "texturing")) == messages[3:]


def test_failed_and_cancelled(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    working.behave(number, fail="feature_extraction")
    with listen(working, worker, number) as socket:
        started(worker, number)
        messages = until(socket, ("job_cancelled", "texturing"))
    failed = next(message for message in messages if message["event"] == "job_failed")
    assert (failed["job_type"], failed["status"], failed["error"]) == (
        "feature_extraction",
        "failed",
        "x.jpg is bad. Mend it.",
    )
    assert [message["event"] for message in messages][-5:] == ["job_cancelled"] * 5


def test_ways_to_give_the_token(client: httpx.Client, idle: Api) -> None:
    number = new_project(client)
    token = client.headers["authorization"].partition(" ")[2]
    none: dict[str, str] = {}
    with listen(idle, client, number, additional_headers=none, subprotocols=["bearer", token]) as socket:
        assert socket.subprotocol == "bearer"
        assert json.loads(socket.recv(timeout=10))["event"] == "state"


def ticket_for(client: httpx.Client, number: int, purpose: str = "events") -> str:
    answer = client.post("/auth/ticket", json={"project_id": number, "purpose": purpose})
    assert answer.status_code == 200, answer.text
    assert answer.json()["expires_in"] == 30
    return str(answer.json()["ticket"])


def test_a_ticket_is_good_once_and_is_not_logged(
    client: httpx.Client, stranger: httpx.Client, idle: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "uvicorn.error")
    number, other = new_project(client), new_project(client)
    token = client.headers["authorization"].partition(" ")[2]
    none: dict[str, str] = {}
    ticket = ticket_for(client, number)
    assert closed_with(listen(idle, client, other, f"?ticket={ticket}", additional_headers=none)) == 4401
    with listen(idle, client, number, f"?ticket={ticket}", additional_headers=none) as socket:
        assert json.loads(socket.recv(timeout=10))["event"] == "state"
    assert closed_with(listen(idle, client, number, f"?ticket={ticket}", additional_headers=none)) == 4401
    assert closed_with(listen(idle, client, number, f"?token={token}", additional_headers=none)) == 4401
    assert stranger.post("/auth/ticket", json={"project_id": number, "purpose": "events"}).status_code == 404
    logged = [record.getMessage() for record in caplog.records if "WebSocket" in record.getMessage()]
    assert len(logged) >= 4
    assert not any(secret in line for line in logged for secret in (ticket, token, "eyJ"))
    late = ticket_for(client, number)
    with idle.service.database.write() as session:
        session.execute(update(Ticket).values(expires=time.time() - 1))
    assert closed_with(listen(idle, client, number, f"?ticket={late}", additional_headers=none)) == 4401
    forget_expired(idle.service.database)
    with idle.service.database.read() as session:
        assert session.scalars(select(Ticket)).all() == []


def test_a_ticket_for_a_download(client: httpx.Client, idle: Api) -> None:
    number = plant(client, new_project(client))
    ticket = ticket_for(client, number, "video")
    with idle.client() as nobody:
        url = f"/files/download/{number}"
        assert nobody.get(f"{url}/mesh?ticket={ticket}").status_code == 401
        assert nobody.get(f"{url}/video?ticket={ticket}").content[4:8] == b"ftyp"
        assert nobody.get(f"{url}/video?ticket={ticket}").status_code == 401


def test_a_revoked_token_ends_everything(idle: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_HEARTBEAT", 0.2)
    user, token = idle.user()
    second, third = (idle.service.tokens.issue(user.id) for _ in range(2))
    with idle.client(token) as one, idle.client(second) as two, idle.client(third) as three:
        number = new_project(one)
        ticket = ticket_for(one, number)
        listening = listen(idle, one, number)
        assert one.post("/auth/logout").status_code == 200
        assert one.get("/auth/me").status_code == one.post("/auth/logout").status_code == 401
        assert closed_with(listening) == 4401
        assert closed_with(listen(idle, one, number, f"?ticket={ticket}", additional_headers={})) == 4401
        assert two.get("/auth/me").status_code == 200
        assert two.post("/auth/logout?everywhere=true").status_code == 200
        assert three.get("/auth/me").status_code == 401
    with idle.client(idle.service.tokens.issue(user.id)) as again:
        assert again.get("/auth/me").status_code == 200


def closed_with(socket: ClientConnection) -> int:
    with socket:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(50):
                socket.recv(timeout=10)
        assert socket.close_code is not None
        return socket.close_code


def test_refusals(client: httpx.Client, stranger: httpx.Client, idle: Api) -> None:
    number = new_project(client)
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eA=="}):
        assert closed_with(listen(idle, client, number, additional_headers=headers)) == 4401
    assert closed_with(listen(idle, client, number, "?token=x", additional_headers={})) == 4401
    assert closed_with(listen(idle, stranger, number)) == 4404
    for other in (2**31 - 1, 0, -1, "x", 10**30, "%00"):
        assert closed_with(listen(idle, client, other)) == 4404
    for query in ("?after=x", "?after=-1", f"?after={10**30}", "?after=99"):
        with listen(idle, client, number, query) as socket:
            assert json.loads(socket.recv(timeout=10))["seq"] == 0


def test_a_deleted_project_ends_the_connection(client: httpx.Client, idle: Api) -> None:
    number = new_project(client)
    with listen(idle, client, number) as socket:
        socket.recv(timeout=10)
        client.delete(f"/projects/{number}")
        assert closed_with(socket) == 4404


def test_an_expired_token_ends_the_connection(client: httpx.Client, idle: Api) -> None:
    number = new_project(client)
    tokens = idle.service.tokens
    user = tokens.read(client.headers["authorization"].partition(" ")[2])
    assert user is not None
    usual, tokens._seconds = tokens._seconds, 2
    try:
        short = tokens.issue(user.user_id)
    finally:
        tokens._seconds = usual
    with listen(idle, client, number, additional_headers={"Authorization": f"Bearer {short}"}) as socket:
        assert closed_with(socket) == 4401


def test_large_messages_of_clients_are_refused(client: httpx.Client, idle: Api) -> None:
    number = new_project(client)
    with listen(idle, client, number) as socket:
        socket.send("hello")
        socket.send("x" * 200_000)
        assert closed_with(socket) == 1009


def test_heartbeat(client: httpx.Client, idle: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon3d_api.http.routes.live._HEARTBEAT", 0.2)
    number = new_project(client)
    with listen(idle, client, number) as socket:
        socket.recv(timeout=10)
        beat = json.loads(socket.recv(timeout=10))
        assert set(beat) == FIELDS
        assert (beat["event"], beat["seq"]) == ("heartbeat", 0)


def test_slow_readers_get_the_newest_state() -> None:
    listener = Listener(Token(1, "", 0.0, math.inf))
    sent = []
    for seq in range(1, 1001):
        job, step = divmod(seq - 1, 100)
        sent.append(Message(seq, job, 0 < step < 99, str(seq)))
        listener.push(sent[-1:])
    pending = list(listener._pending)
    assert len(pending) < 100
    assert [m.seq for m in pending] == sorted(m.seq for m in pending)
    states = [m for m in sent if not m.progress]
    assert [m for m in pending if not m.progress] == states
    listener.push(sent[-10:])  # what it has had does not come again
    assert list(listener._pending) == pending


def test_many_listeners_get_every_state_in_order(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(listen(working, worker, number)) for _ in range(30)]
        for socket in sockets:
            socket.recv(timeout=10)
        started(worker, number)
        wait_status(worker, number, "completed")
        began = time.monotonic()
        streams = [until(socket, ("job_completed", "texturing")) for socket in sockets]
        assert time.monotonic() - began < 5
    assert all(stream == streams[0] for stream in streams)
    assert [m["seq"] for m in streams[0]] == list(range(1, len(streams[0]) + 1))

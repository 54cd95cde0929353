"""Webhooks: signed, retried, and never sent into the network."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from recon3d_api.settings import Settings
from recon3d_api.store import webhooks
from recon3d_api.store.database import Database
from recon3d_api.store.tables import AuditEntry, Delivery, Project, User
from recon3d_api.work import outside
from tests.api.conftest import Api, new_project, started, wait_for, wait_status
from tests.api.test_changes import database

__all__ = ["database"]
Serve = Callable[..., AbstractContextManager[Api]]
LOCAL = ["127.0.0.0/8"]


class Receiver:
    """A real HTTP server that keeps what it got, and answers what it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str], float]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status, headers, wait = outer.answers.pop(0) if outer.answers else (204, {}, 0.0)
                time.sleep(wait)
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?x=1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def hooked(serve: Serve) -> Iterator[Api]:
    with serve(runners=1, lease_seconds=20.0, webhook_networks="127.0.0.0/8") as api:
        yield api


def hook(client: httpx.Client, project_id: int, url: str, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/projects/{project_id}/webhooks", json={"url": url, **body})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def log(client: httpx.Client, project_id: int, webhook_id: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get(f"/projects/{project_id}/webhooks/{webhook_id}/deliveries").json()
    return rows


def test_the_end_of_a_run_is_told_and_signed(hooked: Api, receiver: Receiver) -> None:
    with hooked.client(hooked.user()[1]) as client:
        project_id = started(client)
        made = hook(client, project_id, receiver.url)
        wait_status(client, project_id, "completed")
        wait_for(lambda: receiver.got)
        (row,) = wait_for(
            lambda: [r for r in log(client, project_id, made["id"]) if r["status"] == "delivered"]
        )
    ((headers, body),) = receiver.got
    told = json.loads(body)
    assert told["type"] == row["event"] == "run.completed"
    assert told["data"]["project_id"] == project_id
    assert told["data"]["project_status"] == "completed"
    assert (row["attempts"], row["response_status"], row["error"]) == (1, 204, None)
    # As a receiver checks it, by the specification.
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    right = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{right}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60


def test_failures_are_retried_under_the_same_id_and_survive_a_restart(
    serve: Serve, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, new_database: Any
) -> None:
    monkeypatch.setattr(webhooks, "WAITS", (0.1, 0.3, 600.0))
    receiver.answers = [(500, {}, 0.0), (302, {"Location": "http://127.0.0.1:1/"}, 0.0), (503, {}, 0.0)]
    place = {"data_dir": tmp_path, "database_url": new_database(), "webhook_networks": "127.0.0.0/8"}
    with serve(runners=0, **place) as api:
        token = api.user()[1]
        with api.client(token) as client:
            project_id = new_project(client)
            made = hook(client, project_id, receiver.url)
            client.post(f"/projects/{project_id}/webhooks/{made['id']}/test")
            row = wait_for(
                lambda: [r for r in log(client, project_id, made["id"]) if r["response_status"] == 503]
            )[0]
            assert (row["status"], row["attempts"], row["error"]) == ("pending", 3, "The answer was 503.")
            assert row["next_attempt"] is not None
    assert len(receiver.got) == 3
    database = Database(Settings(**place).resolved_database_url)
    with database.write() as session:
        session.execute(update(Delivery).values(due=0.0))  # ten minutes later
    database.dispose()
    with serve(runners=0, **place) as api, api.client(token) as client:
        wait_for(lambda: log(client, project_id, made["id"])[0]["status"] == "delivered")
    assert len(receiver.got) == 4
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_what_fails_for_a_day_is_given_up() -> None:
    assert 24 * 3600 < sum(webhooks.WAITS) < 48 * 3600
    assert list(webhooks.WAITS) == sorted(webhooks.WAITS)


def test_several_servers_send_a_message_once_and_a_killed_ones_again(database: Database) -> None:
    with database.write() as session:
        user = User(username="a", username_key="a", email="a", email_key="a", password_hash="none")
        session.add(user)
        session.flush()
        project = Project(owner_id=user.id, name="Bust", folder="a")
        session.add(project)
        session.flush()
        project_id = project.id
        hooks = [
            webhooks.Webhook(project_id=project_id, url="http://x/", secret=webhooks.new_secret(), events=[])
            for _ in range(6)
        ]
        session.add_all(hooks)
        session.flush()
        for number, made in enumerate(hooks):
            session.add(webhooks.message_for(made, 10_000 + number, "webhook.test", {}))
            session.add(webhooks.message_for(made, 10_000 + number, "webhook.test", {}))
    mine = {made.id for made in hooks}
    claimed: list[webhooks.Message] = []

    def take() -> None:
        while (message := webhooks.claim(database)) is not None:
            claimed.append(message)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [message.id for message in claimed]
    assert len(ids) == len(set(ids))
    with database.read() as session:
        rows = session.scalars(select(Delivery).where(Delivery.webhook_id.in_(mine))).all()
    flying = [row for row in rows if row.in_flight]
    assert len(flying) == 6  # one of each owner
    # The server that took it was killed: its lease ends.
    with database.write() as session:
        session.execute(update(Delivery).where(Delivery.id == flying[0].id).values(due=0.0))
    again = wait_for(lambda: webhooks.claim(database))
    assert (again.id, again.attempts) == (flying[0].id, 2)
    # What the first one writes late changes nothing.
    first = next(message for message in claimed if message.id == again.id)
    webhooks.conclude(database, first, 200, "")
    with database.read() as session:
        assert session.get_one(Delivery, again.id).status == "pending"


INSIDE = [
    "http://127.0.0.1/", "http://10.0.0.1/", "http://192.168.1.1/", "http://172.16.0.1/",
    "http://169.254.169.254/latest/meta-data", "http://0.0.0.0/", "http://100.64.0.1/", "http://224.0.0.1/",
    "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:10.0.0.1]/",
    "http://[fe80::1]/", "http://[fc00::1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
    "http://[::7f00:1]/", "http://255.255.255.255/", "http://[ff02::1]/",
]  # fmt: skip


@pytest.mark.attack("Webhooks to 19 addresses inside the network", "refused")
@pytest.mark.parametrize("url", INSIDE)
def test_addresses_inside_the_network_are_refused(url: str) -> None:
    with pytest.raises(outside.Refused, match="inside the network"):
        outside.check_literal(url, [])
    with pytest.raises(outside.Refused):
        outside.post(url, b"", {}, [])


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.1", "0177.0.0.1"], ids=str)
def test_other_spellings_are_refused_when_they_are_sent_to(host: str) -> None:
    with pytest.raises(outside.Refused, match=r"inside the network|cannot be resolved"):
        outside.post(f"http://{host}:1/", b"", {}, [])


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/", "file:///etc/passwd", "http://a:b@example.com/", "http://", "example.com",
     "http://example.com:99999/", "http://example.com/ x", "http://example.com/é", "http://example.com:0/"],
)  # fmt: skip
def test_what_is_no_address_is_refused(idle: Api, client: httpx.Client, url: str) -> None:
    answer = client.post(f"/projects/{new_project(client)}/webhooks", json={"url": url})
    assert answer.status_code == 400, answer.text
    assert "URL" in answer.json()["detail"]


def test_a_public_address_is_no_fault() -> None:
    for url in ("https://93.184.216.34/", "http://[2606:2800:220:1::]/", "https://example.com/a?b=c"):
        outside.check_literal(url, [])


@pytest.mark.attack("DNS rebinding of a webhook's name", "the checked address is used")
def test_a_name_that_changes_its_address_gains_nothing(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first answer is allowed, every later one is not."""
    port = int(receiver.server.server_address[1])
    asked: list[str] = []

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        if host != "rebind.test":  # the connection to the checked address
            return real(host, *_, **__)
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "10.255.255.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert outside.post(f"http://rebind.test:{port}/", b"{}", {}, LOCAL) == 204
    assert len(asked) == 1
    assert receiver.got[0][0]["host"] == f"rebind.test:{port}"
    # And a name with one good and one bad address is refused whole.
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", port)), (2, 1, 6, "", ("10.0.0.1", port))],
    )
    with pytest.raises(outside.Refused):
        outside.post(f"http://rebind.test:{port}/", b"{}", {}, LOCAL)


def test_slow_and_endless_answers_end(receiver: Receiver) -> None:
    receiver.answers = [(200, {}, 3.0)]
    with pytest.raises(TimeoutError):
        outside.post(receiver.url, b"{}", {}, LOCAL, seconds=0.5)
    # A byte now and then is no progress either.
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.05)

    threading.Thread(target=drip, daemon=True).start()
    with pytest.raises(TimeoutError, match="no answer within"):
        outside.post(f"http://127.0.0.1:{listener.getsockname()[1]}/", b"{}", {}, LOCAL, seconds=0.5)
    listener.close()


def test_webhooks_are_their_owners(idle: Api, client: httpx.Client, stranger: httpx.Client) -> None:
    project_id, other = new_project(client), new_project(stranger)
    made = hook(client, project_id, "https://example.com/hook", events=["run.failed"])
    path = f"/projects/{project_id}/webhooks"
    (row,) = client.get(path).json()
    assert "secret" not in row
    assert row["events"] == ["run.failed"]
    for call in (
        stranger.get(path),
        stranger.post(path, json={"url": "https://example.com"}),
        stranger.delete(f"{path}/{made['id']}"),
        stranger.post(f"{path}/{made['id']}/test"),
        stranger.get(f"{path}/{made['id']}/deliveries"),
        stranger.delete(f"/projects/{other}/webhooks/{made['id']}"),
    ):
        assert call.status_code == 404
    refused = client.post(path, json={"url": "http://169.254.169.254/"})
    assert refused.status_code == 400
    assert client.delete(f"{path}/{made['id']}").status_code == 200
    assert client.get(path).json() == []
    with idle.service.database.read() as session:
        target = f"webhook {made['id']} of project {project_id}"
        rows = session.scalars(select(AuditEntry.action).where(AuditEntry.target == target)).all()
    assert sorted(rows) == ["webhook.created", "webhook.deleted"]


def test_the_log_keeps_the_newest(idle: Api, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "KEPT", 3)
    project_id = new_project(client)
    made = hook(client, project_id, "https://example.com/hook")
    database = idle.service.database
    with database.write() as session:
        webhook = session.get_one(webhooks.Webhook, made["id"])
        for number in range(6):
            row = webhooks.message_for(webhook, 1, "webhook.test", {"n": number})
            row.status, row.due = "delivered" if number else "pending", 1e12
            session.add(row)
    webhooks.forget_old(database)
    found = log(client, project_id, made["id"])
    assert [row["status"] for row in found] == ["delivered"] * 3 + ["pending"]

"""Clients that hold connections, against a real server: silent, slow, too many."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from recon3d_api.client import Client
from tests.api.conftest import photo
from tests.api.test_chaos import Server, mostly_on, register, servers

#: An address that is no trusted proxy.
_STRANGER = ("127.0.0.2", 0)


@pytest.fixture
def server(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Server]:
    settings = {"header_seconds": 1.5, "body_seconds": 1.5, "connections_per_address": 5, "runners": 0}
    with servers(1, tmp_path, new_database(), real=True, **settings) as (server,):
        yield server


def dial(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), 10, source_address=_STRANGER)


def hung_up(connection: socket.socket, seconds: float) -> bytes:
    """What the server says before it hangs up, which must be soon."""
    connection.settimeout(seconds)
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(4096):
            said += piece
    return said


@mostly_on("sqlite")
def test_slowloris(server: Server) -> None:
    """Heads that never end, silence, and silence after a request; nobody else notices."""
    with contextlib.ExitStack() as stack:
        silent, slow, used = (stack.enter_context(dial(server)) for _ in range(3))
        used.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in used.recv(4096)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            slow.sendall(b"GET /health HTTP/1.1\r\n")
            used.sendall(b"GET /health HTTP/1.1\r\n")
            while time.monotonic() - began < 4:
                for connection in (slow, used):
                    connection.sendall(b"X-A: b\r\n")
                assert httpx.get(f"{server.url}/health").status_code == 200
                time.sleep(0.2)
        assert time.monotonic() - began < 3
        for connection in (silent, slow, used):
            assert b"200" not in hung_up(connection, 2)


@mostly_on("sqlite")
def test_bodies_that_come_too_slowly(server: Server) -> None:
    with Client(server.url) as client:
        register(client)
        number, token = client.create_project("slow").id, client.token
    head = "Host: x\r\nAuthorization: Bearer {}\r\n{}\r\nContent-Length: 100000\r\n\r\n"
    form = "Content-Type: multipart/form-data; boundary=b"
    for path, kind in (("files/upload/images", form), ("projects", "Content-Type: application/json")):
        with dial(server) as connection:
            connection.sendall(f"POST /api/v1/{path} HTTP/1.1\r\n{head.format(token, kind)}".encode())
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"--b\r\nContent-Disposition: form-data; name=project_id\r\n\r\n")
                while time.monotonic() - began < 4:
                    connection.sendall(b"1")
                    time.sleep(0.1)
                    connection.settimeout(0.05)
                    with contextlib.suppress(TimeoutError):
                        if answer := connection.recv(4096):
                            break
            assert time.monotonic() - began < 4
            assert b" 408 " in answer
            assert b"The body came too slowly" in answer + hung_up(connection, 2)
    assert not list((server.data / "incoming").iterdir())
    # One that takes longer in all, but goes on, is taken.
    with dial(server) as connection:
        body = (
            f"--b\r\nContent-Disposition: form-data; name=project_id\r\n\r\n{number}\r\n"
            '--b\r\nContent-Disposition: form-data; name=files; filename="x.jpg"\r\n\r\n'
        ).encode() + photo()
        body += b"\0" * (12_000 - len(body)) + b"\r\n--b--\r\n"
        sent = head.format(token, form).replace("100000", str(len(body)))
        connection.sendall(f"POST /api/v1/files/upload/images HTTP/1.1\r\n{sent}".encode())
        for start in range(0, len(body), 1000):
            connection.sendall(body[start : start + 1000])
            time.sleep(0.25)
        connection.settimeout(30)
        assert b" 200 " in connection.recv(4096)


@mostly_on("sqlite")
def test_connections_of_one_address(server: Server) -> None:
    with Client(server.url) as client:
        register(client)
        number, token = client.create_project("many").id, client.token
    address = f"ws://127.0.0.1:{server.port}/ws/jobs/{number}"
    headers = {"Authorization": f"Bearer {token}"}
    request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with contextlib.ExitStack() as stack:
        listening = [
            stack.enter_context(connect(address, additional_headers=headers, source_address=_STRANGER))
            for _ in range(3)
        ]
        open_ones = [stack.enter_context(dial(server)) for _ in range(2)]
        with dial(server) as one_more:
            one_more.sendall(request)
            refused = hung_up(one_more, 2)
        assert b" 429 " in refused
        assert b"Too many connections from this address" in refused
        # Others come in, as does whoever stands behind a trusted proxy.
        assert httpx.get(f"{server.url}/health").status_code == 200
        listening[0].close()
        open_ones[0].close()
        time.sleep(0.3)
        for _ in range(2):
            again = stack.enter_context(dial(server))
            again.sendall(request)
            assert b" 200 " in again.recv(4096)

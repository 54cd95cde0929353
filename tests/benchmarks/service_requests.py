"""What a request costs the server: ``python -m tests.benchmarks.service_requests``.

A server is started as an operator would, on SQLite, and filled with 1003 projects and 7007 jobs of
one user. One client calls over one connection; the kernel's count of the process' CPU time is read
before and after. A plain FastAPI application with one route is measured in the same way in the same
run. Its figure tells how fast the machine is, and the ratio to it can be compared between machines.
``--tree`` measures another checkout.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.benchmarks import service_process
from tests.benchmarks.service_process import Served

_PATHS = (
    ("/health", "plain"),
    ("/api/v1/auth/me", "small"),
    ("/api/v1/projects/500", "small"),
    ("/api/v1/projects/500/status", "small"),
    ("/api/v1/projects", "list"),
    ("/api/v1/jobs", "list"),
    ("/api/v1/jobs?status=completed", "list"),
    ("/api/v1/jobs?limit=1000", "long"),
)
_PLAIN = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}
uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False)
"""


class Connection:
    """A connection that stays open, and costs the client little."""

    def __init__(self, url: str, token: str = "") -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._file = self._socket.makefile("rb")
        self._headers = f"Host: {host}\r\n" + (f"Authorization: Bearer {token}\r\n" if token else "")

    def get(self, path: str) -> bytes:
        """The body of an answer that must be 200."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\n{self._headers}\r\n".encode())
        status = self._file.readline()
        length = 0
        while (line := self._file.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = self._file.read(length)
        if b" 200 " not in status:
            raise RuntimeError(f"{path}: {status!r} {body!r}")
        return body


def cost(server: Served, connection: Connection, path: str, count: int) -> float:
    """CPU milliseconds of a request: the lowest of three rounds."""
    for _ in range(10):
        connection.get(path)
    rounds = []
    for _ in range(3):
        before = server.cpu
        for _ in range(count):
            connection.get(path)
        rounds.append((server.cpu - before) / count * 1000)
    return min(rounds)


@contextmanager
def plain() -> Iterator[Served]:
    """A server of FastAPI alone, with one route that does nothing."""
    port = service_process.free_port()
    command = [sys.executable, "-c", _PLAIN, str(port)]
    with service_process.process(command, port, dict(os.environ), Path("/")) as (found, seconds):
        yield Served(f"http://127.0.0.1:{port}", "", psutil.Process(found.pid), seconds)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", type=Path, action="append", help="checkout to measure; may be repeated")
    parser.add_argument("--count", type=int, default=200, help="requests a round")
    arguments = parser.parse_args()
    print(service_process.load())
    with plain() as server:
        unit = cost(server, Connection(server.url), "/health", 2 * arguments.count)
    print(f"{'plain FastAPI route':32} {unit:7.2f} ms    1.0 x")
    for tree in arguments.tree or [service_process.TREE]:
        print(tree)
        with service_process.served(tree, runners=0) as server:
            token = server.user("bench")
            service_process.fill(server.database_url, "bench")
            connection = Connection(server.url, token)
            for path, kind in _PATHS:
                count = arguments.count // (10 if kind == "long" else 2 if kind == "list" else 1)
                found = cost(server, connection, path, max(count, 5))
                print(f"{path:32} {found:7.2f} ms {found / unit:6.1f} x")
            print(f"{'start':32} {server.start_seconds:7.2f} s")
            print(f"{'memory':32} {server.memory:7.0f} MiB")
    print(service_process.load())


if __name__ == "__main__":
    main()

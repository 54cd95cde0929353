"""A mixed load at a fixed rate: ``python -m tests.benchmarks.service_mixed``.

A server in one process, on SQLite with 1003 projects and 7007 jobs of one user, or on PostgreSQL. A
request starts every hundredth of a second, whether or not earlier ones have been answered, so that
waiting is measured too. ``--tree`` measures another checkout.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from pathlib import Path

from tests.benchmarks import service_process
from tests.benchmarks.service_process import PROJECTS, Served

_WEIGHTS = {
    "status": 40,
    "me": 12,
    "project": 12,
    "projects": 12,
    "jobs": 8,
    "job": 8,
    "create": 4,
    "change": 4,
}


def request(kind: str, number: int) -> tuple[str, str, bytes]:
    """Method, path and body of a request."""
    body = json.dumps({"name": f"Bust {number}"}).encode()
    known = {
        "status": ("GET", f"/projects/{number}/status", b""),
        "me": ("GET", "/auth/me", b""),
        "project": ("GET", f"/projects/{number}", b""),
        "projects": ("GET", "/projects", b""),
        "jobs": ("GET", "/jobs", b""),
        "job": ("GET", f"/jobs/{number}", b""),
        "create": ("POST", "/projects", body),
        "change": ("PUT", f"/projects/{number}", body),
    }
    return known[kind]


class Caller:
    """Calls over connections that stay open."""

    def __init__(self, server: Served, token: str) -> None:
        self._port = int(server.url.rpartition(":")[2])
        self._token = token
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(self, method: str, path: str, body: bytes) -> int:
        """Send a request, and give the answer's status."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                break
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._token}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        self._idle.append((reader, writer))
        return int(answer.split(b" ", 2)[1])


async def measure(server: Served, token: str, rate: float, seconds: float) -> None:
    """Print the figures."""
    caller = Caller(server, token)
    chance = random.Random(15)
    found: list[tuple[str, float]] = []
    statuses: Counter[str] = Counter()

    async def one(kind: str, due: float) -> None:
        try:
            status = await caller.call(*request(kind, chance.randint(1, PROJECTS - 3)))
            statuses[f"{status // 100}xx"] += 1
        except (OSError, asyncio.IncompleteReadError) as error:
            statuses[type(error).__name__] += 1
        found.append((kind, time.perf_counter() - due))

    for kind in _WEIGHTS:
        await one(kind, time.perf_counter())
    found.clear()
    before, began = server.cpu, time.perf_counter()
    tasks = set()
    for index in range(int(rate * seconds)):
        due = began + index / rate
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        (kind,) = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        task = asyncio.create_task(one(kind, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    took = time.perf_counter() - began
    times = sorted(duration for _, duration in found)
    p50, p99 = (times[int(len(times) * part)] * 1000 for part in (0.5, 0.99))
    print(
        f"{len(times)} requests in {took:.1f} s ({', '.join(f'{k} {v}' for k, v in statuses.items())}): "
        f"median {p50:.1f} ms, p99 {p99:.1f} ms, longest {times[-1] * 1000:.1f} ms; "
        f"server {100 * (server.cpu - before) / took:.0f} % of a core, {server.memory:.0f} MiB"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", type=Path, default=service_process.TREE, help="checkout to measure")
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    arguments = parser.parse_args()
    print(f"{arguments.database}, {service_process.load()}")
    with contextlib.ExitStack() as stack:
        postgresql = arguments.database == "postgresql"
        url = stack.enter_context(service_process.postgresql()) if postgresql else ""
        server = stack.enter_context(service_process.served(arguments.tree, url))
        token = server.user("bench")
        service_process.fill(server.database_url, "bench")
        asyncio.run(measure(server, token, arguments.rate, arguments.seconds))
    print(service_process.load())


if __name__ == "__main__":
    main()

"""What a server costs that has nothing to do: ``python -m tests.benchmarks.service_idle``.

On SQLite and on a PostgreSQL server of its own: the time to the first answer, memory, the CPU time
of the process with 0 and with 200 WebSocket listeners, and the time that an event takes to a
listener when another process writes it. ``--tree`` measures another checkout; its events are written
by that checkout's own code.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.benchmarks import service_process
from tests.benchmarks.service_process import Served

#: Emits an event a line read, as a run's process would, and tells when it began to.
_EMIT = """
import sys, time
from sqlalchemy import select
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Job
from recon3d_api.work.queue import emit
database = Database(sys.argv[1])
for line in sys.stdin:
    with database.write() as session:
        job = session.scalar(select(Job).where(Job.project_id == int(line)).limit(1))
        began = time.time()
        emit(session, job, "job_progress")
    print(began, flush=True)
"""


async def listen(server: Served, token: str, projects: list[int]) -> list[ClientConnection]:
    """Connect a listener for each project, and take the first message."""
    headers = {"Authorization": f"Bearer {token}"}
    sockets = []
    for number in projects:
        address = f"{server.url.replace('http', 'ws')}/ws/jobs/{number}"
        socket = await connect(address, additional_headers=headers, ping_interval=None)
        await socket.recv()
        sockets.append(socket)
    return sockets


async def drain(socket: ClientConnection) -> None:
    """Take what comes."""
    async for _ in socket:
        pass


async def used(server: Served, seconds: float) -> float:
    """Percent of a core that the server uses."""
    before, began = server.cpu, time.perf_counter()
    await asyncio.sleep(seconds)
    return 100 * (server.cpu - before) / (time.perf_counter() - began)


async def latencies(
    server: Served, tree: Path, socket: ClientConnection, project: int, count: int
) -> list[float]:
    """Seconds from an event's writing in another process to its arrival."""
    found = []
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-c", _EMIT, server.database_url]
    with subprocess.Popen(
        command, env=environment, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for index in range(count):
            writer.stdin.write(f"{project}\n".encode())
            writer.stdin.flush()
            while json.loads(await socket.recv())["event"] == "heartbeat":
                pass
            arrived = time.time()
            found.append(arrived - float(writer.stdout.readline()))
            await asyncio.sleep(0.23 + 0.037 * (index % 7))
        writer.stdin.close()
    return sorted(found)


async def measure(tree: Path, database_url: str, seconds: float, most: int) -> None:
    """Print the figures for one database."""
    with service_process.served(tree, database_url) as server:
        print(f"start {server.start_seconds:.2f} s, memory {server.memory:.0f} MiB")
        token = server.user("bench")
        service_process.fill(server.database_url, "bench", most, most)
        await asyncio.sleep(2)
        print(f"   0 listeners: {await used(server, seconds):.2f} % of a core")
        with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
            projects = [row["id"] for row in client.get(f"{server.url}/api/v1/projects?limit={most}").json()]
        sockets = await listen(server, token, projects)
        tasks = [asyncio.create_task(drain(socket)) for socket in sockets[1:]]
        await asyncio.sleep(2)
        print(
            f" {len(sockets):3} listeners: {await used(server, seconds):.2f} % of a core, "
            f"memory {server.memory:.0f} MiB"
        )
        found = await latencies(server, tree, sockets[0], projects[0], 40)
        print(
            f"event of another process: median {found[len(found) // 2] * 1000:.0f} ms, "
            f"longest of {len(found)}: {found[-1] * 1000:.0f} ms"
        )
        for task in tasks:
            task.cancel()
        for socket in sockets:
            await socket.close()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", type=Path, default=service_process.TREE, help="checkout to measure")
    parser.add_argument("--seconds", type=float, default=16, help="of each measurement; a heartbeat is 15")
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    arguments = parser.parse_args()
    for name in ("sqlite", "postgresql"):
        if arguments.database not in (name, "both"):
            continue
        print(f"{name}, {service_process.load()}")
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(service_process.postgresql()) if name == "postgresql" else ""
            asyncio.run(measure(arguments.tree, url, arguments.seconds, arguments.listeners))


if __name__ == "__main__":
    main()

"""What uploads cost, and whether others wait for them: ``python -m tests.benchmarks.service_load``.

A server is started as an operator would, on SQLite. One user sends 60 photos at once in a request
each while another polls ``GET /projects``; then 100 photos go up in 100 requests one after the other,
and the CPU time of the server and its processes is measured. ``--tree`` measures another checkout.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import psutil

from tests.api.conftest import photo


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time of a process, of its children, and of those that have ended."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def user(url: str, name: str) -> httpx.Client:
    """A logged-in client."""
    client = httpx.Client(base_url=f"{url}/api/v1", timeout=300)
    password = "correct horse battery"
    account = {"username": name, "email": f"{name}@example.com", "password": password}
    client.post("/auth/register", json=account).raise_for_status()
    answer = client.post("/auth/token", data={"username": name, "password": password}).raise_for_status()
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client


def upload(client: httpx.Client, project: int, number: int) -> int:
    """Send one photo."""
    files = {"files": (f"p{number}.jpg", photo(number))}
    return client.post("/files/upload/images", data={"project_id": project}, files=files).status_code


def measure(url: str, process: psutil.Process, at_once: int, in_a_row: int) -> None:
    """Print the figures."""
    busy, other = user(url, "busy"), user(url, "other")
    project = busy.post("/projects", json={"name": "many"}).json()["id"]
    upload(busy, project, 0)  # starts what is started once
    seconds: list[float] = []
    ended = threading.Event()

    def poll() -> None:
        while not ended.is_set():
            began = time.perf_counter()
            other.get("/projects").raise_for_status()
            seconds.append(time.perf_counter() - began)
            time.sleep(0.05)

    poller = threading.Thread(target=poll)
    poller.start()
    began = time.perf_counter()
    limits = httpx.Limits(max_connections=at_once)
    with (
        concurrent.futures.ThreadPoolExecutor(at_once) as pool,
        httpx.Client(base_url=busy.base_url, headers=busy.headers, timeout=600, limits=limits) as many,
    ):
        statuses = list(pool.map(lambda number: upload(many, project, number), range(1, at_once + 1)))
    took = time.perf_counter() - began
    ended.set()
    poller.join()
    seconds.sort()
    p99 = seconds[min(int(len(seconds) * 0.99), len(seconds) - 1)]
    print(
        f"{at_once} uploads at once: {took:.1f} s, {statuses.count(200)} accepted; {len(seconds)} polls: "
        f"median {seconds[len(seconds) // 2] * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, "
        f"longest {seconds[-1] * 1000:.0f} ms"
    )
    before, began = cpu_seconds(process), time.perf_counter()
    statuses = [upload(busy, project, 1000 + number) for number in range(in_a_row)]
    print(
        f"{in_a_row} uploads in a row: {time.perf_counter() - began:.1f} s, {statuses.count(200)} accepted, "
        f"{cpu_seconds(process) - before:.1f} CPU-s"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[2], help="checkout to measure")
    parser.add_argument("--at-once", type=int, default=60)
    parser.add_argument("--in-a-row", type=int, default=100)
    arguments = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            f"RECON3D_API_{name}": "100000/second" for name in ("RATE_LIMIT", "RATE_LIMIT_PROCESSING")
        }
        environment = {
            **os.environ,
            **settings,
            "RECON3D_API_DATA_DIR": f"{folder}/data",
            "RECON3D_API_RUNNERS": "0",
            "RECON3D_API_LOG_LEVEL": "ERROR",
            "PYTHONPATH": str(arguments.tree),
        }
        server = subprocess.Popen(
            [sys.executable, "-m", "recon3d_api", "--port", str(port)], cwd=arguments.tree, env=environment
        )
        try:
            url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    httpx.get(f"{url}/health")
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            measure(url, psutil.Process(server.pid), arguments.at_once, arguments.in_a_row)
            print(f"load of the machine after: {os.getloadavg()[0]:.1f}")
        finally:
            server.terminate()
            server.wait(timeout=60)


if __name__ == "__main__":
    main()

"""Large uploads and many listeners, with the server's memory measured: real processes, slow."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect

from recon3d_api.client import ApiError, Client
from tests.api.conftest import photo
from tests.api.test_chaos import Server, project_with_input, register, servers

pytestmark = pytest.mark.slow
MB = 1024 * 1024


class Memory(threading.Thread):
    """Follows a process's own resident memory, not its children's."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        assert server.process is not None
        self._process = psutil.Process(server.process.pid)
        self.before = self.highest = self._process.memory_info().rss
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            self.highest = max(self.highest, self._process.memory_info().rss)

    def grown(self) -> float:
        self._ended.set()
        self.join()
        return (self.highest - self.before) / MB


@pytest.fixture
def server(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Server]:
    with servers(1, tmp_path, new_database()) as (server,):
        yield server


def padded(video: Path, target: Path, size: int, number: int = 0) -> Path:
    """A video of exactly so many bytes: an MP4 box of free space follows, which begins with a number."""
    data = video.read_bytes()
    rest = size - len(data)
    with open(target, "wb") as file:
        file.write(data + rest.to_bytes(4, "big") + b"free" + number.to_bytes(4, "big"))
        file.truncate(size)
    return target


def left(server: Server) -> list[Path]:
    return list((server.data / "incoming").iterdir())


@pytest.mark.attack("Upload of 500 MB", "server's memory grows by less than 100 MB")
def test_memory_stays_flat(
    server: Server, video: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    client = Client(server.url)
    register(client)
    number = client.create_project("large").id
    client.upload_video(number, video)
    memory, began = Memory(server), time.monotonic()
    done: list[int] = []
    answer = client.upload_video(
        number, padded(video, tmp_path / "500.mp4", 500 * MB), lambda n, _: done.append(n)
    )
    seconds, grown = time.monotonic() - began, memory.grown()
    assert answer.file_size == done[-1] == 500 * MB
    record_property("seen", f"{seconds:.1f} s, {max(grown, 0):.1f} MB more memory")
    assert grown < 100
    memory = Memory(server)
    with pytest.raises(ApiError) as info:
        client.upload_video(number, padded(video, tmp_path / "501.mp4", 501 * MB))
    assert (info.value.status, info.value.detail) == (413, "The file is larger than 500 MB")
    print(f"501 MB: 413, server's memory +{memory.grown():.1f} MB")
    assert left(server) == []
    assert len(client.files(number)) == 2
    down = client.download(number, "video", tmp_path / "down.mp4")
    assert down.read_bytes() == (tmp_path / "500.mp4").read_bytes()
    client.delete_project(number)
    client.close()


def test_far_too_large_is_refused_early(server: Server, tmp_path: Path) -> None:
    """What is far above the limit is not read to its end."""
    client = Client(server.url)
    register(client)
    number = client.create_project("huge").id
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b"--b\r\nContent-Disposition: form-data; name=project_id\r\n\r\n%d\r\n" % number
        yield b'--b\r\nContent-Disposition: form-data; name=file; filename="x.mp4"\r\n\r\n'
        while sent < 3000 * MB:
            sent += MB
            yield b"\0" * MB

    headers = {**client._headers(), "Content-Type": "multipart/form-data; boundary=b"}
    try:
        answer = httpx.post(
            f"{server.url}/api/v1/files/upload/video", content=endless(), headers=headers, timeout=120
        )
        assert answer.status_code == 413
    except httpx.TransportError:
        pass  # the server has hung up while we were sending
    client.close()
    assert sent < 700 * MB
    assert left(server) == []


def test_ten_at_once_are_whole(server: Server, video: Path, tmp_path: Path) -> None:
    client = Client(server.url)
    register(client)
    source = padded(video, tmp_path / "500.mp4", 500 * MB)
    numbers = [client.create_project(f"p{index}").id for index in range(10)]
    client.upload_video(numbers[0], video)

    def upload(number: int) -> int:
        with Client(server.url, client.token) as own:
            return own.upload_video(number, source).file_size

    memory, began = Memory(server), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        sizes = list(pool.map(upload, numbers))
    seconds, grown = time.monotonic() - began, memory.grown()
    print(f"\n10 x 500 MB at once: {seconds:.1f} s, server's memory +{grown:.1f} MB")
    assert sizes == [500 * MB] * 10
    assert grown < 100
    assert left(server) == []
    expected = source.read_bytes()
    for number in numbers:
        down = client.download(number, "video", tmp_path / "down.mp4")
        assert down.read_bytes() == expected
        client.delete_project(number)
    client.close()


@pytest.mark.attack("100 uploads of 4 MB at once", "server's memory grows by less than 100 MB")
def test_a_hundred_uploads_at_once(
    server: Server, video: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    # A project keeps equal files once.
    sources = [padded(video, tmp_path / f"{index}.mp4", 4 * MB, index) for index in range(100)]
    with contextlib.ExitStack() as stack:
        users = [stack.enter_context(Client(server.url)) for _ in range(4)]
        for index, user in enumerate(users):
            user.register(f"user{index}", f"user{index}@example.com", "correct horse")
        numbers = [user.create_project("many").id for user in users]
        users[0].upload_video(numbers[0], video)  # what decodes is started
        memory, began, together = Memory(server), time.monotonic(), threading.Barrier(100)

        def upload(index: int) -> int:
            with Client(server.url, users[index % 4].token) as own:
                together.wait()
                return own.upload_video(numbers[index % 4], sources[index]).file_size

        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            sizes = list(pool.map(upload, range(100)))
        seconds, grown = time.monotonic() - began, memory.grown()
        assert sizes == [4 * MB] * 100
        stored = [len(user.files(number)) for user, number in zip(users, numbers, strict=True)]
        assert stored == [26, 25, 25, 25]
    told = f"{memory.before / MB:.0f} MB before, {max(grown, 0):.1f} MB more at most"
    record_property("seen", f"{told}; all stored in {seconds:.1f} s")
    assert grown < 100
    assert left(server) == []


def test_two_hundred_listeners(server: Server, new_database: Callable[[], str], tmp_path: Path) -> None:
    client = Client(server.url)
    register(client)
    url = server.environment["RECON3D_API_DATABASE_URL"]
    number, _ = project_with_input(client, tmp_path, url, '{"seconds": 2, "steps": 10}')
    memory = Memory(server)

    async def follow(ready: asyncio.Semaphore) -> tuple[list[dict[str, Any]], list[float]]:
        address = f"{server.url.replace('http', 'ws')}/ws/jobs/{number}"
        headers = {"Authorization": f"Bearer {client.token}"}
        events, latencies = [], []
        async with connect(address, additional_headers=headers, open_timeout=240) as socket:
            await socket.recv()
            ready.release()
            while True:
                message = json.loads(await socket.recv())
                moment = datetime.fromisoformat(message["timestamp"].replace("Z", "+00:00"))
                latencies.append(time.time() - moment.timestamp())
                events.append(message)
                if message["event"] == "job_completed" and message["job_type"] == "texturing":
                    return events, latencies

    async def everyone() -> list[tuple[list[dict[str, Any]], list[float]]]:
        ready = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(follow(ready)) for _ in range(200)]
        for _ in tasks:
            await ready.acquire()
        await asyncio.to_thread(client.start_reconstruction, number, "low")
        return await asyncio.gather(*tasks)

    results = asyncio.run(everyone())
    grown = memory.grown()
    first = results[0][0]
    assert all(events == first for events, _ in results)
    assert [event["seq"] for event in first] == list(range(1, len(first) + 1))
    latencies = sorted(value for _, values in results for value in values)
    middle, most = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    print(
        f"\n200 listeners, {len(first)} events each: latency {middle * 1000:.0f} ms (median), "
        f"{most * 1000:.0f} ms (99 %), {latencies[-1] * 1000:.0f} ms (longest); memory +{grown:.1f} MB"
    )
    assert grown < 100
    client.close()


@pytest.mark.attack("B2: 60 one-photo uploads at once beside another user's polling", "polling p99 < 0.5 s")
def test_polling_beside_sixty_uploads(server: Server, record_property: Callable[[str, object], None]) -> None:
    with Client(server.url) as busy, Client(server.url) as other:
        busy.register("busy", "busy@example.com", "correct horse")
        other.register("other", "other@example.com", "correct horse")
        number = busy.create_project("sixty").id
        other.create_project("mine")
        tokens = busy.token, other.token

    def upload(index: int) -> int:
        with httpx.Client(headers={"Authorization": f"Bearer {tokens[0]}"}, timeout=120) as own:
            files = {"files": (f"p{index}.jpg", photo(index))}
            url = f"{server.url}/api/v1/files/upload/images"
            return own.post(url, data={"project_id": number}, files=files).status_code

    times: list[float] = []
    began = time.monotonic()
    with (
        concurrent.futures.ThreadPoolExecutor(60) as pool,
        httpx.Client(headers={"Authorization": f"Bearer {tokens[1]}"}, timeout=120) as poller,
    ):
        sent = [pool.submit(upload, index) for index in range(60)]
        while not all(future.done() for future in sent):
            asked = time.monotonic()
            assert poller.get(f"{server.url}/api/v1/projects").status_code == 200
            times.append(time.monotonic() - asked)
            time.sleep(0.02)
    seconds = time.monotonic() - began
    assert {future.result() for future in sent} == {200}
    worst = sorted(times)[int(len(times) * 0.99)]
    record_property(
        "seen", f"p99 {worst:.3f} s of {len(times)} requests; all uploads done in {seconds:.1f} s"
    )
    assert worst < 0.5, sorted(times)[-5:]

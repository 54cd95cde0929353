"""The Python client."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest

from recon3d_api import schemas
from recon3d_api.client import ApiError, Client, ReconstructionFailed, connection, uploads, waiting
from tests.api.conftest import Api, photo, plant, wait_for


@pytest.fixture
def client(working: Api) -> Iterator[Client]:
    with Client(working.url, working.user()[1]) as client:
        yield client


def planted(client: Client) -> int:
    number = client.create_project("Bust").id
    with httpx.Client(base_url=f"{client.url}/api/v1") as http:
        return plant(http, number)


def test_accounts_and_projects(working: Api) -> None:
    with Client(working.url) as client:
        user = client.register("grace", "grace@example.com", "correct horse", "Grace")
        assert client.me() == user
        assert isinstance(user, schemas.User)
        project = client.create_project("One", "first")
        assert client.update_project(project.id, name="Two").name == "Two"
        assert [row.name for row in client.projects()] == ["Two"]
        client.delete_project(project.id)
        with pytest.raises(ApiError, match="404: Project not found") as info:
            client.project(project.id)
        assert info.value.request_id
        # A token that is no longer good is renewed by itself.
        client.token = "expired"
        assert client.me() == user


def test_uploads_tell_how_far_they_are(client: Client, video: Path, tmp_path: Path) -> None:
    number = client.create_project("Up").id
    seen: list[tuple[int, int]] = []
    answer = client.upload_video(number, video, lambda done, total: seen.append((done, total)))
    assert answer.file_size == video.stat().st_size
    assert seen[-1] == (video.stat().st_size,) * 2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    paths = []
    for index in range(2):
        paths.append(tmp_path / f"{index}.jpg")
        paths[-1].write_bytes(photo(index))
    assert len(client.upload_images(number, paths).files) == 2
    assert len(client.files(number)) == 3
    removed = next(file.path for file in client.files(number) if file.type == "video")
    client.remove_file(number, removed)
    assert removed not in [file.path for file in client.files(number)]
    with pytest.raises(ApiError, match="404"):
        client.upload_video(2**31 - 1, video)


@pytest.mark.parametrize("way", ["websocket", "polling"])
def test_wait(client: Client, working: Api, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "polling":

        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("no WebSockets here")

        monkeypatch.setattr(waiting, "connect", refuse)
        client._retries = 0
    number = planted(client)
    client.start_reconstruction(number, "low")
    assert client.wait(number, progress=False, poll=0.1).status == "completed"
    other = planted(client)
    working.behave(other, fail="texturing")
    client.start_reconstruction(other, "low")
    with pytest.raises(ReconstructionFailed, match=r"texturing: x\.jpg is bad"):
        client.wait(other, progress=False, poll=0.1)
    assert client.jobs(project_id=other, status="failed")[0].job_type == "texturing"


def test_wait_for_a_cancelled_run(client: Client, working: Api) -> None:
    number = planted(client)
    working.behave(number, seconds=30, steps=100)
    jobs = client.start_reconstruction(number, "low").jobs

    def cancel_once_it_runs() -> None:
        while not client.logs(jobs[0].id):
            time.sleep(0.2)
        client.cancel(jobs[0].id)

    threading.Thread(target=cancel_once_it_runs, daemon=True).start()
    with pytest.raises(ReconstructionFailed, match="frame_extraction"):
        client.wait(number)
    assert client.logs(jobs[0].id)


def test_downloads_are_resumed(client: Client, video: Path, tmp_path: Path) -> None:
    number = client.create_project("Down").id
    client.upload_video(number, video)
    data = video.read_bytes()
    target = tmp_path / "v.mp4"
    part, tag = tmp_path / "v.mp4.part", tmp_path / "v.mp4.part.etag"
    seen: list[tuple[int, int]] = []
    client.download(number, "video", target, lambda done, total: seen.append((done, total)))
    assert (target.read_bytes(), seen[-1]) == (data, (len(data), len(data)))
    assert not part.exists()
    etag = client._http.head(f"/api/v1/files/download/{number}/video", headers=client._headers()).headers[
        "etag"
    ]
    for start, known, first in ((1000, etag, 1000), (1000, '"other"', 0), (len(data), etag, None)):
        part.write_bytes(data[:start] if known == etag else b"x" * start)
        tag.write_text(known)
        seen.clear()
        client.download(number, "video", target, lambda done, total: seen.append((done, total)))
        assert target.read_bytes() == data
        # What is there already is not sent again.
        assert (seen[0][0] > first) if first is not None else not seen
    with pytest.raises(ApiError, match="404: The mesh has not been made yet"):
        client.download(number, "mesh", tmp_path / "m.ply")


def test_a_download_overwrites_no_other_file(client: Client, video: Path, tmp_path: Path) -> None:
    number = client.create_project("Down").id
    client.upload_video(number, video)
    other = tmp_path / "v.mp4.part"
    other.write_text("mine")
    with pytest.raises(FileExistsError, match=r"v\.mp4\.part is not from an earlier download"):
        client.download(number, "video", tmp_path / "v.mp4")
    assert other.read_text() == "mine"


def test_too_many_requests_are_repeated(
    serve: Callable[..., contextlib.AbstractContextManager[Api]],
) -> None:
    with serve(runners=0, rate_limit="3/second") as api, Client(api.url, api.user()[1]) as client:
        for _ in range(8):
            client.me()
        client._retries = 0
        calls = (client.me for _ in range(50))
        with pytest.raises(ApiError, match="429"):
            [call() for call in calls]


def test_a_hundred_photos_take_few_requests(
    serve: Callable[..., contextlib.AbstractContextManager[Api]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also under the contract's limit of ten requests a second, and when connections are cut."""
    monkeypatch.setattr(uploads, "_BATCH_BYTES", 100_000)
    monkeypatch.setattr(uploads, "_LARGE", 40_000)
    paths = [tmp_path / f"{number:03}.jpg" for number in range(100)]
    for number, path in enumerate(paths):
        path.write_bytes(photo(number) + bytes(60_000 * (number == 50)))
    size = sum(path.stat().st_size for path in paths)
    with serve(runners=0, rate_limit="10/second") as api, Client(api.url, api.user()[1]) as client:
        asked: list[tuple[str, str, int]] = []
        cut = [True]

        def note(answer: httpx.Response) -> None:
            asked.append((answer.request.method, answer.request.url.path, answer.status_code))
            if cut and answer.request.url.path.endswith("/held-images"):
                cut.clear()  # the answer is lost
                raise httpx.ReadError("cut")

        client._http.event_hooks["response"] = [note]
        number = client.create_project("Many").id
        asked.clear()
        seen: list[tuple[int, int]] = []
        answer = client.upload_images(number, paths, lambda done, total: seen.append((done, total)))
        forms = [status for _, path, status in asked if path.endswith("/held-images")]
        accepted = [row for row in asked if row[2] != 429]
        assert len(answer.files) == 100
        assert [Path(row.file_path).name for row in answer.files] == [path.name for path in paths]
        assert seen[-1] == (size, size)
        # One form for each 100 kB and one that was lost, three for the large photo, which may ask once more
        # after a refusal, and one that takes all.
        assert len(accepted) <= forms.count(201) + 2 + 3, [row for row in asked if row[2] != 201]
        assert forms.count(201) <= size // 80_000 + 4
        assert not client._send("GET", "/api/v1/files/uploads", {}).json()[10:]  # the lost ones end later


def test_refused_uploads_are_ended(
    serve: Callable[..., contextlib.AbstractContextManager[Api]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that are sent again must not use up the quota."""
    good, bad, large = (tmp_path / name for name in ("good.jpg", "bad.jpg", "large.jpg"))
    good.write_bytes(photo(1) + bytes(300_000))
    bad.write_bytes(b"no photo")
    large.write_bytes(photo(2) + bytes(600_000))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(bytes(300_000))
    monkeypatch.setattr(uploads, "_LARGE", 400_000)
    with serve(runners=0, quota_disk_mb=1) as api, Client(api.url, api.user()[1]) as client:
        number = client.create_project("Refused").id

        def held() -> Any:
            return client._send("GET", "/api/v1/files/uploads", {}).json()

        for _ in range(4):
            with pytest.raises(ApiError, match=r"400: bad\.jpg"):
                client.upload_images(number, [good, bad])
            assert held() == []
        with pytest.raises(ApiError, match="403"):  # after the first form was held
            client.upload_images(number, [good, large, large])
        assert held() == []
        with pytest.raises(ApiError, match="broken"):
            client.upload_video(number, broken)
        assert held() == []
        assert len(client.upload_images(number, [good]).files) == 1


def test_retry_after_is_kept() -> None:
    def answer(value: str | None) -> httpx.Response:
        return httpx.Response(429, headers={} if value is None else {"Retry-After": value})

    assert connection.pause_of(answer("7"), 1.0) == 7.0
    assert connection.pause_of(answer(None), 1.5) == 1.5
    assert connection.pause_of(answer("soon"), 1.5) == 1.5
    assert connection.pause_of(answer("9999"), 1.0) == 60.0
    date = formatdate(time.time() + 20, usegmt=True)
    assert 15 < connection.pause_of(answer(date), 1.0) <= 20


def test_events_give_states_and_events(client: Client) -> None:
    number = planted(client)
    got: list[dict[str, Any]] = []

    def follow() -> None:
        for message in client.events(number):
            got.append(message)
            if message["event"] == "job_completed" and message["job_type"] == "texturing":
                return

    thread = threading.Thread(target=follow)
    thread.start()
    wait_for(lambda: got)
    with Client(client.url, client.token) as other:
        other.start_reconstruction(number, "low")
    thread.join(30)
    assert got[0]["event"] == "state"
    assert json.dumps(got).count("job_started") == 7
    with pytest.raises(ApiError, match="404"):
        next(client.events(2**31 - 1))
    with Client(client.url, "nonsense") as nobody, pytest.raises(ApiError, match="401"):
        next(nobody.events(number))


def test_an_answer_of_another_version_is_an_error_that_says_so() -> None:
    answer = httpx.Response(200, json={"id": 1}, request=httpx.Request("GET", "http://x/api/v1/auth/me"))
    with pytest.raises(ApiError, match="does not understand; use the client of the service's version"):
        connection.parsed(schemas.User, answer)


def test_importing_the_client_loads_nothing_of_the_server() -> None:
    script = (
        "import sys, recon3d_api.client\n"
        "print([m for m in ('fastapi', 'sqlalchemy', 'uvicorn', 'numba', 'pycolmap') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

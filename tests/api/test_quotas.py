"""What one user may have."""

from __future__ import annotations

import concurrent.futures
import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from recon3d_api.work import quotas
from tests.api.conftest import Api, new_project, photo, plant, started, upload_photos, wait_for, wait_status

Serve = Callable[..., contextlib.AbstractContextManager[Api]]


def test_projects_and_waiting_runs(serve: Serve) -> None:
    with (
        serve(runners=0, quota_projects=3, quota_queued_runs=2) as api,
        api.client(api.user()[1]) as client,
        api.client(api.user()[1]) as other,
    ):
        numbers = [plant(client, new_project(client)) for _ in range(3)]
        refused = client.post("/projects", json={"name": "one too many"})
        assert refused.status_code == 403
        assert refused.json()["detail"] == "You have 3 projects and may have 3; delete one first"
        assert new_project(other)
        for number in numbers[:2]:
            started(client, number)
        refused = client.post(f"/projects/{numbers[2]}/start-reconstruction")
        assert refused.status_code == 403
        wait = "2 of your runs wait, and 2 may; wait until one starts, or cancel one"
        assert refused.json()["detail"] == wait
        data = {"project_id": numbers[2], "interval": 1}
        assert client.post("/files/extract-frames", data=data).json()["detail"] == wait
        told = client.get("/auth/quota").json()
        assert told["projects"] == {"used": 3, "limit": 3}
        assert told["queued_runs"] == {"used": 2, "limit": 2}
        job = client.get(f"/jobs?project_id={numbers[0]}&order=id").json()[0]
        assert client.post(f"/jobs/{job['id']}/cancel").status_code == 200
        started(client, numbers[2])
        started(other, plant(other, new_project(other)))


@pytest.mark.attack("Many projects are created at once against a quota", "no more than the quota")
def test_many_at_once_make_no_more_than_the_quota(serve: Serve) -> None:
    with serve(runners=0, quota_projects=3) as api, api.client(api.user()[1]) as client:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            codes = list(
                pool.map(lambda _: client.post("/projects", json={"name": "x"}).status_code, range(12))
            )
        assert sorted(codes) == [201] * 3 + [403] * 9


def test_disk(serve: Serve) -> None:
    with serve(runners=1, quota_disk_mb=1) as api, api.client(api.user()[1]) as client:
        number = new_project(client)
        assert client.get("/auth/quota").json()["disk_bytes"] == {"used": 0, "limit": 1 << 20}
        assert upload_photos(client, number, 3).status_code == 200
        used = client.get("/auth/quota").json()["disk_bytes"]["used"]
        files = [path for path in api.root(number).rglob("*") if path.is_file()]
        assert used == sum(path.stat().st_size for path in files) > 3000
        updated = client.get(f"/projects/{number}").json()["updated_at"]
        large = photo() + b"\0" * (1 << 20)
        refused = client.post(
            "/files/upload/images", data={"project_id": number}, files={"files": ("x.jpg", large)}
        )
        assert refused.status_code == 403
        assert "of 1 MB, and 1.0 MB are coming; delete projects to make room" in refused.json()["detail"]

        def chunks() -> Iterator[bytes]:
            yield b"--b\r\nContent-Disposition: form-data; name=project_id\r\n\r\n%d\r\n" % number
            yield b'--b\r\nContent-Disposition: form-data; name=files; filename="x.jpg"\r\n\r\n'
            yield large
            yield b"\r\n--b--\r\n"

        # Nobody says how much comes.
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        assert client.post("/files/upload/images", content=chunks(), headers=headers).status_code == 403
        assert client.get(f"/projects/{number}").json()["updated_at"] == updated
        # What a run makes counts when it ends.
        (api.root(number) / "large").write_bytes(b"\0" * (2 << 20))
        started(client, number)
        wait_status(client, number, "completed")
        wait_for(lambda: client.get("/auth/quota").json()["disk_bytes"]["used"] > 2 << 20)
        assert client.post(f"/projects/{number}/start-reconstruction").status_code == 403
        assert client.delete(f"/projects/{number}").status_code == 200
        assert client.get("/auth/quota").json()["disk_bytes"]["used"] == 0


def test_unfinished_uploads_are_named(serve: Serve) -> None:
    with serve(runners=0, quota_disk_mb=1) as api, api.client(api.user()[1]) as client:
        data = {"project_id": str(new_project(client))}
        large = {"files": ("x.jpg", photo() + bytes(600_000))}
        (held,) = client.post("/files/upload/held-images", data=data, files=large).json()
        told = client.get("/auth/quota").json()
        assert told["unfinished_upload_bytes"] == held["length"] == len(photo()) + 600_000
        refused = client.post("/files/upload/images", data=data, files=large)
        assert refused.status_code == 403
        assert refused.json()["detail"] == (
            "Your projects take 0.0 of 1 MB, your unfinished uploads 0.6 MB, and 0.6 MB are coming; "
            "delete projects to make room, or end unfinished uploads: GET /files/uploads lists them"
        )
        client.post("/files/end-uploads", json={"uploads": [held["id"]]})
        assert client.get("/auth/quota").json()["unfinished_upload_bytes"] == 0
        assert client.post("/files/upload/images", data=data, files=large).status_code == 200


def test_projects_of_an_earlier_version_are_counted_when_asked(client: httpx.Client, idle: Api) -> None:
    number = plant(client, new_project(client))
    size = sum(path.stat().st_size for path in idle.root(number).rglob("*") if path.is_file())
    assert client.get("/auth/quota").json()["disk_bytes"] == {"used": size, "limit": None}
    shutil.rmtree(idle.root(number))


def test_what_comes_while_bytes_are_counted_is_counted(
    client: httpx.Client, idle: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project's bytes that were counted before a file came are not kept."""
    number, count = plant(client, new_project(client)), quotas._size

    def counted(folder: Path) -> int:
        size = count(folder)
        if folder == idle.root(number) and not (folder / "new").exists():
            (folder / "new").write_bytes(b"x" * 1000)
            with idle.service.database.write() as session:
                quotas.forget_bytes(session, number)
        return size

    monkeypatch.setattr(quotas, "_size", counted)
    before, after, again = (client.get("/auth/quota").json()["disk_bytes"]["used"] for _ in range(3))
    assert before > 0
    assert (after, again) == (before + 1000, before + 1000)


def test_a_removed_file_makes_room(client: httpx.Client, idle: Api) -> None:
    number = plant(client, new_project(client))
    before = client.get("/auth/quota").json()["disk_bytes"]["used"]
    photo = next(row for row in client.get(f"/files/list/{number}").json() if row["type"] == "image")
    updated = client.get(f"/projects/{number}").json()["updated_at"]
    assert client.delete(f"/files/{number}/{photo['path']}").status_code == 200
    assert client.get("/auth/quota").json()["disk_bytes"]["used"] <= before - photo["size"] + 1000
    assert client.get(f"/projects/{number}").json()["updated_at"] == updated


def test_uploads_at_once(serve: Serve) -> None:
    with serve(runners=0, quota_uploads=2) as api, api.client(api.user()[1]) as client:
        number, go = new_project(client), threading.Event()

        def slow(index: int) -> int:
            def body() -> Iterator[bytes]:
                yield b"--b\r\nContent-Disposition: form-data; name=project_id\r\n\r\n%d\r\n" % number
                yield b'--b\r\nContent-Disposition: form-data; name=files; filename="x.jpg"\r\n\r\n'
                go.wait(30)
                yield photo(index) + b"\r\n--b--\r\n"

            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            return client.post("/files/upload/images", content=body(), headers=headers).status_code

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(slow, index) for index in range(2)]
            wait_for(lambda: client.get("/auth/quota").json()["uploads"] == {"used": 2, "limit": 2})
            refused = upload_photos(client, number, 1)
            go.set()
            assert [future.result() for future in waiting] == [200, 200]
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "5"
        assert refused.json()["detail"] == "2 uploads of yours are in progress, and 2 may"
        assert upload_photos(client, number, 1).status_code == 200

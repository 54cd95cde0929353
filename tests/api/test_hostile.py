"""A hostile user against the merged service: each case was found by hand and is kept."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy.orm import Session

from recon3d_api.store import audit
from recon3d_api.store.tables import Deletion
from recon3d_api.work import outside
from tests.api import forks
from tests.api.conftest import Api, new_project, plant, started, wait_for
from tests.api.test_uploads import TUS, begin, metadata, send

Serve = Callable[..., contextlib.AbstractContextManager[Api]]


@pytest.mark.attack("Another user's token on every route that takes an id", "404 or 403, nothing changed")
def test_nothing_of_others_is_reached(
    idle: Api,
    client: httpx.Client,
    stranger: httpx.Client,
    video: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Also through a project of one's own: an id in the path below it belongs to another one."""
    number, own = plant(client, new_project(client)), plant(stranger, new_project(stranger))
    share = client.post(f"/projects/{number}/shares", json={}).json()["id"]
    hook = client.post(f"/projects/{number}/webhooks", json={"url": "https://example.com/"}).json()["id"]
    key = client.post("/auth/keys", json={"name": "k"}).json()["id"]
    upload = begin(client, number, 10).rpartition("/")[2]
    job = client.get(f"/jobs/project/{started(client, number)}/status").json()["jobs"][0]["id"]
    known = {
        "project_id": (number, own),
        "share_id": (share,),
        "webhook_id": (hook,),
        "key_id": (key,),
        "job_id": (job,),
        "upload_id": (upload,),
        "user_id": (1,),
        "path": ("inputs/photos/p0.jpg",),
        "file_type": ("video",),
        "kind": ("frames",),
        "name": ("000000.jpg",),
    }
    asked = 0
    for path, methods in httpx.get(f"{idle.url}/openapi.json").json()["paths"].items():
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        if not names or "token" in names:
            continue
        for project in known["project_id"] if names[0] == "project_id" and len(names) == 2 else (number,):
            if project == own and not {"share_id", "webhook_id"} & set(names):
                continue
            filled = path
            for name in names:
                value = project if name == "project_id" else known[name][0]
                filled = filled.replace(f"{{{name}}}", str(value))
            for method in methods:
                answer = stranger.request(
                    method,
                    filled.removeprefix("/api/v1"),
                    headers={
                        **TUS,
                        "Upload-Offset": "0",
                        "X-HTTP-Method-Override": "DELETE",
                        **({"Content-Type": "application/offset+octet-stream"} if method == "patch" else {}),
                    },
                    **_body(method, path),
                )
                assert answer.status_code in (403, 404), (method, filled, answer.status_code, answer.text)
                asked += 1
    assert asked > 30
    assert client.get(f"/jobs/{job}").json()["status"] == "pending"
    assert client.get(f"/files/uploads/{upload}").json()["offset"] == 0
    assert len(client.get(f"/files/list/{number}").json()) == 4
    assert stranger.get(f"/jobs?project_id={number}").headers["X-Total-Count"] == "0"
    assert stranger.get("/projects").headers["X-Total-Count"] == "1"
    record_property("seen", f"{asked} requests, each 403 or 404")


def _body(method: str, path: str) -> dict[str, object]:
    """A body that would be taken if the project were one's own."""
    if method == "put":
        return {"json": {"name": "mine now"}}
    if method == "post" and path.endswith("/webhooks"):
        return {"json": {"url": "https://example.com/"}}
    return {"json": {}} if method == "post" and "/uploads/" not in path else {}


@pytest.mark.attack("20 resumable uploads begin at once against a quota", "no more than the quota")
def test_a_quota_is_not_overrun_by_uploads_that_begin_at_once(
    serve: Serve, record_property: Callable[[str, object], None]
) -> None:
    with serve(runners=0, quota_disk_mb=20, max_resumable_uploads=100) as api:
        token = api.user()[1]
        with api.client(token) as client:
            number = new_project(client)
        check = api.service.quotas.check_disk

        def slow_check(*arguments: object) -> None:
            check(*arguments)  # type: ignore[arg-type]
            time.sleep(0.05)  # between the check and the upload's record

        api.service.quotas.check_disk = slow_check  # type: ignore[method-assign]
        barrier = threading.Barrier(20)

        def one(_: int) -> int:
            told = {
                "Upload-Length": str(6 << 20),
                "Upload-Metadata": metadata(filename="v.mp4", project_id=number),
            }
            with api.client(token) as client:
                barrier.wait()
                return client.post("/files/uploads", headers={**TUS, **told}).status_code

        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(one, range(20)))
        with api.client(token) as client:
            held = sum(row["length"] for row in client.get("/files/uploads").json())
    assert set(statuses) == {201, 403}
    assert held <= 20 << 20
    record_property("seen", f"{held >> 20} of 20 MB announced by {statuses.count(201)} uploads, others 403")


def test_two_may_delete_one_row(idle: Api) -> None:
    """The second finds nothing to delete; a warning would be an error of the server."""
    engine, folder = idle.service.database.engine, "deleted-twice"
    with Session(engine) as session:
        session.add(Deletion(folder=folder))
        session.commit()
    with Session(engine) as one, Session(engine, expire_on_commit=False) as two:
        first, second = one.get(Deletion, folder), two.get(Deletion, folder)
        two.commit()
        for session, row in ((one, first), (two, second)):
            session.delete(row)
            session.commit()
    with Session(engine) as session:
        assert session.get(Deletion, folder) is None


@pytest.mark.attack(
    "A project is deleted while its resumable upload completes, 12 times", "no file, no row left"
)
def test_deleting_while_an_upload_completes(idle: Api, video: Path) -> None:
    data, token = video.read_bytes(), idle.user()[1]
    with idle.client(token) as one, idle.client(token) as two:
        for turn in range(12):
            number = new_project(one)
            root = idle.root(number)
            url = begin(one, number, len(data))
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                sent = pool.submit(send, one, url, data, 0)
                time.sleep(turn * 0.03)
                assert two.delete(f"/projects/{number}").status_code == 200
            assert sent.result().status_code in (204, 404), sent.result().text
            assert two.get(f"/projects/{number}").status_code == 404
            wait_for(lambda root=root: not root.exists())
        assert [
            row["status"] for row in two.get("/files/uploads").json() if row["status"] == "receiving"
        ] == []


def test_an_api_key_does_not_log_out(idle: Api) -> None:
    """It was refused for twelve hours, and then good again: neither out nor in."""
    token = idle.user()[1]
    with idle.client(token) as client:
        made = client.post("/auth/keys", json={"name": "k"}).json()
        with idle.client(made["key"]) as key:
            for query in ("", "?everywhere=true"):
                answer = key.post(f"/auth/logout{query}")
                assert (answer.status_code, "revoke it" in answer.text) == (400, True)
            assert key.get("/auth/me").status_code == 200
            assert client.get("/auth/me").status_code == 200
            assert client.delete(f"/auth/keys/{made['id']}").status_code == 200
            assert key.get("/auth/me").status_code == 401


@pytest.mark.parametrize(
    "url", ["http://0x7f.1/", "http://2130706433/", "http://127.1/", "http://0/", "http://0177.0.0.1/"]
)
def test_other_spellings_of_inside_are_refused_at_once(url: str) -> None:
    with pytest.raises(outside.Refused, match="inside the network"):
        outside.check_literal(url, [])


def test_numbers_that_no_stage_can_count_with_are_refused(client: httpx.Client) -> None:
    number = plant(client, new_project(client))
    for value in (10**30, -(10**30)):
        body = {"options": {"mesh_generation": {"max_faces": value}}}
        assert client.post(f"/projects/{number}/start-reconstruction", json=body).status_code == 422


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("shares", {"download": 1}),
        ("shares", {"download": "true"}),
        ("shares", {"expires_at": 4102444800}),
        ("start-reconstruction", {"force": 1}),
        ("start-reconstruction", {"component": "0"}),
    ],
)
def test_values_of_another_type_are_refused(client: httpx.Client, path: str, body: dict[str, object]) -> None:
    number = plant(client, new_project(client))
    assert client.post(f"/projects/{number}/{path}", json=body).status_code == 422


def test_the_audit_log_cannot_drive_a_terminal(serve: Serve) -> None:
    with serve(runners=0) as api:
        audit.record_apart(api.service.database, "login.failed", username="\x1b]0;owned\x07\x9b2J")
        environment = {
            **os.environ,
            "RECON3D_API_DATA_DIR": str(api.service.settings.data_dir),
            "RECON3D_API_DATABASE_URL": api.service.settings.resolved_database_url,
        }
        for more in ([], ["--json"]):
            done = forks.run(["-m", "recon3d_api", "audit", *more], env=environment)
            assert done.returncode == 0, done.stderr
            shown = done.stdout
            assert "owned" in shown
            assert not set("\x1b\x07\x9b") & set(shown)


def test_a_shared_file_that_a_run_replaces(idle: Api, client: httpx.Client) -> None:
    """Answers of a link are like those of downloads: details, ETag, and one file from start to end."""
    number = plant(client, new_project(client))
    results = idle.root(number) / "model" / "results"
    results.mkdir(exist_ok=True)
    (results / "textured_mesh.glb").write_bytes(b"glb model")
    token = client.post(f"/projects/{number}/shares", json={"download": True}).json()["token"]
    url = f"{idle.url}/api/v1/shared/{token}"
    for path in ("model", "download/textured_mesh"):
        got = httpx.get(f"{url}/{path}")
        assert got.content == b"glb model"
        assert got.headers["referrer-policy"] == "no-referrer"
        again = httpx.get(f"{url}/{path}", headers={"If-None-Match": got.headers["etag"]})
        assert again.status_code == 304
        beyond = httpx.get(f"{url}/{path}", headers={"Range": "bytes=900-"})
        assert (beyond.status_code, beyond.json()["detail"]) == (416, "The range lies outside the file")
    (results / "textured_mesh.glb").unlink()
    assert httpx.get(f"{url}/model").status_code == 404
    assert httpx.get(url).json()["ready"] is False

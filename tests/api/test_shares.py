"""Links that show a model to who has no account."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

import recon3d
from recon3d.io.gltf import write_glb
from recon3d_api.store.tables import AuditEntry, Share
from recon3d_api.work import share_page
from tests.api.conftest import Api, new_project, plant
from tests.notebook.browser import EXECUTABLE, launch


def with_model(api: Api, client: httpx.Client) -> int:
    """A project with a model: a square, red above and green below."""
    project_id = plant(client, new_project(client, "Büste <1>"))
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:32, :, 0] = texture[32:, :, 1] = 255
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    mesh = recon3d.TexturedMesh(corners, faces, corners[:, :2].astype(np.float32), faces, texture)
    results = api.root(project_id) / "model" / "results"
    results.mkdir(exist_ok=True)
    write_glb(results / "textured_mesh.glb", mesh)
    (results / "mesh.ply").write_bytes(b"ply mesh")
    return project_id


def share(client: httpx.Client, project_id: int, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/projects/{project_id}/shares", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def statuses(api: Api, token: str) -> set[int]:
    """Of all that a link gives."""
    base = f"{api.url}/api/v1/shared/{token}"
    urls = (base, f"{base}/model", f"{base}/download/mesh", f"{api.url}/share/{token}")
    return {httpx.get(url).status_code for url in urls}


def test_a_link_shows_the_model_and_nothing_else(idle: Api, client: httpx.Client) -> None:
    project_id = with_model(idle, client)
    made = share(client, project_id, name="Museum")
    base = f"{idle.url}/api/v1/shared/{made['token']}"
    told = httpx.get(base).json()
    assert told["name"] == "Büste <1>"
    assert told["ready"]
    assert (told["download"], told["files"]) == (False, [])
    glb = httpx.get(f"{base}/model")
    assert glb.content == (idle.root(project_id) / "model/results/textured_mesh.glb").read_bytes()
    assert glb.headers["referrer-policy"] == "no-referrer"
    for kind in ("mesh", "textured_mesh", "point_cloud"):
        assert httpx.get(f"{base}/download/{kind}").status_code == 404
    assert httpx.get(f"{base}/download/video").status_code == 422
    # The token opens nothing that an account does.
    with idle.client(made["token"]) as other:
        assert other.get(f"/projects/{project_id}").status_code == 401


def test_downloads_where_the_link_has_them(idle: Api, client: httpx.Client) -> None:
    made = share(client, with_model(idle, client), download=True)
    base = f"{idle.url}/api/v1/shared/{made['token']}"
    assert [row["type"] for row in httpx.get(base).json()["files"]] == ["mesh", "textured_mesh"]
    mesh = httpx.get(f"{base}/download/mesh")
    assert mesh.content == b"ply mesh"
    assert "attachment" in mesh.headers["content-disposition"]
    assert httpx.get(f"{base}/download/mesh", headers={"Range": "bytes=4-"}).content == b"mesh"
    assert httpx.get(f"{base}/download/point_cloud").status_code == 404


def test_only_a_digest_of_the_token_is_kept_or_logged(
    idle: Api, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    project_id = with_model(idle, client)
    made = share(client, project_id)
    assert len(made["token"]) >= 43
    with idle.service.database.read() as session:
        row = session.scalars(select(Share).where(Share.id == made["id"])).one()
        kept = json.dumps([str(getattr(row, column.name)) for column in Share.__table__.columns])
    assert made["token"] not in kept
    assert "token" not in client.get(f"/projects/{project_id}/shares").json()[0]
    with caplog.at_level(logging.INFO, "recon3d_api.access"):
        assert statuses(idle, made["token"]) == {200, 404}
    assert "/shared/[redacted]/model" in caplog.text
    assert made["token"] not in caplog.text


@pytest.mark.attack("A shared link after revocation, expiry, archiving or deletion", "404")
@pytest.mark.parametrize("end", ["revoke", "expire", "archive", "delete", "disable"])
def test_a_link_ends_at_once(serve: Callable[..., AbstractContextManager[Api]], idle: Api, end: str) -> None:
    user, token = idle.user()
    with idle.client(token) as client:
        project_id = with_model(idle, client)
        soon = datetime.now(timezone.utc) + timedelta(seconds=1)
        made = share(
            client, project_id, download=True, **({"expires_at": soon.isoformat()} if end == "expire" else {})
        )
        if end != "expire":
            assert statuses(idle, made["token"]) == {200}
        if end == "revoke":
            path = f"/projects/{project_id}/shares/{made['id']}"
            assert client.delete(path).status_code == 200
            assert client.delete(path).status_code == 404
        elif end == "expire":
            time.sleep(1.1)
        elif end == "archive":
            client.put(f"/projects/{project_id}", json={"status": "archived"})
        elif end == "delete":
            assert client.delete(f"/projects/{project_id}").status_code == 200
        else:
            with idle.service.database.write() as session:
                session.merge(user).is_active = False
        assert statuses(idle, made["token"]) == {404}
        unknown = httpx.get(f"{idle.url}/api/v1/shared/{'x' * 43}")
        known = httpx.get(f"{idle.url}/api/v1/shared/{made['token']}")
        assert (unknown.status_code, unknown.json()) == (known.status_code, known.json())


def test_links_are_in_the_audit_log(idle: Api) -> None:
    user, token = idle.user()
    with idle.client(token) as client:
        project_id = with_model(idle, client)
        made = share(client, project_id)
        client.delete(f"/projects/{project_id}/shares/{made['id']}")
    with idle.service.database.read() as session:
        rows = session.scalars(
            select(AuditEntry).where(AuditEntry.user_id == user.id).order_by(AuditEntry.id)
        )
        found = [(row.action, row.target) for row in rows]
    target = f"share {made['id']} of project {project_id}"
    assert found == [("share.created", target), ("share.revoked", target)]


def test_links_are_their_owners(idle: Api, client: httpx.Client, stranger: httpx.Client) -> None:
    project_id = with_model(idle, client)
    made = share(client, project_id)
    path = f"/projects/{project_id}/shares"
    assert stranger.post(path, json={}).status_code == 404
    assert stranger.get(path).status_code == 404
    assert stranger.delete(f"{path}/{made['id']}").status_code == 404
    other = new_project(stranger)
    assert stranger.delete(f"/projects/{other}/shares/{made['id']}").status_code == 404
    assert len(client.get(path).json()) == 1
    past = client.post(path, json={"expires_at": "2020-01-01T00:00:00Z"})
    assert (past.status_code, past.json()["detail"]) == (400, "expires_at is over already")
    assert client.post(path, json={"downloads": True}).status_code == 422


def test_views_are_counted(idle: Api, client: httpx.Client) -> None:
    project_id = with_model(idle, client)
    made = share(client, project_id)
    page, model = f"{idle.url}{made['path']}", f"{idle.url}/api/v1/shared/{made['token']}/model"
    for _ in range(2):
        assert httpx.get(page).status_code == 200
    assert httpx.get(model).status_code == 200
    assert httpx.get(model, headers={"Range": "bytes=0-3"}).status_code == 206  # the rest of a view
    (row,) = client.get(f"/projects/{project_id}/shares").json()
    assert row["views"] == 3
    assert row["viewed_at"] is not None


def test_a_page_that_another_title_replaces_is_made_again(
    idle: Api, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_id = with_model(idle, client)
    made, page_of = share(client, project_id), share_page.page_of
    calls = 0

    def replaced(*place: Any, **options: Any) -> Any:
        nonlocal calls
        page, calls = page_of(*place, **options), calls + 1
        if page is not None and calls % 2:
            page.unlink()
        return page

    monkeypatch.setattr(share_page, "page_of", replaced)
    for answer in (
        httpx.get(f"{idle.url}{made['path']}", timeout=60),
        client.get(f"/projects/{project_id}/page"),
    ):
        assert (answer.status_code, "Büste" in answer.text) == (200, True)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "sandbox allow-scripts" in answer.headers["content-security-policy"]
    assert calls == 4


def test_a_page_does_not_outlive_the_viewer_it_was_made_with(
    idle: Api, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = idle.root(with_model(idle, client)).name
    made = []
    monkeypatch.setattr(share_page, "_make", lambda command, _: made.append(command))
    files = recon3d.viewer_files()
    try:
        for viewer in (files, {**files, "recon3d-viewer.js": b"new"}):
            monkeypatch.setattr(recon3d, "viewer_files", lambda viewer=viewer: viewer)
            share_page._viewer.cache_clear()
            page = share_page.page_of(idle.service.storage, folder, "Bust")
            assert page is not None
            page.touch()
            assert [path.name for path in page.parent.glob("*.html")] == [page.name]
    finally:
        share_page._viewer.cache_clear()
    assert len(made) == 2


def test_a_link_without_a_model_yet(idle: Api, client: httpx.Client) -> None:
    made = share(client, plant(client, new_project(client)))
    assert httpx.get(f"{idle.url}/api/v1/shared/{made['token']}").json()["ready"] is False
    page = httpx.get(f"{idle.url}{made['path']}")
    assert page.status_code == 404
    assert "has not been made yet" in page.text


def test_guesses_are_limited_by_address(serve: Callable[..., AbstractContextManager[Api]]) -> None:
    with serve(runners=0, rate_limit="5/minute") as api:
        codes = [httpx.get(f"{api.url}/api/v1/shared/guess{i}").status_code for i in range(4)]
        codes += [httpx.get(f"{api.url}/share/guess{i}").status_code for i in range(4)]
    assert codes == [404] * 5 + [429] * 3


@pytest.mark.skipif(EXECUTABLE is None, reason="needs chromium: apt-get install chromium")
def test_the_page_shows_the_model_under_a_strict_policy(idle: Api, client: httpx.Client) -> None:
    made = share(client, with_model(idle, client))
    answer = httpx.get(f"{idle.url}{made['path']}")
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "sandbox allow-scripts" in policy
    requests: list[str] = []
    complaints: list[str] = []
    with launch() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{idle.url}{made['path']}")
        page.wait_for_selector("main[data-drawn]")
        pixels = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [
        f"{idle.url}{made['path']}"
    ]
    assert not [text for text in complaints if "Content Security" in text or "Error" in text], complaints
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    assert ((red > 150) & (green < 80) & (blue < 80)).sum() > 500
    assert ((green > 150) & (red < 80) & (blue < 80)).sum() > 500

"""The owner's page of a model, for a frame; and what a client knows before anybody logs in."""

from __future__ import annotations

from pathlib import Path

import httpx

from recon3d_api.settings import Settings
from tests.api.conftest import Api, new_project, served
from tests.api.site.conftest import plant_model
from tests.api.test_shares import with_model


def test_a_ticket_opens_the_page_once(api: Api) -> None:
    with api.client(api.user()[1]) as client, api.client(api.user()[1]) as stranger:
        number = new_project(client)
        path = f"/projects/{number}/page"
        assert client.get(path).json() == {"detail": "The model has not been made yet"}
        plant_model(api, number)
        assert stranger.get(path).status_code == 404
        assert httpx.get(f"{api.url}/api/v1{path}").status_code == 401
        wanted = {"project_id": number, "purpose": "page"}
        assert stranger.post("/auth/ticket", json=wanted).status_code == 404
        ticket = client.post("/auth/ticket", json=wanted).json()["ticket"]
        events = client.post("/auth/ticket", json=wanted | {"purpose": "events"}).json()["ticket"]
        address = f"{api.url}/api/v1{path}?ticket="
        assert httpx.get(address + events).status_code == 401
        page = httpx.get(address + ticket, timeout=60)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'self'" in policy
        assert "sandbox allow-scripts allow-downloads" in policy
        assert "photo_0.jpg" in page.text
        assert httpx.get(address + ticket).status_code == 401
        # Strangers with a link see no photos, and nobody frames what they see.
        link = client.post(f"/projects/{number}/shares", json={}).json()["path"]
        shared = httpx.get(f"{api.url}{link}", timeout=60)
        assert "frame-ancestors 'none'" in shared.headers["content-security-policy"]
        assert "photo_0.jpg" not in shared.text
        assert client.get(path).text == page.text  # kept beside the link's


def test_a_model_without_what_it_was_made_from_is_shown(api: Api) -> None:
    with api.client(api.user()[1]) as client:
        page = client.get(f"/projects/{with_model(api, client)}/page")
        assert (page.status_code, "Büste" in page.text) == (200, True)


def test_about(api: Api, tmp_path: Path) -> None:
    told = httpx.get(f"{api.url}/api/v1/about").json()
    assert (told["registration"], told["mail"], told["max_upload_bytes"]) == ("open", False, 500 << 20)
    assert "MOV" in told["video_formats"]
    assert "JPG" in told["image_formats"]
    mail = {
        "smtp_host": "mail.example.org",
        "mail_from": "m@example.org",
        "public_url": "https://example.org",
    }
    settings = Settings(data_dir=tmp_path, registration="closed", max_upload_mb=1, runners=0, **mail)
    with served(settings) as other:
        told = httpx.get(f"{other.url}/api/v1/about").json()
    assert (told["registration"], told["mail"], told["max_upload_bytes"]) == ("closed", True, 1 << 20)

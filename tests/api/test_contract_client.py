"""A client that knows nothing but the contract page: plain HTTP, the page's words and no others."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import recon3d
from tests.api.conftest import Api

STAGES = 7
JOB_STATES = {"pending", "running", "completed", "failed", "cancelled"}
PROJECT_STATES = {"draft", "processing", "completed", "failed", "archived"}
PROJECT = {
    *("id", "name", "description", "status", "total_frames", "processed_frames"),
    *("reconstruction_quality", "processing_time", "created_at", "updated_at"),
}
USER = {"id", "username", "email", "full_name", "is_active", "created_at"}


class PageClient:
    """Calls what the page shows, as the page shows it."""

    def __init__(self, url: str) -> None:
        self.root = url
        self.http = httpx.Client(base_url=f"{url}/api/v1", timeout=120)
        self.token = ""

    def call(self, method: str, path: str, expected: int = 200, **parts: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        while True:
            answer = self.http.request(method, path, headers=headers, **parts)
            if answer.status_code != 429:  # "The API implements rate limiting"
                break
            time.sleep(0.3)
        assert answer.status_code == expected, (method, path, answer.status_code, answer.text)
        if expected >= 400:
            assert isinstance(answer.json()["detail"], str)
        media = answer.headers["content-type"]
        return answer.json() if media == "application/json" else answer.content

    def listen(self, project_id: int, events: list[dict[str, Any]]) -> threading.Thread:
        """Gather the events that the page names, until the run is over."""
        address = f"ws{self.root.removeprefix('http')}/ws/jobs/{project_id}"
        ready = threading.Event()

        def gather() -> None:
            headers = {"Authorization": f"Bearer {self.token}"}
            try:
                with connect(address, additional_headers=headers) as socket:
                    for text in socket:
                        ready.set()  # events that come after the first message are sent for sure
                        message = json.loads(text)
                        if message["event"].startswith("job_"):
                            events.append(message)
                        if sum(e["event"] == "job_completed" for e in events) == STAGES:
                            return
            except ConnectionClosed:
                return

        thread = threading.Thread(target=gather, daemon=True)
        thread.start()
        assert ready.wait(120)
        return thread


def whole_story(api: Api, video: bytes, interval: float, patience: float) -> None:
    client = PageClient(api.url)
    with client.http:  # a story that fails must not leave a socket to the next test
        tell(client, api, video, interval, patience)


def tell(client: PageClient, api: Api, video: bytes, interval: float, patience: float) -> None:
    account = {"username": "page", "email": "page@example.com", "password": "correct horse battery"}
    user = client.call("POST", "/auth/register", 201, json=account)
    assert set(user) == USER
    client.call("POST", "/auth/register", 400, json=account)
    client.call("GET", "/auth/me", 401)
    login = {"username": "page", "password": "wrong"}
    client.call("POST", "/auth/token", 401, data=login)
    token = client.call("POST", "/auth/token", data=login | {"password": account["password"]})
    assert set(token) == {"access_token", "token_type"}
    assert token["token_type"] == "bearer"
    client.token = token["access_token"]
    assert client.call("GET", "/auth/me") == user

    # A project.
    project = client.call("POST", "/projects", 201, json={"name": "Page", "description": "by the page"})
    assert set(project) == PROJECT
    assert project["status"] == "draft"
    number = project["id"]
    assert client.call("GET", "/projects", params={"skip": 0, "limit": 100}) == [project]
    assert client.call("GET", f"/projects/{number}") == project
    client.call("GET", "/projects/999999999", 404)
    client.call("POST", "/projects", 422, json={})
    assert client.call("PUT", f"/projects/{number}", json={"name": "Paged"})["name"] == "Paged"

    # An upload under a name that wants out.
    name = "../../../etc/evil.mp4"
    uploaded = client.call(
        "POST", "/files/upload/video", files={"file": (name, video)}, data={"project_id": number}
    )
    assert set(uploaded) == {"message", "file_path", "file_size", "project_id"}
    assert (uploaded["file_size"], uploaded["project_id"]) == (len(video), number)
    assert ".." not in uploaded["file_path"]
    assert not Path("/etc/evil.mp4").exists()
    found = list(api.service.settings.data_dir.rglob("*evil*"))
    assert found
    assert all(api.root(number) in path.parents for path in found)

    # Frames, then a reconstruction, followed in every way that the page names.
    client.call("POST", "/files/extract-frames", data={"project_id": number, "interval": interval})
    until(client, number, patience)
    events: list[dict[str, Any]] = []
    listener = client.listen(number, events)
    client.call("POST", f"/projects/{number}/start-reconstruction", params={"quality": "low"})
    client.call("POST", f"/projects/{number}/start-reconstruction", 422, params={"quality": "best"})
    status = until(client, number, patience)
    assert status["status"] == "completed", status
    listener.join(120)
    kinds = {event["event"] for event in events}
    assert {"job_started", "job_completed"} <= kinds <= {"job_started", "job_progress", "job_completed"}
    assert [e["event"] for e in events].count("job_completed") == STAGES
    jobs = client.call(
        "GET", "/jobs", params={"project_id": number, "status": "completed", "skip": 0, "limit": 100}
    )
    assert len(jobs) == STAGES + 1
    (sparse,) = client.call(
        "GET", "/jobs", params={"project_id": number, "job_type": "sparse_reconstruction"}
    )
    assert client.call("GET", f"/jobs/{sparse['id']}")["status"] == "completed"
    assert client.call("GET", f"/jobs/{sparse['id']}/logs")["logs"]
    of_project = client.call("GET", f"/jobs/project/{number}/status")
    assert {job["status"] for job in of_project["jobs"]} == {"completed"}
    assert client.call("GET", f"/projects/{number}")["status"] == "completed"

    # Downloads of each type, and the list.
    assert client.call("GET", f"/files/download/{number}/video") == video
    if api.service.runner._command.__name__ == "_recon3d":
        starts = {"frames": b"PK", "mesh": b"ply", "textured_mesh": b"glTF", "point_cloud": b"ply"}
        for kind, start in starts.items():
            assert client.call("GET", f"/files/download/{number}/{kind}").startswith(start), kind
        listed = {row["type"] for row in client.call("GET", f"/files/list/{number}")}
        assert {"video", *starts} <= listed
    else:  # the stand-in makes no files
        for kind in ("frames", "mesh", "textured_mesh", "point_cloud"):
            client.call("GET", f"/files/download/{number}/{kind}", 404)
    client.call("GET", f"/files/download/{number}/passwords", 422)

    # Another run, cancelled; then everything goes.
    other = client.call("POST", "/projects", 201, json={"name": "Other"})["id"]
    client.call("POST", f"/projects/{other}/start-reconstruction", 400)
    client.call("POST", "/files/upload/video", files={"file": ("b.mp4", video)}, data={"project_id": other})
    client.call("POST", f"/projects/{other}/start-reconstruction", params={"quality": "low"})
    job = client.call("GET", f"/jobs/project/{other}/status")["jobs"][0]
    client.call("POST", f"/jobs/{job['id']}/cancel")
    assert until(client, other, patience)["status"] == "draft"
    assert client.call("GET", f"/jobs/{job['id']}")["status"] == "cancelled"
    client.call("POST", f"/jobs/{job['id']}/cancel", 400)
    for gone in (number, other):
        client.call("DELETE", f"/projects/{gone}")
        client.call("GET", f"/projects/{gone}", 404)
    assert client.call("GET", "/projects") == []
    assert client.call("GET", "/jobs") == []


def until(client: PageClient, number: int, patience: float) -> dict[str, Any]:
    """Poll until no job waits or runs."""
    deadline = time.monotonic() + patience
    while True:
        status: dict[str, Any] = client.call("GET", f"/projects/{number}/status")
        assert status["status"] in PROJECT_STATES
        states = {job["status"] for job in client.call("GET", f"/jobs/project/{number}/status")["jobs"]}
        assert states <= JOB_STATES
        if not states & {"pending", "running"} and status["status"] != "processing":
            return status
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.attack("A client of the contract page alone, with the name ../../../etc/evil.mp4", "all green")
def test_with_the_stand_in(serve: Callable[..., Any], video: Path) -> None:
    with serve(
        runners=1, lease_seconds=20.0, rate_limit="10/second", rate_limit_processing="2/second"
    ) as api:
        whole_story(api, video.read_bytes(), 0.5, 180)


@pytest.mark.attack("The same client with a real reconstruction", "all green")
@pytest.mark.slow
def test_with_a_real_reconstruction(serve: Callable[..., Any]) -> None:
    with serve(fake=False, runners=1) as api:
        whole_story(api, recon3d.sample_video().read_bytes(), 0.2, 900)

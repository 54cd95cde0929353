"""Projects, as the contract has them."""

from __future__ import annotations

import concurrent.futures
from pathlib import Path

import httpx
import pytest

from recon3d_api.store.tables import JOB_TYPES, Event, Job, Run
from tests.api.conftest import Api, jobs_of, new_project, photo, plant, started, upload_photos

PROJECT = {
    "id": int,
    "name": str,
    "description": (str, type(None)),
    "status": str,
    "total_frames": int,
    "processed_frames": int,
    "reconstruction_quality": float,
    "processing_time": float,
    "created_at": str,
    "updated_at": str,
}


def is_project(row: dict[str, object]) -> bool:
    return set(row) == set(PROJECT) and all(isinstance(row[key], kind) for key, kind in PROJECT.items())


def test_create_get_list_change_delete(client: httpx.Client, idle: Api) -> None:
    made = client.post("/projects", json={"name": "  Bust ", "description": "d"})
    assert made.status_code == 201
    assert is_project(made.json())
    assert made.json()["name"] == "Bust"
    assert made.json()["status"] == "draft"
    number = made.json()["id"]
    assert client.get(f"/projects/{number}").json() == made.json()
    other = new_project(client, "Other")
    listed = client.get("/projects")
    assert listed.status_code == 200
    assert [row["id"] for row in listed.json()] == [other, number]
    assert all(is_project(row) for row in listed.json())
    assert [row["id"] for row in client.get("/projects?skip=1&limit=5").json()] == [number]
    assert [row["id"] for row in client.get("/projects?limit=1").json()] == [other]
    changed = client.put(f"/projects/{number}", json={"name": "New", "description": None})
    assert changed.status_code == 200
    assert (changed.json()["name"], changed.json()["description"]) == ("New", None)
    assert changed.json()["updated_at"] > made.json()["updated_at"]
    assert client.put(f"/projects/{number}", json={}).json()["name"] == "New"
    plant(client, number)
    root = idle.root(number)
    assert root.exists()
    assert client.delete(f"/projects/{number}").status_code == 200
    assert not root.exists()
    assert client.get(f"/projects/{number}").status_code == 404
    assert client.delete(f"/projects/{number}").status_code == 404
    # Its number is not given to another.
    assert new_project(client) > other


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "skip=-1", "skip=x", f"skip={2**70}"])
def test_list_refuses(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/projects?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["detail"]


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": " "}, {"name": "a\0b"}, {"name": "x" * 201}, {"name": 3}, [], "x"]
)
def test_create_refuses(client: httpx.Client, body: object) -> None:
    assert client.post("/projects", json=body).status_code == 422


@pytest.mark.parametrize("number", ["0", "-1", "x", str(2**31), str(2**80)])
def test_strange_numbers(client: httpx.Client, number: str) -> None:
    assert client.get(f"/projects/{number}").status_code == 422


def test_only_the_owner_sees_a_project(client: httpx.Client, stranger: httpx.Client, video: Path) -> None:
    number = started(client)
    job = jobs_of(client, number)[0]["id"]
    calls = [
        ("GET", f"/projects/{number}", {}),
        ("PUT", f"/projects/{number}", {"json": {"name": "mine"}}),
        ("DELETE", f"/projects/{number}", {}),
        ("GET", f"/projects/{number}/status", {}),
        ("POST", f"/projects/{number}/start-reconstruction", {}),
        ("POST", "/files/extract-frames", {"data": {"project_id": number}}),
        ("GET", f"/files/download/{number}/video", {}),
        ("GET", f"/files/list/{number}", {}),
        ("GET", f"/jobs/{job}", {}),
        ("POST", f"/jobs/{job}/cancel", {}),
        ("GET", f"/jobs/{job}/logs", {}),
        ("GET", f"/jobs/project/{number}/status", {}),
    ]
    for method, path, parts in calls:
        answer = stranger.request(method, path, **parts)
        assert answer.status_code == 404, (method, path)
        assert set(answer.json()) == {"detail"}
    for kind, field, name, data in (
        ("video", "file", "v.mp4", video.read_bytes()),
        ("images", "files", "p.jpg", photo()),
    ):
        answer = stranger.post(
            f"/files/upload/{kind}", data={"project_id": number}, files={field: (name, data)}
        )
        assert answer.status_code == 404
    assert stranger.get("/projects").json() == []
    assert stranger.get(f"/jobs?project_id={number}").json() == []
    assert client.get(f"/projects/{number}").json()["name"] == "Bust"


def test_moves_of_status(client: httpx.Client) -> None:
    number = new_project(client)

    def put(status: str) -> int:
        return client.put(f"/projects/{number}", json={"status": status}).status_code

    assert put("draft") == 200
    assert [put(status) for status in ("processing", "completed", "failed")] == [400, 400, 400]
    assert put("archived") == 200
    assert client.get(f"/projects/{number}").json()["status"] == "archived"
    assert [put(status) for status in ("processing", "completed")] == [400, 400]
    assert client.post(f"/projects/{number}/start-reconstruction").status_code == 400
    assert upload_photos(client, number).status_code == 400
    assert put("draft") == 200
    assert put("nonsense") == 422
    started(client, plant(client, number))
    assert put("archived") == 400
    assert put("draft") == 400


def test_start_makes_a_job_for_each_stage(client: httpx.Client) -> None:
    number = new_project(client)
    empty = client.post(f"/projects/{number}/start-reconstruction?quality=low")
    assert empty.status_code == 400
    assert "upload" in empty.json()["detail"]
    assert client.post(f"/projects/{number}/start-reconstruction?quality=best").status_code == 422
    plant(client, number)
    answer = client.post(f"/projects/{number}/start-reconstruction?quality=low")
    assert answer.status_code == 200
    assert answer.json()["status"] == "processing"
    assert [job["job_type"] for job in answer.json()["jobs"]] == list(JOB_TYPES)
    assert {job["status"] for job in answer.json()["jobs"]} == {"pending"}
    assert client.get(f"/projects/{number}").json()["status"] == "processing"
    assert client.post(f"/projects/{number}/start-reconstruction").status_code == 409
    assert client.post("/files/extract-frames", data={"project_id": number}).status_code == 409
    assert upload_photos(client, number).status_code == 409
    assert client.delete(f"/projects/{number}").status_code == 409


def test_status(client: httpx.Client) -> None:
    number = new_project(client)
    fresh = client.get(f"/projects/{number}/status")
    assert fresh.status_code == 200
    assert fresh.json()["progress"] == {"total_frames": 0, "processed_frames": 0, "percentage": 0.0}
    started(client, plant(client, number))
    status = client.get(f"/projects/{number}/status").json()
    assert set(status) == {
        "project_id",
        "status",
        "progress",
        "current_job",
        "eta_seconds",
        "queue_position",
        "reconstruction_quality",
        "processing_time",
        "error_message",
        "created_at",
        "updated_at",
    }
    assert (status["project_id"], status["status"], status["current_job"]) == (number, "processing", None)


@pytest.mark.attack("Many starts of one project at once", "one wins")
def test_one_of_many_starts_at_once_wins(client: httpx.Client) -> None:
    number = new_project(client)
    plant(client, number)

    def start(_: int) -> int:
        return client.post(f"/projects/{number}/start-reconstruction").status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(start, range(8)))
    assert codes == [200] + [409] * 7
    assert len(jobs_of(client, number)) == 7


def test_delete_leaves_no_row(client: httpx.Client, idle: Api) -> None:
    number = started(client)
    job = jobs_of(client, number)[0]["id"]
    assert client.post(f"/jobs/{job}/cancel").status_code == 200
    assert client.delete(f"/projects/{number}").status_code == 200
    with idle.service.database.read() as session:
        for table in (Run, Job, Event):
            assert session.query(table).filter_by(project_id=number).count() == 0


def test_a_check_of_the_inputs(client: httpx.Client) -> None:
    number = new_project(client)
    empty = client.get(f"/projects/{number}/check")
    assert (empty.status_code, "upload some first" in empty.json()["detail"]) == (400, True)
    plant(client, number)
    answer = client.get(f"/projects/{number}/check")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["project_id"] == number
    assert found["level"] in ("good", "doubtful", "hopeless")
    assert found["looked_at"] > 3  # the photos and the video
    assert "/projects/" not in answer.text.replace("project_id", "")  # the server's paths stay there
    assert client.get(f"/projects/{number}/check").json() == found  # looked at once
    assert client.get("/projects/999999/check").status_code == 404

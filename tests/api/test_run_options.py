"""Options of the pipeline for one run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from sqlalchemy import select

import recon3d
from recon3d_api.store.tables import Run
from recon3d_api.work.claims import Claim
from tests.api.conftest import Api, jobs_of, new_project, plant, wait_for
from tests.synthetic import media


def start(client: httpx.Client, project_id: int, body: Any, quality: str = "low") -> httpx.Response:
    return client.post(f"/projects/{project_id}/start-reconstruction?quality={quality}", json=body)


def claim_of(api: Api, project_id: int) -> Claim:
    with api.service.database.read() as session:
        run = session.scalars(select(Run).where(Run.project_id == project_id)).one()
    return Claim(run.id, 1, project_id, "folder", run.quality, run.until, run.options, 0.0)


def command_of(api: Api, project_id: int) -> list[str]:
    """What a runner would start."""
    return api.service.runner._recon3d(claim_of(api, project_id))


def test_options_reach_the_command_line(idle: Api, client: httpx.Client) -> None:
    project_id = plant(client, new_project(client))
    body = {
        "options": {
            "mesh_generation": {"max_faces": 1000, "region": "all"},
            "texturing": {"seam_levelling": False},
            "frame_extraction": {"interval": 0.5},
        },
        "component": 1,
        "until": "mesh_generation",
        "force": True,
        "accept_partial": True,
    }
    answer = start(client, project_id, body)
    assert answer.status_code == 200, answer.text
    command = command_of(idle, project_id)
    settings = {command[i + 1] for i, part in enumerate(command) if part == "--set"}
    assert settings == {
        "mesh_generation.max_faces=1000",
        "mesh_generation.region=all",
        "texturing.seam_levelling=False",
        "frame_extraction.interval=0.5",
        "sparse_reconstruction.component=1",
    }
    assert command[command.index("--until") + 1] == "mesh_generation"
    assert {"--force", "--accept-partial"} <= set(command)
    # It ends before there is a model.
    assert answer.json()["status"] == client.get(f"/projects/{project_id}").json()["status"] == "draft"
    jobs = answer.json()["jobs"]
    assert [job["job_type"] for job in jobs] == list(recon3d.STAGE_NAMES[:6])
    assert jobs[5]["parameters"] == {
        "quality": "low", "force": True, "accept_partial": True, "max_faces": 1000, "region": "all"
    }  # fmt: skip


def test_the_command_line_reads_what_is_stored_as_the_request_meant_it(
    idle: Api, client: httpx.Client
) -> None:
    """Every option of every stage, with the value that a preset gives it."""
    project_id = plant(client, new_project(client))
    wanted = recon3d.Pipeline("high").options
    options = {stage: model.model_dump() for stage, model in wanted.items()}
    assert start(client, project_id, {"options": options}).status_code == 200
    overrides: dict[str, dict[str, str]] = {}
    command = command_of(idle, project_id)
    for i, part in enumerate(command):
        if part == "--set":
            name, value = command[i + 1].split("=", 1)
            overrides.setdefault(name.split(".")[0], {})[name.split(".")[1]] = value
    read: Any = overrides
    assert recon3d.Pipeline("low", **read).options == wanted


def test_a_bare_call_works_as_before(idle: Api, client: httpx.Client) -> None:
    for content in ({}, {"json": {}}, {"content": b"", "headers": {"Content-Type": "application/json"}}):
        project_id = plant(client, new_project(client))
        answer = client.post(f"/projects/{project_id}/start-reconstruction", **content)
        assert answer.status_code == 200, answer.text
        command = command_of(idle, project_id)
        assert not {"--set", "--force", "--accept-partial", "--until"} & set(command)
        assert answer.json()["quality"] == "medium"
        assert answer.json()["status"] == "processing"
        assert len(answer.json()["jobs"]) == 7


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"options": {"mesh_generation": {"max_faces": -5}}}, "options.mesh_generation.max_faces"),
        ({"options": {"mesh_generation": {"faces": 5}}}, "options.mesh_generation.faces"),
        ({"options": {"texturing": {"texture_size": "\0"}}}, "options.texturing.texture_size"),
        ({"options": {"meshing": {"max_faces": 5}}}, "options.meshing"),
        ({"options": {"texturing": {"texture_size": [1]}}}, "options.texturing.texture_size"),
        ({"until": "sparse"}, "until"),
        ({"component": -1}, "component"),
        ({"forced": True}, "forced"),
    ],
)
def test_what_is_wrong_is_named(client: httpx.Client, body: Any, named: str) -> None:
    project_id = plant(client, new_project(client))
    answer = start(client, project_id, body)
    assert answer.status_code == 422
    assert named in answer.json()["detail"]
    assert ".".join(answer.json()["errors"][0]["loc"]).startswith(f"body.{named}")
    assert jobs_of(client, project_id) == []


def test_all_wrong_options_are_named_at_once(client: httpx.Client) -> None:
    project_id = plant(client, new_project(client))
    body = {"options": {"mesh_generation": {"max_faces": -5, "trim": "x"}, "texturing": {"size": 1}}}
    errors = start(client, project_id, body).json()["errors"]
    assert [error["loc"][2:] for error in errors] == [
        ["mesh_generation", "max_faces"], ["mesh_generation", "trim"], ["texturing", "size"]
    ]  # fmt: skip
    assert "texture_size" in errors[2]["msg"]  # what the stage has instead


def test_an_interval_of_its_own_replaces_that_of_extract_frames(idle: Api, client: httpx.Client) -> None:
    for given, expected in (({}, "2.0"), ({"interval": 0.25}, "0.25"), ({"interval": None}, None)):
        project_id = plant(client, new_project(client))
        extracted = client.post("/files/extract-frames", data={"project_id": project_id, "interval": "2"})
        client.post(f"/jobs/{extracted.json()['job_id']}/cancel")
        with idle.service.database.write() as session:
            for run in session.scalars(select(Run).where(Run.project_id == project_id)):
                for job in run.jobs:
                    session.delete(job)
                session.flush()
                session.delete(run)
        assert start(client, project_id, {"options": {"frame_extraction": given}}).status_code == 200
        settings = [part for part in command_of(idle, project_id) if "interval" in part]
        assert settings == ([f"frame_extraction.interval={expected}"] if expected else [])


def test_a_refused_run_says_how_to_force_it_and_can_be_forced(
    serve: Callable[..., AbstractContextManager[Api]], tmp_path: Path
) -> None:
    """The real command line: its check refuses photos from one place."""
    with serve(fake=False, run_workers=1) as api, api.client(api.user()[1]) as client:
        project_id = new_project(client)
        project = recon3d.Project.create(api.root(project_id) / "model")
        scene = media.texture(640, 480).copy()
        for number in range(4):
            scene[0, 0] = number  # else they would be one photo
            Image.fromarray(scene).save(tmp_path / f"p{number}.png")
        project.add_photos(sorted(tmp_path.glob("*.png")))
        assert start(client, project_id, {"until": "sparse_reconstruction"}).status_code == 200
        ended = wait_for(lambda: ended_jobs(client, project_id), 60)
        assert ended[0]["status"] == "failed", ended
        assert 'start-reconstruction with the body {"force": true}' in ended[0]["error_message"]
        assert "--force" not in ended[0]["error_message"]
        body = {"until": "sparse_reconstruction", "force": True}
        assert start(client, project_id, body).status_code == 200
        frames = wait_for(lambda: begun_jobs(client, project_id), 60)[0]
        assert frames["status"] == "completed", frames
        client.post(f"/jobs/{frames['id'] + 1}/cancel")
        wait_for(lambda: ended_jobs(client, project_id), 60)


def ended_jobs(client: httpx.Client, project_id: int) -> list[dict[str, Any]]:
    """Jobs of the newest run once it is over."""
    jobs = jobs_of(client, project_id)
    newest = [job for job in jobs if job["created_at"] == jobs[0]["created_at"]]
    over = all(job["status"] not in ("pending", "running") for job in newest)
    return sorted(newest, key=lambda job: job["id"]) if over else []


def begun_jobs(client: httpx.Client, project_id: int) -> list[dict[str, Any]]:
    """Jobs of the newest run once its first one is over."""
    jobs = jobs_of(client, project_id)
    newest = sorted((j for j in jobs if j["created_at"] == jobs[0]["created_at"]), key=lambda j: int(j["id"]))
    return newest if newest[0]["status"] not in ("pending", "running") else []

"""Jobs, as the contract has them, worked on by the runner with a stand-in for recon3d."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from recon3d_api.store.tables import JOB_TYPES, Run
from recon3d_api.work.runner import JobRunner
from tests.api.conftest import Api, jobs_of, new_project, plant, started, wait_for, wait_status
from tests.api.fake_run import command_for
from tests.processes import alive

JOB = {
    "id",
    "project_id",
    "job_type",
    "status",
    "progress",
    "message",
    "error_message",
    "parameters",
    "started_at",
    "completed_at",
    "duration",
    "cpu_usage",
    "memory_usage",
    "created_at",
    "updated_at",
}


def begun(api: Api, number: int) -> list[int]:
    """Processes that worked on a project, one a line."""
    path = api.root(number) / "begun"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def running_job(client: httpx.Client, number: int, job_type: str) -> dict:
    return wait_for(
        lambda: next(
            (j for j in jobs_of(client, number) if j["job_type"] == job_type and j["status"] == "running"),
            None,
        )
    )


def test_a_run_from_start_to_end(worker: httpx.Client, working: Api) -> None:
    number = started(worker)
    project = wait_status(worker, number, "completed")
    assert (project["total_frames"], project["processed_frames"]) == (12, 12)
    assert project["processing_time"] > 0.3
    jobs = jobs_of(worker, number)
    assert [job["job_type"] for job in jobs] == list(JOB_TYPES)
    for job in jobs:
        assert set(job) == JOB
        assert (job["status"], job["progress"], job["error_message"]) == ("completed", 100.0, None)
        assert job["started_at"] <= job["completed_at"]
        assert job["duration"] >= 0
        assert job["parameters"]["quality"] == "low"
        assert (job["cpu_usage"], job["memory_usage"]) == (100.0, 1.0)
        assert worker.get(f"/jobs/{job['id']}").json() == job
    status = worker.get(f"/projects/{number}/status").json()
    assert status["progress"]["percentage"] == 100.0
    assert status["eta_seconds"] is None
    logs = worker.get(f"/jobs/{jobs[0]['id']}/logs").json()
    assert set(logs) == {"job_id", "logs", "offset", "next_offset", "complete"}
    text = "\n".join(logs["logs"])
    assert "hello from the project" in text  # the server's paths stay on the server
    assert str(working.service.settings.data_dir) not in text
    assert "frame_extraction completed" in text
    assert logs["complete"]
    assert logs["next_offset"] == len(logs["logs"])
    rest = worker.get(f"/jobs/{jobs[0]['id']}/logs?offset=1").json()
    assert rest["logs"] == logs["logs"][1:]
    # Once more: everything is there already.
    assert worker.post(f"/projects/{number}/start-reconstruction").status_code == 200
    wait_status(worker, number, "completed")
    assert {job["message"] for job in jobs_of(worker, number)[:7]} == {"Up to date"}
    assert worker.get(f"/projects/{number}").json()["processed_frames"] == 0  # of no artifact: a stand-in


def test_the_time_left_is_what_the_run_foretells(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    working.behave(number, hold="mesh_generation", foretold=1000)
    started(worker, number)
    running_job(worker, number, "mesh_generation")

    def told() -> float | None:
        eta: float | None = worker.get(f"/projects/{number}/status").json()["eta_seconds"]
        return eta

    # Seven stages of 1000 s were expected, and four took next to none: the 700 s of doubt slow the pace
    # to 700 : 4700. The mesh is at its end, and the texture takes 1000 s at this pace.
    wait_for(lambda: (left := told()) is not None and left == pytest.approx(1000 * 700 / 4700, rel=0.02))
    (working.root(number) / "go").touch()
    wait_status(worker, number, "completed")
    assert told() is None


def test_the_verdict_is_the_jobs_message(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    (working.root(number) / "behaviour.json").write_text(json.dumps({"verdict": "doubtful"}))
    started(worker, number)
    wait_status(worker, number, "completed")
    jobs = {job["job_type"]: job for job in jobs_of(worker, number)}
    told = "Verdict: doubtful. Only 26 of 46 images could be placed. Film again."
    assert jobs["sparse_reconstruction"]["message"] == jobs["texturing"]["message"] == told
    assert jobs["mesh_generation"]["message"] == "Done"
    log = worker.get(f"/jobs/{jobs['texturing']['id']}/logs").json()["logs"]
    assert any(line.endswith("Verdict: doubtful.") for line in log)


@pytest.mark.attack("B9: cancel a second run of a completed project", "numbers of the first run stay")
@pytest.mark.parametrize("end", ["cancelled at once", "cancelled later", "failed", "frames only"])
def test_numbers_belong_to_the_run_that_made_the_results(
    worker: httpx.Client, working: Api, end: str
) -> None:
    names = ("total_frames", "processed_frames", "processing_time", "reconstruction_quality")
    number = plant(worker, new_project(worker))
    working.behave(number, frames=12)
    started(worker, number)
    before = wait_status(worker, number, "completed")
    assert before["total_frames"] == before["processed_frames"] == 12
    assert before["processing_time"] > 0
    shutil.rmtree(working.root(number) / "done", ignore_errors=True)
    working.behave(number, frames=7, seconds=0.3, fail=JOB_TYPES[4] if end == "failed" else None)
    if end == "frames only":
        data = {"project_id": number, "interval": 0.5}
        assert worker.post("/files/extract-frames", data=data).status_code == 200
    else:
        started(worker, number)
    if end == "cancelled later":
        wait_for(lambda: worker.get(f"/projects/{number}").json()["processed_frames"] == 7)
    if end.startswith("cancelled"):
        for job in reversed(jobs_of(worker, number)[:7]):
            worker.post(f"/jobs/{job['id']}/cancel")

    def over() -> bool:
        busy = worker.get(f"/projects/{number}").json()["status"] == "processing"
        return not busy and not any(j["status"] in ("pending", "running") for j in jobs_of(worker, number))

    wait_for(over)
    after = worker.get(f"/projects/{number}").json()
    assert after["status"] == ("failed" if end == "failed" else "completed")
    assert {name: after[name] for name in names} == {name: before[name] for name in names}
    # The next run that makes results has numbers of its own.
    shutil.rmtree(working.root(number) / "done", ignore_errors=True)
    working.behave(number, frames=9)
    started(worker, number)
    assert wait_status(worker, number, "completed")["total_frames"] == 9


def test_list_and_filters(client: httpx.Client) -> None:
    first, second = started(client), started(client)
    everything = client.get("/jobs").json()
    assert len(everything) == 14
    assert [job["id"] for job in everything] == sorted((job["id"] for job in everything), reverse=True)
    assert {job["project_id"] for job in client.get(f"/jobs?project_id={first}").json()} == {first}
    assert len(client.get("/jobs?job_type=texturing").json()) == 2
    assert len(client.get("/jobs?status=pending").json()) == 14
    assert client.get("/jobs?status=failed").json() == []
    assert [j["id"] for j in client.get("/jobs?skip=2&limit=3").json()] == [j["id"] for j in everything[2:5]]
    query = f"/jobs?project_id={second}&job_type=texturing&status=pending"
    assert [job["job_type"] for job in client.get(query).json()] == ["texturing"]
    for bad in ("status=x", "job_type=x", "project_id=0", "limit=1001", "skip=-1"):
        assert client.get(f"/jobs?{bad}").status_code == 422
    assert client.get(f"/jobs/{2**31 - 1}").status_code == 404
    status = client.get(f"/jobs/project/{first}/status").json()
    assert {key: status[key] for key in ("project_id", "total", "pending", "running")} == {
        "project_id": first,
        "total": 7,
        "pending": 7,
        "running": 0,
    }


def test_cancel_what_waits(client: httpx.Client) -> None:
    number = started(client)
    jobs = jobs_of(client, number)
    answer = client.post(f"/jobs/{jobs[4]['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert [job["status"] for job in jobs_of(client, number)] == ["pending"] * 4 + ["cancelled"] * 3
    assert client.post(f"/jobs/{jobs[4]['id']}/cancel").status_code == 400
    assert client.get(f"/projects/{number}").json()["status"] == "processing"
    assert client.post(f"/jobs/{jobs[0]['id']}/cancel").status_code == 200
    assert {job["status"] for job in jobs_of(client, number)} == {"cancelled"}
    # The slot is free.
    assert client.get(f"/projects/{number}").json()["status"] == "draft"
    assert client.post(f"/projects/{number}/start-reconstruction").status_code == 200


def test_cancel_what_runs(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    working.behave(number, seconds=20, steps=200, helper="frame_extraction")
    started(worker, number)
    job = running_job(worker, number, "frame_extraction")
    (pid,) = wait_for(lambda: begun(working, number))
    helper = wait_for(lambda: psutil.Process(pid).children())[0]
    wait_for(lambda: worker.get(f"/jobs/{job['id']}").json()["progress"] > 0)
    assert worker.get(f"/jobs/{job['id']}").json()["message"].endswith("of 200 views")
    answer = worker.post(f"/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.json()["message"]) == (200, "Cancelling")
    wait_for(lambda: worker.get(f"/jobs/{job['id']}").json()["status"] == "cancelled")
    assert not alive(pid)
    # A helper in a session of its own is found by its mark.
    wait_for(lambda: not helper.is_running())
    assert {j["status"] for j in jobs_of(worker, number)} == {"cancelled"}
    assert worker.get(f"/projects/{number}").json()["status"] == "draft"
    assert worker.post(f"/jobs/{job['id']}/cancel").status_code == 400
    # What was finished stays, and the next run goes on.
    working.behave(number)
    assert worker.post(f"/projects/{number}/start-reconstruction").status_code == 200
    wait_status(worker, number, "completed")


def test_cancel_a_later_job_of_a_run(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    working.behave(number, seconds=1.0)
    started(worker, number)
    running_job(worker, number, "frame_extraction")
    later = jobs_of(worker, number)[2]
    assert worker.post(f"/jobs/{later['id']}/cancel").json()["status"] == "cancelled"
    wait_status(worker, number, "draft")
    states = [job["status"] for job in jobs_of(worker, number)]
    assert states == ["completed", "completed"] + ["cancelled"] * 5


@pytest.mark.parametrize("until", [None, "frame_extraction"])
def test_a_request_to_cancel_is_kept_though_the_process_reaches_its_end(
    worker: httpx.Client, working: Api, until: str | None
) -> None:
    number = plant(worker, new_project(worker))
    working.behave(number, hold="frame_extraction", stubborn=True)
    if until:
        assert worker.post("/files/extract-frames", data={"project_id": number}).status_code == 200
    else:
        started(worker, number)
    job = running_job(worker, number, "frame_extraction")
    assert worker.post(f"/jobs/{job['id']}/cancel").json()["message"] == "Cancelling"
    (working.root(number) / "go").touch()
    wait_for(lambda: worker.get(f"/jobs/{job['id']}").json()["status"] not in ("pending", "running"))
    wait_status(worker, number, "draft")
    assert {row["status"] for row in jobs_of(worker, number)} == {"cancelled"}
    if not until:
        assert worker.get(f"/projects/{number}").json()["total_frames"] == 12
    # What the process made is kept, and the next run uses it.
    working.behave(number)
    started(worker, number)
    wait_status(worker, number, "completed")
    assert [row["status"] for row in jobs_of(worker, number)][:7] == ["completed"] * 7


def test_a_process_that_ignores_sigterm_is_ended(
    worker: httpx.Client, working: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon3d_api.work.follow._GRACE", 1.0)
    number = plant(worker, new_project(worker))
    working.behave(number, seconds=60, steps=60, stubborn=True)
    started(worker, number)
    job = running_job(worker, number, "frame_extraction")
    worker.post(f"/jobs/{job['id']}/cancel")
    wait_status(worker, number, "draft", timeout=50)
    (pid,) = begun(working, number)
    assert not alive(pid)


def test_failure(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    working.behave(number, fail="sparse_reconstruction")
    started(worker, number)
    wait_status(worker, number, "failed")
    jobs = jobs_of(worker, number)
    assert [job["status"] for job in jobs] == ["completed"] * 3 + ["failed"] + ["cancelled"] * 3
    assert jobs[3]["error_message"] == "x.jpg is bad. Mend it."
    assert worker.get(f"/projects/{number}/status").json()["error_message"] == "x.jpg is bad. Mend it."
    assert "last words" in worker.get(f"/jobs/{jobs[3]['id']}/logs").text
    # The slot is free at once, and what was finished is used.
    working.behave(number)
    assert worker.post(f"/projects/{number}/start-reconstruction").status_code == 200
    wait_status(worker, number, "completed")
    assert jobs_of(worker, number)[0]["message"] == "Up to date"


def test_a_crash_is_tried_again(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    working.behave(number, crash_once="feature_matching")
    started(worker, number)
    wait_status(worker, number, "completed")
    assert len(begun(working, number)) == 2


@pytest.mark.attack("A run crashes each time", "failed after the retries")
def test_a_crash_again_and_again_is_a_failure(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    working.behave(number, crash="feature_matching")
    started(worker, number)
    wait_status(worker, number, "failed")
    assert len(begun(working, number)) == working.service.settings.max_crashes
    failed = jobs_of(worker, number)[2]
    assert (failed["status"], failed["progress"]) == ("failed", 0.0)
    assert "exit status -9" in failed["error_message"]


def test_follow_logs(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    working.behave(number, seconds=0.6)
    started(worker, number)
    job = jobs_of(worker, number)[0]
    with worker.stream("GET", f"/jobs/{job['id']}/logs?follow=true") as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        lines = list(answer.iter_lines())
    assert "frame_extraction completed" in lines[-1]
    assert lines == worker.get(f"/jobs/{job['id']}/logs").json()["logs"]


def test_a_run_that_is_taken_over_writes_nothing_more(worker: httpx.Client, working: Api) -> None:
    """The number of the claim is the fence: who has lost a run ends its process and lets go."""
    number = plant(worker, new_project(worker))
    working.behave(number, seconds=30, steps=300)
    started(worker, number)
    running_job(worker, number, "frame_extraction")
    (pid,) = begun(working, number)
    with working.service.database.write() as session:
        run = session.query(Run).filter_by(project_id=number).one()
        run.attempt, run.runner, run.lease_until = run.attempt + 1, "elsewhere|1|1.0", 1e12
    wait_for(lambda: not alive(pid), timeout=25)
    before = jobs_of(worker, number)
    with working.service.database.read() as session:
        run = session.query(Run).filter_by(project_id=number).one()
        assert (run.status, run.runner) == ("running", "elsewhere|1|1.0")
    after = jobs_of(worker, number)
    assert [job | {"duration": 0} for job in before] == [job | {"duration": 0} for job in after]
    # When the other's lease ends, the run is resumed.
    working.behave(number)
    with working.service.database.write() as session:
        session.query(Run).filter_by(project_id=number).update({"lease_until": 0.0})
    wait_status(worker, number, "completed")


def test_extraction_leaves_the_projects_status(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    assert worker.post("/files/extract-frames", data={"project_id": number}).status_code == 200
    wait_for(lambda: jobs_of(worker, number)[0]["status"] == "completed")
    project = worker.get(f"/projects/{number}").json()
    assert (project["status"], project["total_frames"]) == ("draft", 12)
    # Its run is over with its only job.
    assert worker.post(f"/projects/{number}/start-reconstruction").status_code == 200
    wait_status(worker, number, "completed")


@pytest.mark.attack("A run reads the service's environment", "no secret is there")
def test_the_run_does_not_know_the_services_secrets(worker: httpx.Client, working: Api) -> None:
    number = plant(worker, new_project(worker))
    working.behave(number, seconds=5)
    os.environ["RECON3D_API_SECRET_KEY"] = "top secret"
    try:
        started(worker, number)
        (pid,) = wait_for(lambda: begun(working, number))
        environment = psutil.Process(pid).environ()
    finally:
        del os.environ["RECON3D_API_SECRET_KEY"]
    assert "RECON3D_API_SECRET_KEY" not in environment
    worker.post(f"/jobs/{jobs_of(worker, number)[0]['id']}/cancel")


@pytest.mark.slow
def test_the_real_thing(serve: object) -> None:
    """A video through recon3d itself: five downloads, and a score."""
    sample = Path(__file__).parents[2] / "examples" / "data" / "bust.mp4"
    with serve(fake=False, runners=1) as api, api.client(api.user()[1]) as client:  # type: ignore[operator]
        number = new_project(client)
        files = {"file": ("bust.mp4", sample.read_bytes())}
        assert client.post("/files/upload/video", data={"project_id": number}, files=files).status_code == 200
        assert client.post(f"/projects/{number}/start-reconstruction?quality=low").status_code == 200
        project = wait_status(client, number, "completed", "failed", timeout=900)
        assert project["status"] == "completed", jobs_of(client, number)
        assert project["processed_frames"] == project["total_frames"] > 10
        assert 0.5 < project["reconstruction_quality"] <= 1
        starts = {
            "video": b"",
            "frames": b"PK",
            "mesh": b"ply",
            "textured_mesh": b"glTF",
            "point_cloud": b"ply",
        }
        for file_type, start in starts.items():
            answer = client.get(f"/files/download/{number}/{file_type}")
            assert answer.status_code == 200
            assert answer.content.startswith(start)
        kinds = {row["type"] for row in client.get(f"/files/list/{number}").json()}
        assert kinds == {"video", "frames", "mesh", "textured_mesh", "point_cloud", "sparse", "report"}
        assert json.dumps(jobs_of(client, number)).find(str(api.service.settings.data_dir)) < 0


def test_a_runner_whose_stop_was_interrupted_can_be_stopped_again(
    serve: Callable[..., contextlib.AbstractContextManager[Api]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon3d_api.work.follow._GRACE", 3.0)
    with serve(runners=0) as api, api.client(api.user()[1]) as client:
        number = plant(client, new_project(client))
        api.behave(number, stubborn=True, seconds=60, steps=60)
        started(client, number)
        service = api.service
        runner = JobRunner(
            service.settings,
            service.database,
            service.storage,
            slots=1,
            command=lambda claim: command_for(claim.quality, claim.until, api.root(number)),
        )
        assert not runner.alive
        runner.start()
        assert runner.alive
        running_job(client, number, "frame_extraction")

        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            runner.stop()
        (process,) = begun(api, number)
        assert alive(process)
        runner.stop()
        assert not alive(process)
        with service.database.read() as session:
            assert session.query(Run).filter_by(project_id=number).one().status == "queued"

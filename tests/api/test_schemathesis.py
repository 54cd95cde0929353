"""What schemathesis finds when it calls every operation of the OpenAPI document with odd requests."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Api, new_project, plant, started
from tests.api.test_stage_pictures import write_frame, write_map

ROOT = Path(__file__).parents[2]
#: It sends requests that fit the document but make no sense now, as starting without a video.
_NOT_OURS = "positive_data_acceptance"
#: Ends the token that the other requests use. A password change needs the old password.
_ENDS_THE_TOKEN = ("/api/v1/auth/logout",)


def run(api: Api, tmp_path: Path, token: str, examples: int, known: dict[str, str]) -> int:
    """Let it attack; gives the number of requests that the service answered."""
    command = [str(Path(sys.executable).with_name("schemathesis"))]
    command += ["--config-file", str(Path(__file__).with_name("schemathesis.toml"))]
    command += ["run", f"{api.url}/openapi.json"]
    command += ["--max-examples", str(examples), "--phases", "examples,coverage,fuzzing"]
    command += ["--exclude-checks", _NOT_OURS, "--continue-on-failure", "--no-color", "--seed", "1"]
    command += ["--warnings", "off"]
    if token:
        command += ["--header", f"Authorization: Bearer {token}"]
        for path in _ENDS_THE_TOKEN:
            command += ["--exclude-path", path]
    before = answered(api)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "COLUMNS": "200",
            "PYTHONPATH": str(ROOT),
            "RECON3D_TEST_KNOWN": json.dumps(known),
        },
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    selected = re.search(r"Tested: (\d+)", done.stdout)
    operations = sum(
        len(methods) for methods in httpx.get(f"{api.url}/openapi.json").json()["paths"].values()
    )
    assert selected, done.stdout
    assert int(selected[1]) == operations - len(_ENDS_THE_TOKEN if token else ())
    if token:  # it was good to the end
        with api.client(token) as client:
            assert client.get("/auth/me").status_code == 200
    return answered(api) - before


def answered(api: Api) -> int:
    """Requests so far, as the service counts them."""
    samples = api.service.metrics.requests.collect()[0].samples
    return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))


def beginning(api: Api, logged_in: bool) -> tuple[str, dict[str, str]]:
    """An administrator's token and what they have: with it, requests meet more than 404."""
    if not logged_in:
        return "", {}
    token = api.user(is_admin=True)[1]
    with api.client(token) as client:
        number = started(client, plant(client, new_project(client)))
        other = plant(client, new_project(client))
        told = {
            "Tus-Resumable": "1.0.0",
            "Upload-Length": "1000",
            "Upload-Metadata": f"filename di5tcDQ=,project_id {_base64(other)}",
        }
        made = client.post("/files/uploads", headers=told)
        assert made.status_code == 201, made.text
        model = api.root(other) / "model"
        write_frame(model, "a.jpg")
        write_map(model, "a.jpg", 1000)
        job = client.get(f"/jobs/project/{number}/status").json()["jobs"][0]["id"]
    known = {"project_id": str(other), "job_id": str(job), "path": "inputs/photos/p0.jpg", "name": "a.jpg"}
    return token, known | {"upload_id": made.headers["Location"].rpartition("/")[2]}


def _base64(number: int) -> str:
    return base64.b64encode(str(number).encode()).decode()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True, scope="session")  # both with -m slow
@pytest.mark.parametrize("logged_in", [True, False])
def test_a_few_of_everything(working: Api, tmp_path: Path, logged_in: bool) -> None:
    token, known = beginning(working, logged_in)
    assert run(working, tmp_path, token, 1, known) > 1000


@pytest.mark.slow
@pytest.mark.attack(
    "schemathesis calls every operation with odd requests",
    "10 000 requests with and without a token; no 5xx, no undocumented status",
)
@pytest.mark.parametrize("logged_in", [True, False])
def test_many_of_everything(
    working: Api, tmp_path: Path, logged_in: bool, record_property: Callable[[str, object], None]
) -> None:
    token, known = beginning(working, logged_in)
    requests = run(working, tmp_path, token, 165, known)
    record_property("seen", f"{requests} requests {'with' if logged_in else 'without'} a token")
    assert requests >= 10_000

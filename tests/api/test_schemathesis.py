"""What schemathesis finds when it calls every operation of the OpenAPI document with odd requests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.conftest import Api, new_project, plant, started

#: It sends requests that fit the document but make no sense now, as starting without a video.
_NOT_OURS = "positive_data_acceptance"


def run(api: Api, tmp_path: Path, token: str, examples: int) -> str:
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{api.url}/openapi.json"]
    command += ["--max-examples", str(examples), "--phases", "examples,coverage,fuzzing"]
    command += ["--exclude-checks", _NOT_OURS, "--continue-on-failure", "--no-color", "--seed", "1"]
    if token:
        # Logging out would end the token that the other requests use.
        command += ["--header", f"Authorization: Bearer {token}", "--exclude-path", "/api/v1/auth/logout"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
    return done.stdout


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True, scope="session")  # both with -m slow
@pytest.mark.parametrize("logged_in", [True, False])
def test_a_few_of_everything(working: Api, tmp_path: Path, logged_in: bool) -> None:
    token = working.user()[1] if logged_in else ""
    assert f"Tested: {36 if logged_in else 37}" in run(working, tmp_path, token, 1)


@pytest.mark.slow
@pytest.mark.parametrize("logged_in", [True, False])
def test_many_of_everything(working: Api, tmp_path: Path, logged_in: bool) -> None:
    token = ""
    if logged_in:
        token = working.user()[1]
        with working.client(token) as client:
            started(client, plant(client, new_project(client)))
    assert f"Tested: {36 if logged_in else 37}" in run(working, tmp_path, token, 60)

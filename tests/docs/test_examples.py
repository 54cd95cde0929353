"""The examples run to their end, on the bundled video and in small sizes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trimesh

import recon3d
from tests.docs.pages import ROOT

EXAMPLES = ROOT / "examples"


def _python(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )


def test_examples_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:2]) for path in EXAMPLES.glob("*.py"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_video_to_mesh(tmp_path: Path) -> None:
    example = EXAMPLES / "01_video_to_mesh.py"
    video = EXAMPLES / "data" / "bust.mp4"
    done = _python("-m", "tests.docs.small_runs", example, video, "made", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    path = tmp_path / done.stdout.strip().removeprefix("Textured mesh: ")
    # As many as the small preset allows: a whole run of `low` has fifty frames and 80 000 triangles.
    assert 500 < len(trimesh.load(path, force="mesh", process=False).faces) <= 3000
    assert len(recon3d.Project.open(tmp_path / "made").frames) == 24


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a service in a process of its own, whose runs are real and small."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("RECON3D_API_")},
        "PYTHONPATH": str(ROOT),
        "RECON3D_API_DATA_DIR": str(tmp_path / "data"),
        "RECON3D_API_MIN_FREE_MB": "1",
    }
    with open(tmp_path / "server.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.docs.small_runs", "serve", str(port)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            if process.poll() is not None:
                pytest.fail((tmp_path / "server.log").read_text()[-3000:])
            try:
                if httpx.get(f"{url}/ready", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def test_api_client(server: str, tmp_path: Path) -> None:
    done = _python(EXAMPLES / "02_api_client.py", "--url", server, "--output", "out", folder=tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"video.mp4", "frames.zip", "point_cloud.ply", "mesh.ply", "textured_mesh.glb"}
    assert (tmp_path / "out" / "video.mp4").read_bytes() == (EXAMPLES / "data" / "bust.mp4").read_bytes()
    model = trimesh.load(tmp_path / "out" / "textured_mesh.glb", force="mesh", process=False)
    assert len(model.faces) > 500
    assert re.search(r"24 frames in \d+ s, quality 0\.[1-9]", done.stdout), done.stdout

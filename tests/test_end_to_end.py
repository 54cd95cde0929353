"""The whole way on real input; interrupted at every stage, it still finishes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import trimesh

from recon3d.project import Project
from recon3d.stage_table import STAGE_NAMES

_FAST = [
    "--set=dense_reconstruction.max_image_size=240",
    "--set=texturing.texture_size=1024",
    "--set=mesh_generation.max_faces=20000",
]


def _start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "recon3d", "run", *map(str, arguments), "--events"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def _run(*arguments: object) -> list[dict[str, object]]:
    process = _start(*arguments)
    out, _ = process.communicate(timeout=900)
    assert process.returncode == 0, out[-3000:]
    return [json.loads(line) for line in out.splitlines()]


def _check_model(project: Project) -> None:
    results = project.results
    assert results.textured_mesh is not None
    model = trimesh.load(results.textured_mesh, force="mesh", process=False)
    assert len(model.faces) > 1000
    assert model.visual.uv.shape == (len(model.vertices), 2)
    texture = np.asarray(model.visual.material.baseColorTexture or model.visual.material.image)
    assert texture.std() > 20
    assert results.report is not None
    assert "<svg" in results.report.read_text()


def test_a_few_photos_become_a_textured_model(tmp_path: Path, data_dir: Path) -> None:
    images = data_dir / "sceaux_1600" / "images"
    photos = sorted(images.glob("*.jpg"))[2:8]
    events = _run(*photos, "-o", tmp_path / "p", "-q", "low", *_FAST)
    project = Project.open(tmp_path / "p")
    _check_model(project)
    assert events[-1]["type"] == "run_completed"
    report = json.loads((tmp_path / "p" / "results" / "report.json").read_text())
    assert all(image["registered"] for image in report["images"])
    assert [row["stage"] for row in report["stages"]] == list(STAGE_NAMES)
    assert all(row["cpu_seconds"] > 0 and row["peak_memory"] > 0 for row in report["stages"])

    again = _run(*photos, "-o", tmp_path / "p", "-q", "low", *_FAST)
    assert [e["type"] for e in again] == ["run_started", *["stage_skipped"] * 7, "run_completed"]

    for format, name in (
        ("obj", "p.obj"),
        ("colmap", "sparse/0/cameras.bin"),
        ("colmap-dense", "stereo/fusion.cfg"),
        ("nerfstudio", "transforms.json"),
    ):
        target = tmp_path / format
        wanted = target / name if format != "obj" else target / "p.obj"
        output = wanted if format == "obj" else target
        command = [sys.executable, "-m", "recon3d", "export", tmp_path / "p", "-f", format, "-o", output]
        subprocess.run(command, check=True)
        assert wanted.stat().st_size > 0


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_run_killed_in_every_stage_ends_with_the_same_model(tmp_path: Path, data_dir: Path) -> None:
    photos = sorted((data_dir / "sceaux_1600" / "images").glob("*.jpg"))[2:8]
    # First, since kernels that are compiled while they run may differ from cached ones in the last digit.
    whole = tmp_path / "whole"
    _run(*photos, "-o", whole, "-q", "low", *_FAST)
    arguments = [*photos, "-o", tmp_path / "p", "-q", "low", *_FAST]
    for stage in STAGE_NAMES:
        process = _start(*arguments)
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["type"] == "stage_progress" and event["stage"] == stage and event["done"] >= 1:
                break
            # A stage of one short native call may be over before its progress is seen.
            assert event["type"] != "run_completed", f"{stage} was never seen running"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        Project.open(tmp_path / "p")
    events = _run(*arguments)
    done = {e["stage"]: e for e in events if e["type"] == "stage_progress"}
    assert done
    cut, uncut = Project.open(tmp_path / "p").results, Project.open(whole).results
    for name, path in uncut.files().items():
        if path.suffix in (".ply", ".glb"):
            assert cut.files()[name].read_bytes() == path.read_bytes(), name


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_worker_killed_in_the_middle_of_dense_stereo_is_replaced(tmp_path: Path, data_dir: Path) -> None:
    photos = sorted((data_dir / "sceaux_1600" / "images").glob("*.jpg"))[2:8]
    process = _start(*photos, "-o", tmp_path / "p", "-q", "low", *_FAST)
    assert process.stdout is not None
    killed = False
    for line in process.stdout:
        event = json.loads(line)
        if not killed and event.get("stage") == "dense_reconstruction" and event["type"] == "stage_progress":
            workers = [
                p
                for p in psutil.Process(process.pid).children(recursive=True)
                if "multiprocessing.spawn" in " ".join(p.cmdline())
            ]
            assert len(workers) >= 2
            workers[0].kill()
            killed = True
    assert process.wait() == 0
    process.stdout.close()
    assert killed
    _check_model(Project.open(tmp_path / "p"))


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("inputs", "least"),
    [
        ("video_gopro/karma.mp4", 0.95),
        ("video_bic/bic.mov", 0.95),
        ("gt_bust_video/video.mp4", 1.0),
        ("saharov32_small/images", 1.0),
        ("nlesc_rock_1600/images", 1.0),
        ("monstree_1600/images", 1.0),
    ],
)
def test_real_sets_become_textured_models(tmp_path: Path, data_dir: Path, inputs: str, least: float) -> None:
    _run(data_dir / inputs, "-o", tmp_path / "p", "-q", "low")
    _check_model(Project.open(tmp_path / "p"))
    report = json.loads((tmp_path / "p" / "results" / "report.json").read_text())
    registered = [image["registered"] for image in report["images"]]
    assert np.mean(registered) >= least

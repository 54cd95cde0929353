"""The whole way on real input; interrupted at every stage, it still finishes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import trimesh

from recon3d.events import StageCompleted
from recon3d.layout import WORKERS_LOG
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
    told = [e["type"] for e in again if e["type"] != "verdict_reached"]
    assert told == ["run_started", *["stage_skipped"] * 7, "run_completed"]
    assert len(told) < len(again)  # nothing is done again, and yet the verdict is told

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


@pytest.fixture
def small_photos(tmp_path: Path, data_dir: Path) -> list[Path]:
    """Six photos of a castle, 320 pixels wide."""
    (tmp_path / "photos").mkdir()
    photos = []
    for source in sorted((data_dir / "sceaux_1600" / "images").glob("*.jpg"))[2:8]:
        photos.append(tmp_path / "photos" / source.name)
        small = cv2.resize(cv2.imread(str(source)), (320, 240), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(photos[-1]), small)
    return photos


def _kill_in(stage: str, project: Path, *arguments: object) -> None:
    """Start a run and kill it once some of the stage is done; its workers die with it."""
    # A short stage may be over before the signal arrives; then it is run again.
    for again in ([], *[[f"--rerun-from={stage}"]] * 4):
        process = _start(*arguments, "-o", project, *again)
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["type"] == "stage_progress" and event["stage"] == stage and event["done"] >= 1:
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        events = Project.open(project).runs[-1].events
        if not any(isinstance(e, StageCompleted) and e.stage == stage for e in events):
            return
    raise AssertionError(f"{stage} was never caught running")


def _killed_in_every_stage(tmp_path: Path, *arguments: object) -> None:
    # The whole run first: kernels that are compiled while they run may differ from cached ones in the
    # last digit.
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _run(*arguments, "-o", whole)
    for stage in STAGE_NAMES:
        _kill_in(stage, killed, *arguments)
    _run(*arguments, "-o", killed)
    expected, files = Project.open(whole).results.files(), Project.open(killed).results.files()
    models = [name for name, path in expected.items() if path.suffix in (".ply", ".glb")]
    assert len(models) == 3
    for name in models:
        assert files[name].read_bytes() == expected[name].read_bytes(), name


def test_small_photos_killed_in_every_stage_give_the_same_model(
    tmp_path: Path, small_photos: list[Path]
) -> None:
    _killed_in_every_stage(tmp_path, *small_photos, "-q", "low", *_FAST)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_photos_killed_in_every_stage_give_the_same_model(tmp_path: Path, data_dir: Path) -> None:
    photos = sorted((data_dir / "sceaux_1600" / "images").glob("*.jpg"))[2:8]
    _killed_in_every_stage(tmp_path, *photos, "-q", "low", *_FAST)


def _lose_a_worker(project: Path, *arguments: object) -> None:
    """Run, and kill one of the workers at the first progress of dense stereo."""
    process = _start(*arguments, "-o", project)
    assert process.stdout is not None
    killed = None
    lines = []
    for line in process.stdout:
        lines.append(line)
        event = json.loads(line)
        if killed is None and event["type"] == "stage_progress" and event["stage"] == "dense_reconstruction":
            workers = _workers(process.pid)
            assert len(workers) >= 2
            killed = workers[0]
            killed.kill()
    process.stdout.close()
    log = Project.open(project).runs[-1].folder / WORKERS_LOG
    assert process.wait() == 0, f"{''.join(lines[-5:])}\n{log.read_text()[-5000:]}"
    assert killed is not None
    assert f"Worker process {killed.pid} was killed by signal 9" in log.read_text()


def _workers(pid: int) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        # A process may end meanwhile.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "multiprocessing.spawn" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_a_worker_lost_in_dense_stereo_is_replaced(tmp_path: Path, small_photos: list[Path]) -> None:
    _lose_a_worker(tmp_path / "p", *small_photos, "-q", "low", *_FAST)
    _check_model(Project.open(tmp_path / "p"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_worker_lost_in_the_middle_of_large_photos_is_replaced(tmp_path: Path, data_dir: Path) -> None:
    photos = sorted((data_dir / "sceaux_1600" / "images").glob("*.jpg"))[2:8]
    _lose_a_worker(tmp_path / "p", *photos, "-q", "low", *_FAST)
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

"""What the check of a GPU measures: a function for each step, which emits rows of the table."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.gpu.device_memory import GpuMemory
from tests.gpu.rows import FAILED, NO_DEVICE, OK, CheckError, Place, Row, emit, joined

ROOT = Path(__file__).parents[2]
QUALITY = "medium"


def pipeline(engine: str, place: Place, quality: str = QUALITY, **options: Any) -> Any:
    """The pipeline that every step runs: what users run."""
    from recon3d import Pipeline

    return Pipeline(quality, engine=engine, workers=place.workers, **options)


def stage_events(tell: Callable[[Any], None]) -> Callable[[Any], None]:
    """An ``on_event`` that passes finished stages on and logs messages."""

    def listen(event: Any) -> None:
        if event.type == "stage_completed":
            tell(event)
        elif getattr(event, "message", ""):
            sys.stderr.write(f"{event.message}\n")

    return listen


def true_scene(place: Place) -> Any:
    """The true cameras."""
    from recon3d.colmap import read_scene

    return read_scene(place.data / "model", sorted(path.name for path in place.photos.iterdir()))


def finished(place: Place, name: str, stage: str) -> Any:
    """The artifact that an earlier step left.

    Raises
    ------
    CheckError
        It did not.
    """
    from recon3d.project import Project

    if (place.work / name).is_dir() and stage in (artifacts := Project.open(place.work / name).artifacts):
        return artifacts[stage]
    raise CheckError(f"an earlier step has not finished {stage.replace('_', ' ')}")


def device(place: Place) -> None:
    """What ``recon3d doctor`` says of the GPU, which one it is, and the check of recon3d's own kernels."""
    from recon3d.cli.doctor import examine
    from recon3d.compute.cuda import device_count, no_device

    began = time.monotonic()
    checks = {check.name: check for check in examine()}
    for check in checks.values():
        sys.stderr.write(f"{check.status} {check.name}: {check.found} {check.fix}\n")
    core = checks["pycolmap"]
    emit(Row("pycolmap", "", None, core.found, OK if core.status == "ok" else FAILED))
    found = no_device()
    if count := device_count():
        found = f"{count} CUDA device{'s' * (count > 1)}"
        query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        with contextlib.suppress(OSError):
            done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
            found = joined(found, done.stdout.strip().replace("\n", "; "))
    text = f"{found}; {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    emit(Row("device", "cuda", time.monotonic() - began, text, OK if count else NO_DEVICE))
    for engine, name in (("cuda", "GPU: depth maps"), ("colmap-cuda", "GPU: features, matches")):
        if name in checks:
            status = OK if checks[name].status == "ok" else FAILED
            emit(Row("engine", engine, None, checks[name].found, status))
        else:
            emit(Row("engine", engine, None, "", NO_DEVICE))


def scene(place: Place) -> None:
    """A project with the true cameras up to sparse points, by the CPU, and warm kernels."""
    from recon3d.project import Project
    from recon3d.stages.dense_reconstruction.view_tasks import CompileTask, prepare

    began = time.monotonic()
    prepare(CompileTask())
    emit(Row("kernels compiled", "cpu", time.monotonic() - began, "kept for all later steps"))
    began = time.monotonic()
    project = Project.create(place.work / "posed")
    project.add_posed_photos(place.photos, place.data / "model")
    pipeline("cpu", place).run(project, until="sparse_reconstruction")
    points = len(project.scene.points)
    emit(Row("true cameras, points", "cpu", time.monotonic() - began, f"{points} points"))


def structure(place: Place, engine: str) -> None:
    """Features, matches and cameras of the photos alone, and how far the cameras are off."""
    from recon3d.evaluation import pose_errors
    from recon3d.project import Project

    project = Project.create(place.work / f"structure-{engine}")
    project.add_photos(place.photos)
    names = {"feature_extraction": "features", "feature_matching": "matches"}

    def tell(event: Any) -> None:
        if event.stage in names:
            used = project.artifacts[event.stage].manifest.engine
            counts = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in event.counts.items())
            wrong = "" if used == engine else f"the {used} engine ran"
            row = Row(names[event.stage], engine, event.seconds, joined(wrong, counts, memory.most(engine)))
            emit(replace(row, status=FAILED) if wrong else row)

    with GpuMemory() as memory:
        pipeline(engine, place).run(project, until="sparse_reconstruction", on_event=stage_events(tell))
    truth = true_scene(place)
    errors = pose_errors(project.scene, truth)
    centers = np.array([view.center for view in truth])
    extent = np.linalg.norm(centers.max(axis=0) - centers.min(axis=0))
    off = 100 * errors.position / extent
    placed = len(errors.names)
    emit(
        Row(
            "cameras from these",
            engine,
            project.artifacts["sparse_reconstruction"].manifest.seconds,
            f"{placed} of {len(truth)} placed; rotation {np.median(errors.rotation):.3f}° (worst "
            f"{errors.rotation.max():.3f}°), centre {np.median(off):.3f} % of the extent ({off.max():.3f} %)",
            OK if placed >= 0.8 * len(truth) and np.median(errors.rotation) < 0.5 else FAILED,
        )
    )


def posed_copy(place: Place, name: str) -> Any:
    """A copy of the project with the true cameras."""
    from recon3d.project import Project

    finished(place, "posed", "sparse_reconstruction")
    shutil.copytree(place.work / "posed", place.work / name, symlinks=True)
    return Project.open(place.work / name)


def dense(place: Place, engine: str) -> None:
    """Depth maps and the cloud from the true cameras, and how they agree with the true surface."""
    from recon3d.evaluation import surface_scores
    from recon3d.io.ply import read_mesh, read_point_cloud
    from recon3d.types import Scene

    project = posed_copy(place, f"dense-{engine}")
    with GpuMemory() as memory:
        pipeline(engine, place).run(
            project, until="dense_reconstruction", on_event=stage_events(lambda event: None)
        )
    artifact = project.artifacts["dense_reconstruction"]
    views = Scene.load(artifact.path).views
    megapixels = sum(view.camera.width * view.camera.height for view in views) / 1e6
    manifest = artifact.manifest
    camera = views[0].camera
    emit(
        Row(
            "depth maps and cloud",
            engine,
            manifest.seconds,
            joined(
                "" if manifest.engine == engine else f"the {manifest.engine} engine ran",
                f"{manifest.counts['depth_maps']} of {camera.width} x {camera.height},"
                f" {manifest.seconds / megapixels:.2f} s a megapixel,"
                f" {manifest.cpu_seconds / megapixels:.2f} CPU-s a megapixel",
                f"{manifest.counts['points']} points, {100 * manifest.counts['filled']:.0f} % filled",
                memory.most(engine),
                *manifest.fallbacks,
            ),
            OK if manifest.engine == engine and not manifest.fallbacks else FAILED,
        )
    )
    scoring = json.loads((place.data / "scoring.json").read_text())
    scores = surface_scores(
        read_point_cloud(artifact.path / "point_cloud.ply"),
        read_mesh(place.data / "truth.ply"),
        scoring["distances"],
        box=scoring["box"],
        voxel=scoring["voxel"],
    )
    text = "; ".join(
        f"{score.distance * 1000:g} mm {score.f_score:.3f} ({score.precision:.3f}, {score.recall:.3f})"
        for score in scores
    )
    good = scores[-1].f_score > 0.8
    emit(Row("F (precision, recall)", engine, None, text, OK if good else FAILED))


def again_features(place: Place, engine: str) -> None:
    """Features and matches a second time, compared with the first."""
    from recon3d.io.feature_files import read_features
    from recon3d.layout import features_file
    from recon3d.project import Project

    began = time.monotonic()
    stages = ("feature_extraction", "feature_matching")
    first = {stage: finished(place, f"structure-{engine}", stage) for stage in stages}
    project = Project.create(place.work / f"structure-{engine}-again")
    project.add_photos(place.photos)
    pipeline(engine, place).run(project, until="feature_matching")
    second = project.artifacts
    count = first["feature_extraction"].manifest.counts["images"]
    same, fewer = 0, []
    for index in range(count):
        a, b = (
            read_features(features_file(artifacts["feature_extraction"].path, index))
            for artifacts in (first, second)
        )
        same += all(x.shape == y.shape and np.array_equal(x, y) for x, y in zip(a, b, strict=True))
        rows = [{tuple(row) for row in np.round(keypoints[:, :2], 3).tolist()} for keypoints in (a[0], b[0])]
        fewer.append(len(rows[0] & rows[1]) / max(1, len(rows[0] | rows[1])))
    matches = [np.load(a["feature_matching"].path / "matches.npz") for a in (first, second)]
    equal = all(np.array_equal(matches[0][key], matches[1][key]) for key in ("pairs", "raw", "inliers"))
    emit(
        Row(
            "features and matches again",
            engine,
            time.monotonic() - began,
            f"{same} of {count} images' features the same, bit for bit; positions in common"
            f" {100 * min(fewer):.1f} % at least; numbers of matches {'the same' if equal else 'differ'}",
        )
    )


def again_dense(place: Place, engine: str) -> None:
    """Depth maps a second time, compared with the first."""
    began = time.monotonic()
    first = finished(place, f"dense-{engine}", "dense_reconstruction").path / "depth_maps"
    project = posed_copy(place, f"dense-{engine}-again")
    pipeline(engine, place).run(project, until="dense_reconstruction")
    second = project.artifacts["dense_reconstruction"].path / "depth_maps"
    emit(Row("depth maps again", engine, time.monotonic() - began, map_differences(first, second)))


def against_cpu(place: Place, engine: str) -> None:
    """The depth maps of a GPU, compared with the CPU's of the same views."""
    made = [finished(place, f"dense-{name}", "dense_reconstruction") for name in (engine, "cpu")]
    found = map_differences(*(artifact.path / "depth_maps" for artifact in made))
    emit(Row("depth maps against the CPU's", engine, None, found))


def map_differences(first: Path, second: Path) -> str:
    """How the depth maps of two folders differ, in words."""
    from recon3d.io.depth import read_depth_map

    same, known, off = 0, [], []
    files = sorted(first.glob("*.npz"))
    for file in files:
        a, b = read_depth_map(file).depth, read_depth_map(second / file.name).depth
        same += np.array_equal(a, b)
        both = (a > 0) & (b > 0)
        known.append(both.sum() / max(1, ((a > 0) | (b > 0)).sum()))
        off.append(np.abs(a[both] / b[both] - 1))
    errors = np.concatenate(off)
    return (
        f"{same} of {len(files)} the same, bit for bit; known in both {100 * min(known):.1f} % at least;"
        f" median difference {100 * np.median(errors):.4f} %,"
        f" 99th percentile {100 * np.percentile(errors, 99):.3f} %"
    )


def gpu_tests(place: Place) -> None:
    """``pytest -m gpu`` on the files that have such tests."""
    began = time.monotonic()
    files = [p for p in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in p.read_text()]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "-p", "pytest_timeout"]
    # numba-cuda 0.30 under NumPy 2.5; recon3d[cuda] installs an older one.
    command += ["-W", "ignore:The 'generic' unit:DeprecationWarning"]
    # A machine's other plugins may not fit the pack's pytest.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [*command, *map(str, files)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    sys.stderr.write(done.stdout + done.stderr)
    summary = done.stdout.strip().splitlines()[-1].strip("= ") if done.stdout.strip() else "no output"
    good = done.returncode == 0 and "skipped" not in summary
    emit(Row("pytest -m gpu", "cuda", time.monotonic() - began, summary, OK if good else FAILED))

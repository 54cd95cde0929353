"""Check recon3d on a GPU with true cameras and a true surface; ``check.sh`` starts it.

Each step is a process of its own with a time limit, and prints rows of one table as it finishes
them. The steps on the GPU come first, so that a run that is ended early has told the most. Rows and
logs are also written to the folder that the environment variable OUT names.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from recon3d.compute.worker import die_with_parent

ROOT = Path(__file__).parents[2]
QUALITY = "medium"
#: For what goes wrong on purpose: quick, and one try with smaller maps before it gives up.
TROUBLE = {"max_image_size": 400, "geometric_iterations": 0}
#: Bytes of the GPU's memory that another program leaves.
LEFT_FREE = 64 << 20
OK, FAILED, NO_DEVICE = "ok", "FAILED", "no device"


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    engine: str
    seconds: float | None
    found: str
    status: str = OK


@dataclass(frozen=True)
class Step:
    """A process, its rows, and the seconds that it may take."""

    name: str
    run: Callable[[Place], None]
    rows: tuple[tuple[str, str], ...]
    seconds: float
    needs_gpu: bool = False


@dataclass(frozen=True)
class Place:
    """Where a step finds its input and leaves its files."""

    data: Path
    work: Path

    @property
    def photos(self) -> Path:
        """The photos."""
        return self.data / "images"

    @property
    def workers(self) -> int:
        """Worker processes: starting more takes longer than so few photos do."""
        return min(8, len(os.sched_getaffinity(0)))


class CheckError(Exception):
    """A step cannot go on, and why."""


def emit(row: Row) -> None:
    """Hand a row over to the process that prints the table."""
    sys.stdout.write(f"ROW {json.dumps(asdict(row))}\n")
    sys.stdout.flush()


# --- what is measured -----------------------------------------------------------------------------


class GpuMemory:
    """Most bytes that were in use on the first GPU, more than at the start, as its driver counts."""

    class _Memory(ctypes.Structure):
        _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))

    def __init__(self) -> None:
        self._device: ctypes.c_void_p | None = None
        self._end = threading.Event()
        self._peak = self._start = 0
        with contextlib.suppress(OSError, AttributeError):
            self._library = ctypes.CDLL("libnvidia-ml.so.1")
            device = ctypes.c_void_p()
            if not (
                self._library.nvmlInit_v2()
                or self._library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device))
            ):
                self._device = device

    def __enter__(self) -> GpuMemory:
        self._peak = self._start = self._used()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def most(self, engine: str) -> str:
        """The peak so far in words; empty where it is unknown, or not the engine's own."""
        if self._device is None or engine == "cpu":
            return ""
        return f"GPU memory {max(0, self._peak - self._start) / 1e9:.2f} GB"

    def _watch(self) -> None:
        while self._device and not self._end.wait(0.05):
            self._peak = max(self._peak, self._used())

    def _used(self) -> int:
        memory = self._Memory()
        if self._device:
            self._library.nvmlDeviceGetMemoryInfo(self._device, ctypes.byref(memory))
        return int(memory.used)


@contextlib.contextmanager
def gpu_memory_taken() -> Iterator[int]:
    """Take all of the first GPU's memory but `LEFT_FREE`; gives the bytes taken."""
    cuda = ctypes.CDLL("libcuda.so.1")
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    for code in (cuda.cuInit(0), cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0)):
        if code:
            raise CheckError(f"the CUDA driver answers {code}")
    taken, size = 0, 1 << 62
    pointer = ctypes.c_ulonglong()
    while size >= 16 << 20:
        cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        size = min(size, free.value - LEFT_FREE)
        if size <= 0:
            break
        if cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(size)):
            size //= 2
        else:
            taken += size
    try:
        yield taken
    finally:
        cuda.cuCtxDestroy_v2(context)


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


def joined(*parts: str) -> str:
    """Parts of a finding that are not empty."""
    return "; ".join(part for part in parts if part)


# --- steps ----------------------------------------------------------------------------------------


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
    # A machine's other plugins may not fit the pack's pytest.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [*command, *map(str, files)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    sys.stderr.write(done.stdout + done.stderr)
    summary = done.stdout.strip().splitlines()[-1].strip("= ") if done.stdout.strip() else "no output"
    good = done.returncode == 0 and "skipped" not in summary
    emit(Row("pytest -m gpu", "cuda", time.monotonic() - began, summary, OK if good else FAILED))


def told(what: str, expected: tuple[str, ...], run: Callable[..., Any], engine: str = "cuda") -> Row:
    """What the user is told when something goes wrong; only the errors expected are right."""
    from recon3d.errors import Recon3DError

    began = time.monotonic()
    messages: list[str] = []

    def listen(event: Any) -> None:
        if getattr(event, "message", ""):
            messages.append(event.message)

    try:
        run(on_event=listen)
        outcome, status = "no error", OK if "no error" in expected else FAILED
    except Recon3DError as error:
        name = type(error).__name__
        outcome, status = one_line(error), OK if name in expected else FAILED
        sys.stderr.write(f"{what}: {error}\n{getattr(error, 'log_tail', '')}\n")
    found = joined(*dict.fromkeys(messages), outcome)
    return Row(what, engine, time.monotonic() - began, found, status)


def one_line(error: Any) -> str:
    """An error of recon3d with its hint."""
    return f"{type(error).__name__}: {error.message} Hint: {error.hint}".replace("\n", " ")


def without_device(place: Place) -> None:
    """What users are told when they ask for a GPU that is not there."""
    from recon3d.project import Project

    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    project = Project.create(place.work / "no-device")
    project.add_photos(place.photos)
    run = partial(pipeline("cuda", place).run, project, until="frame_extraction")
    emit(told("told without a device", ("EngineUnavailable",), run))


def killed(place: Place) -> None:
    """What users are told when COLMAP's process is killed; the stage tries once more, with smaller maps."""
    project = posed_copy(place, "killed")
    end, hit = threading.Event(), threading.Event()

    def kill_first() -> None:
        me = psutil.Process()
        while not end.wait(0.02):
            for child in me.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if any("colmap.patch_match" in part for part in child.cmdline()):
                        time.sleep(0.5)
                        child.kill()
                        hit.set()
                        return

    thread = threading.Thread(target=kill_first, daemon=True)
    thread.start()
    run = partial(pipeline("colmap-cuda", place, dense_reconstruction=TROUBLE).run, project)
    run = partial(run, until="dense_reconstruction")
    row = told("told when COLMAP is killed", ("OutOfMemory", "no error"), run, "colmap-cuda")
    end.set()
    if not hit.is_set():
        row = replace(row, found=joined("COLMAP's process was not there to kill", row.found), status=FAILED)
    emit(row)


def without_memory(place: Place) -> None:
    """What users are told when another program has taken the GPU's memory."""
    from recon3d.project import Project

    project = Project.create(place.work / "no-memory-features")
    project.add_photos(place.photos)
    features = partial(pipeline("cuda", place).run, project, until="feature_extraction")
    depths = {
        engine: partial(
            pipeline(engine, place, dense_reconstruction=TROUBLE).run,
            posed_copy(place, f"no-memory-{engine}"),
            until="dense_reconstruction",
        )
        for engine in ("cuda", "colmap-cuda")
    }
    taker = subprocess.Popen(
        [sys.executable, "-c", "from tests.gpu.check import _take_memory; _take_memory()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert taker.stdin is not None
    assert taker.stdout is not None
    try:
        answer = taker.stdout.readline().strip()
        if not answer.isdigit():
            raise CheckError(f"the GPU's memory could not be taken: {answer or 'see the log'}")
        sys.stderr.write(f"{int(answer) / 1e9:.1f} GB taken\n")
        expected = ("OutOfMemory", "StageError", "EngineUnavailable")
        # Where not even the check of recon3d's own engine has room, COLMAP's takes its place.
        for engine, run in depths.items():
            emit(told("depth maps told without memory", ("OutOfMemory",), run, engine))
        emit(told("features told without memory", expected, features))
    finally:
        taker.stdin.close()
        taker.wait(timeout=30)


def _take_memory() -> None:
    with gpu_memory_taken() as taken:
        print(taken, flush=True)
        sys.stdin.read()


STEPS = (
    Step(
        "device",
        device,
        (("pycolmap", ""), ("device", "cuda"), ("engine", "cuda"), ("engine", "colmap-cuda")),
        150,
    ),
    Step("scene", scene, (("kernels compiled", "cpu"), ("true cameras, points", "cpu")), 150),
    Step(
        "dense_cuda",
        partial(dense, engine="cuda"),
        (("depth maps and cloud", "cuda"), ("F (precision, recall)", "cuda")),
        150,
        needs_gpu=True,
    ),
    Step(
        "structure_cuda",
        partial(structure, engine="cuda"),
        (("features", "cuda"), ("matches", "cuda"), ("cameras from these", "cuda")),
        100,
        needs_gpu=True,
    ),
    Step(
        "dense_colmap",
        partial(dense, engine="colmap-cuda"),
        (("depth maps and cloud", "colmap-cuda"), ("F (precision, recall)", "colmap-cuda")),
        150,
        needs_gpu=True,
    ),
    Step("gpu_tests", gpu_tests, (("pytest -m gpu", "cuda"),), 90, needs_gpu=True),
    Step(
        "again_dense",
        partial(again_dense, engine="cuda"),
        (("depth maps again", "cuda"),),
        60,
        needs_gpu=True,
    ),
    Step(
        "again_features",
        partial(again_features, engine="cuda"),
        (("features and matches again", "cuda"),),
        60,
        needs_gpu=True,
    ),
    Step("killed", killed, (("told when COLMAP is killed", "colmap-cuda"),), 60, needs_gpu=True),
    Step(
        "without_memory",
        without_memory,
        (
            ("depth maps told without memory", "cuda"),
            ("depth maps told without memory", "colmap-cuda"),
            ("features told without memory", "cuda"),
        ),
        90,
        needs_gpu=True,
    ),
    Step("without_device", without_device, (("told without a device", "cuda"),), 60),
    Step(
        "dense_cpu",
        partial(dense, engine="cpu"),
        (("depth maps and cloud", "cpu"), ("F (precision, recall)", "cpu")),
        150,
    ),
    Step(
        "against_cpu",
        partial(against_cpu, engine="cuda"),
        (("depth maps against the CPU's", "cuda"),),
        30,
        needs_gpu=True,
    ),
    Step(
        "against_cpu_colmap",
        partial(against_cpu, engine="colmap-cuda"),
        (("depth maps against the CPU's", "colmap-cuda"),),
        30,
        needs_gpu=True,
    ),
    Step(
        "structure_cpu",
        partial(structure, engine="cpu"),
        (("features", "cpu"), ("matches", "cpu"), ("cameras from these", "cpu")),
        120,
    ),
    Step(
        "again_colmap",
        partial(again_dense, engine="colmap-cuda"),
        (("depth maps again", "colmap-cuda"),),
        120,
        needs_gpu=True,
    ),
)


# --- the table ------------------------------------------------------------------------------------


class Table:
    """Prints rows as they come, as Markdown, and keeps them in a folder."""

    def __init__(self, out: Path | None) -> None:
        self.rows: list[Row] = []
        self._out = out
        self._lines: list[str] = []
        self._add("| what | engine | seconds | found |")
        self._add("| --- | --- | ---: | --- |")

    def add(self, row: Row) -> None:
        """Print and keep a row."""
        self.rows.append(row)
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        found = row.found if row.status == OK else joined(row.status, row.found)
        found = found.replace("|", "/").replace("\n", " ")
        self._add(f"| {row.what:<30} | {row.engine:<11} | {seconds:>5} | {found} |")
        if self._out is not None:
            document = json.dumps([asdict(row) for row in self.rows], indent=1, ensure_ascii=False)
            (self._out / "results.json").write_text(document + "\n")
            (self._out / "results.md").write_text("\n".join(self._lines) + "\n")

    def _add(self, line: str) -> None:
        self._lines.append(line)
        print(line, flush=True)

    def exit_code(self) -> int:
        """0: all worked; 1: something failed; 3: all worked, but there is no device."""
        statuses = {row.status for row in self.rows}
        return 1 if statuses - {OK, NO_DEVICE} else 3 if NO_DEVICE in statuses else 0


def run_step(step: Step, place: Place, table: Table, seconds: float, log: Path) -> None:
    """Run a step for at most `seconds`; rows that it owes say why they are missing."""
    command = [sys.executable, "-m", "tests.gpu.check", "--step", step.name]
    command += ["--data", str(place.data), "--work", str(place.work)]
    end = time.monotonic() + seconds
    owed = list(step.rows)
    with open(log, "ab") as written:
        written.write(f"--- {step.name}\n".encode())
        written.flush()
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=written, text=True, start_new_session=True
        )
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        assert process.stdout is not None
        threading.Thread(target=_forward, args=(process.stdout, lines), daemon=True).start()
        reason = ""
        try:
            while True:
                try:
                    line = lines.get(timeout=max(0.0, end - time.monotonic()))
                except queue.Empty:
                    reason = f"stopped after {seconds:.0f} s"
                    break
                if line is None:
                    break
                if line.startswith("ROW "):
                    row = Row(**json.loads(line[4:]))
                    table.add(row)
                    with contextlib.suppress(ValueError):
                        owed.remove((row.what, row.engine))
        finally:
            # Workers have sessions of their own and die with their parent.
            with contextlib.suppress(ProcessLookupError):
                if process.poll() is None and reason:
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for what, engine in owed:
        table.add(Row(what, engine, None, reason or _last_line(log, process.returncode), FAILED))


def _forward(stream: Any, lines: queue.SimpleQueue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _last_line(log: Path, status: int) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"ended with status {status}: {lines[-1][:500] if lines else 'no output'}"


def check(place: Place, seconds: float, wanted: tuple[str, ...], out: Path | None) -> int:
    """Run the steps, print the table, and return the exit code."""
    end = time.monotonic() + seconds
    began = time.monotonic()
    log = (out or place.work) / "steps.log"
    log.unlink(missing_ok=True)
    table = Table(out)
    has_device = True
    for step in (step for step in STEPS if not wanted or step.name in wanted):
        left = end - time.monotonic()
        if step.needs_gpu and not has_device:
            for what, engine in step.rows:
                table.add(Row(what, engine, None, "", NO_DEVICE))
        elif left < 2:
            for what, engine in step.rows:
                table.add(Row(what, engine, None, "not run: the time is up", FAILED))
        else:
            run_step(step, place, table, min(step.seconds, left), log)
        if step.name == "device":
            has_device = not any(row.status == NO_DEVICE for row in table.rows)
    code = table.exit_code()
    meaning = {0: "all worked", 1: "something failed", 3: "all worked, but there is no device"}[code]
    print(f"\n{meaning}; {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    if code == 1 and out is None:
        print("The end of the steps' log (all of it is kept where the variable OUT names a folder):")
        print("\n".join(log.read_text(errors="replace").splitlines()[-40:]), flush=True)
    return code


def run_here(step: Step, place: Place) -> None:
    """Run a step in this process; the last line of the log says why it cannot be finished."""
    from recon3d.errors import Recon3DError

    try:
        step.run(place)
    except Recon3DError as error:
        sys.exit(f"{getattr(error, 'log_tail', '')}\n{one_line(error)}")
    except CheckError as error:
        sys.exit(str(error))


def main() -> None:
    """Run one step, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the pack's data folder")
    parser.add_argument("--work", type=Path, required=True, help="folder for what the steps make")
    parser.add_argument("--seconds", type=float, default=460)
    parser.add_argument("--only", nargs="*", default=(), choices=[step.name for step in STEPS])
    parser.add_argument("--step", choices=[step.name for step in STEPS], help="run one step in this process")
    given = parser.parse_args()
    place = Place(given.data.resolve(), given.work.resolve())
    if given.step:
        die_with_parent()
        run_here(next(step for step in STEPS if step.name == given.step), place)
        return
    out = Path(os.environ["OUT"]).resolve() if os.environ.get("OUT") else None
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    sys.exit(check(place, given.seconds, tuple(given.only), out))


if __name__ == "__main__":
    main()

"""What the tasks of a run take: measured on two small sets, and foretold for a larger one.

``python -m tests.benchmarks.scale_tasks KEPT`` runs every stage on 20 and on 50 photos of the rock, one task
after the other in one process, and writes each task's CPU-seconds, bytes read and written, and bytes of the
files that the task before it read, too, to scale_tasks.json. Texturing is run on the smaller set repeated
side by side, with as many triangles for all copies as for one: what it does alone depends on the triangles
and on how many charts they fall into, and 50 photos say nothing of that. It also measures what Dask needs for
a task that does nothing, how the time of mapping grows with the images, and what reading a span of a large
cloud and joining such spans take. ``--only 20`` (or ``50``, ``dispatch``, ``mapping``, ``reading``) measures
one of these anew. `tests.benchmarks.scale` replays the table.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recon3d import Pipeline, Project
from recon3d.compute import Cluster, InlineContext
from recon3d.compute.reading import declared_reads
from recon3d.compute.usage import Usage
from recon3d.io.ply import ply_vertex_count, read_mesh, write_mesh
from recon3d.layout import MESH, POINT_CLOUD, images_folder
from recon3d.options import resolve_options
from recon3d.stage_table import STAGES, Stage
from recon3d.stages.cloud_reading import SPAN, joined_spans, thinned_span
from recon3d.stages.voxel_sums import VoxelSums
from recon3d.surface.simplification import simplify, with_attributes
from recon3d.types import Mesh, PointCloud, Scene
from tests.benchmarks.blocks import made_up_cloud
from tests.benchmarks.memory import repeated as repeated_scene
from tests.benchmarks.retrieval import FEATURES, video_frames
from tests.benchmarks.sets import DATA
from tests.benchmarks.simulated_cluster import Task

TABLE = Path(__file__).with_name("scale_tasks.json")
_QUALITY = "medium"
#: Consecutive photos of the rock.
_IMAGES = (20, 50)
#: Copies of the smaller set that are textured.
_COPIES = (8, 32)
#: Tasks without work that are sent to two workers.
_EMPTY = 1000
#: Frames of the bust, and how many of them are mapped.
_FRAMES, _MAPPED = 180, (30, 45, 90)
#: The mapper's calls; how their time grows is measured for itself.
MAPPING = "place"
#: Larger sets cut the work of these among tasks, for so many views each.
_GROUPED = {"see_through": 64}
#: The work of these depends on the triangles that are wanted, which are the same for any number of images.
_BOUNDED = (
    *("thin_points", "start_surface", "make_surface", "cut_surface", "shape_guesses", "smooth"),
    *("thin_surface", "finish"),
)
#: It reads the whole cloud; of a large one, what tasks have left of its spans.
_READING = "read_points"
#: Points that stay of a cloud, and times as many that are left of all its spans; bytes of such a point.
_KEPT_POINTS, _LEFT, _SUM_BYTES = 12_000_000, 4, 84
#: Spans that are joined to measure it, and points left of each.
_JOINED, _LEFT_EACH = 48, 250_000
#: These are sent by `map` and work on the whole set, each on another part of its result.
_WHOLE = ("merge",)
_REPEATED = "texturing"


@dataclass(frozen=True)
class Call:
    """One call of `StageContext.map` or `StageContext.call` in a run.

    Parameters
    ----------
    stage, function : str
    many : bool
        Whether there are more tasks for more images; else each takes longer.
    memory : float
        Bytes that the stage asks for, for each task.
    tasks : tuple of Task
    """

    stage: str
    function: str
    many: bool
    memory: float
    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class Table:
    """What was measured.

    Parameters
    ----------
    runs : tuple of (int, tuple of Call)
        Images and calls of the small and the larger set.
    repeated : tuple of (int, tuple of Call)
        The same of stages that were run on a set repeated less and more often.
    dispatch : float
        Seconds of client and scheduler for a task.
    mapping : tuple of (int, float)
        Images, and CPU-seconds of sparse_reconstruction.
    points : float
        Of the cloud, for each image.
    span, joining : float
        CPU-seconds to read a span of a large cloud, and to join a million points of spans.
    """

    runs: tuple[tuple[int, tuple[Call, ...]], ...]
    dispatch: float
    mapping: tuple[tuple[int, float], ...]
    repeated: tuple[tuple[int, tuple[Call, ...]], ...] = ()
    points: float = 0.0
    span: float = 0.0
    joining: float = 0.0

    @property
    def exponent(self) -> float:
        """The power of the images with which the time of mapping grows, by the two largest sets."""
        (few, before), (many, after) = self.mapping[-2:]
        return math.log(after / before) / math.log(many / few)

    @classmethod
    def read(cls, path: Path = TABLE) -> Table:
        """Read the table."""
        kept = json.loads(path.read_text())
        runs, repeated = (
            tuple((run["images"], tuple(map(_call, run["calls"]))) for run in kept[key])
            for key in ("runs", "repeated")
        )
        mapping = tuple((int(images), float(seconds)) for images, seconds in kept["mapping"])
        points = kept["runs"][-1]["points"] / kept["runs"][-1]["images"]
        return cls(runs, float(kept["dispatch"]), mapping, repeated, points, *map(float, kept["reading"]))

    def foretell(self, images: int, seed: int = 0) -> list[Call]:
        """The calls of a run with more images.

        Tasks of blocks, views and images are drawn from those measured. What reads the whole set grows
        with the images as from the small set to the larger one, and mapping with its own power. The
        surface has the same number of triangles.

        Parameters
        ----------
        images : int
        seed : int

        Returns
        -------
        list of Call
        """
        rng = np.random.default_rng(seed)
        foretold = self._foretell(self.runs, images, rng)
        return foretold + (self._foretell(self.repeated, images, rng) if self.repeated else [])

    def _foretell(
        self, runs: tuple[tuple[int, tuple[Call, ...]], ...], images: int, rng: np.random.Generator
    ) -> list[Call]:
        (few, small), (many, large) = runs
        earlier = dict(zip(_keys(small), small, strict=True))
        foretold = []
        for key, call in zip(_keys(large), large, strict=True):
            memory, is_many = call.memory, call.many
            if call.function == _READING and self.points * images > _KEPT_POINTS:
                spans, call = self._in_spans(call, images, many)
                foretold.append(spans)
                tasks = call.tasks
            elif (group := _GROUPED.get(call.function, images)) < images:
                is_many = True
                tasks = (_times(call.tasks[0], group / many, group / many),) * -(-images // group)
            elif call.function in _BOUNDED:
                tasks = call.tasks
            elif call.many:
                count = max(1, round(len(call.tasks) * images / many))
                tasks = tuple(call.tasks[k] for k in rng.integers(0, len(call.tasks), count))
            elif call.function == MAPPING:
                tasks = tuple(_times(t, (images / many) ** self.exponent, images / many) for t in call.tasks)
            else:
                before = earlier.get(key, call)
                steps = (images - many) / (many - few)
                pairs = zip(before.tasks, call.tasks, strict=True)
                tasks = tuple(_grown(a, b, steps) for a, b in pairs)
                memory += max(0.0, call.memory - before.memory) * steps
            foretold.append(Call(call.stage, call.function, is_many, memory, tasks))
        return foretold

    def _in_spans(self, call: Call, images: int, measured: int) -> tuple[Call, Call]:
        """Reading of a large cloud, as reading of its spans and joining them."""
        points = self.points * images
        count = int(-(-points // SPAN))
        left = min(points, _LEFT * _KEPT_POINTS)
        read = call.tasks[0].read * images / measured
        spans = (Task(self.span, read / count, left / count * _SUM_BYTES),) * count
        join = Task(self.joining * left / 1e6, left * _SUM_BYTES, call.tasks[0].written)
        return (
            Call(call.stage, "read_span", True, call.memory, spans),
            Call(call.stage, call.function, False, call.memory, (join,)),
        )


def _call(row: dict[str, Any]) -> Call:
    columns = (row["seconds"], row["read"], row["written"], row["again"])
    tasks = tuple(Task(*task) for task in zip(*columns, strict=True))
    many = row["many"] and row["function"] not in _WHOLE
    return Call(row["stage"], row["function"], many, row["memory"], tasks)


def _keys(calls: Sequence[Call]) -> list[tuple[str, str, int]]:
    """Which call of its function in its stage each is."""
    seen: dict[tuple[str, str], int] = {}
    keys = []
    for call in calls:
        name = call.stage, call.function
        seen[name] = seen.get(name, -1) + 1
        keys.append((*name, seen[name]))
    return keys


def _times(task: Task, seconds: float, bytes: float) -> Task:
    return Task(task.seconds * seconds, task.read * bytes, task.written * bytes)


def _grown(small: Task, large: Task, steps: float) -> Task:
    """Goes on from the larger set as from the small one; nothing shrinks."""
    return Task(
        large.seconds + max(0.0, large.seconds - small.seconds) * steps,
        large.read + max(0.0, large.read - small.read) * steps,
        large.written + max(0.0, large.written - small.written) * steps,
    )


# --- measuring -------------------------------------------------------------------------------------


class _Recorder(InlineContext):
    """Runs each task here and notes what it took."""

    def __init__(self, stage: str, calls: list[dict[str, Any]]) -> None:
        super().__init__()
        self._stage, self._calls = stage, calls

    def phase(self, start: float, end: float) -> _Recorder:
        return self

    def _execute(self, fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]], **how: Any) -> list[Any]:
        results, rows = [], []
        files: dict[Path, int] = {}
        for index, call in enumerate(calls):
            earlier, files = files, _declared(fn, call)
            again = sum(size for path, size in files.items() if path in earlier)
            began, before = time.process_time(), _bytes()
            results.append(fn(*call))
            read, written = (after - start for after, start in zip(_bytes(), before, strict=True))
            rows.append((round(time.process_time() - began, 4), read, written, min(again, read)))
            how["on_done"](index + 1)
        seconds, read, written, again = zip(*rows, strict=True)
        name = getattr(fn, "__name__", "task")
        self._calls.append(
            {
                "stage": self._stage,
                "function": name,
                "many": "on_progress" not in how,
                "memory": how["memory"],
                "seconds": seconds,
                "read": read,
                "written": written,
                "again": again,
            }
        )
        return results


def _declared(fn: Callable[..., Any], call: tuple[Any, ...]) -> dict[Path, int]:
    """The files that a call declares to read, and their bytes."""
    files: dict[Path, int] = {}
    for path in declared_reads(fn, call) or ():
        inside = path.rglob("*") if path.is_dir() else (path,)
        files |= {file: file.stat().st_size for file in inside if file.is_file()}
    return files


def _bytes() -> tuple[int, int]:
    """Bytes that this process has read and written so far, from files and caches."""
    rows = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(rows["rchar"]), int(rows["wchar"])


def record(
    kept: Path, images: int, copies: Sequence[int], quality: str = _QUALITY
) -> dict[str, list[dict[str, Any]]]:
    """Run all stages on some photos of the rock, texturing on some numbers of copies of them."""
    folder = kept / f"run-{images}"
    shutil.rmtree(folder, ignore_errors=True)
    project = Project.create(folder / "project")
    project.add_photos(sorted((DATA / "nlesc_rock_1600" / "images").glob("*"))[:images])
    options = resolve_options(quality, {"feature_matching": {"matcher": "retrieval"}})
    made = {"inputs": project.path / "inputs"}
    repeated: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for stage in STAGES:
        if stage.name != _REPEATED:
            made[stage.name] = folder / stage.name
            _record_stage(stage, made, options, images, calls)
    points = ply_vertex_count(made["dense_reconstruction"] / POINT_CLOUD)
    for number in copies:
        views = images * number
        whole = _repeat(made, folder / f"copies-{number}", views)
        textured: list[dict[str, Any]] = []
        _record_stage(_stage(_REPEATED), whole, options, views, textured)
        repeated.append({"images": views, "calls": textured})
    shutil.rmtree(folder)
    return {"runs": [{"images": images, "points": points, "calls": calls}], "repeated": repeated}


def _stage(name: str) -> Stage:
    return next(stage for stage in STAGES if stage.name == name)


def _record_stage(
    stage: Stage, made: dict[str, Path], options: Any, images: int, calls: list[dict[str, Any]]
) -> None:
    made[stage.name].mkdir()
    module = importlib.import_module(f"recon3d.stages.{stage.name}")
    inputs = {name: made[name] for name in stage.needs}
    module.run(inputs, options[stage.name], made[stage.name], _Recorder(stage.name, calls))
    seconds = sum(sum(call["seconds"]) for call in calls if call["stage"] == stage.name)
    print(f"{images} images: {stage.name:<24}{seconds:>8.1f} CPU-s", flush=True)


def _repeat(made: dict[str, Path], folder: Path, views: int) -> dict[str, Path]:
    """The inputs of texturing, side by side, with as many triangles as one of them."""
    names = ("frame_extraction", "sparse_reconstruction", "mesh_generation", _REPEATED)
    whole = {name: folder / name for name in names}
    photos = images_folder(whole["frame_extraction"])
    photos.mkdir(parents=True)
    scene = Scene.load(made["sparse_reconstruction"])
    row = repeated_scene(scene, images_folder(made["frame_extraction"]), photos, views)
    row.save(whole["sparse_reconstruction"])
    one = read_mesh(made["mesh_generation"] / MESH)
    copies = len(row) // len(scene)
    steps = [row.views[n * len(scene)].center - row.views[0].center for n in range(copies)]
    vertices = np.concatenate([one.vertices + step for step in steps])
    faces = np.concatenate([one.faces + len(one.vertices) * n for n in range(copies)]).astype(np.int32)
    fewer = simplify(Mesh(vertices, faces), len(one))
    colors = None if one.colors is None else np.tile(one.colors, (copies, 1))
    whole["mesh_generation"].mkdir()
    mesh = with_attributes(fewer, PointCloud(vertices, None, colors))
    write_mesh(whole["mesh_generation"] / MESH, mesh)
    return whole


def reading_seconds(kept: Path) -> tuple[float, float]:
    """CPU-seconds to read a span of a large cloud, and to join a million points of spans."""
    folder = kept / "cloud"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    made_up_cloud(folder, 2 * SPAN)
    rng = np.random.default_rng(0)
    began = time.process_time()
    thinned_span(folder, (SPAN, 2 * SPAN), _LEFT_EACH)
    span = time.process_time() - began
    shutil.rmtree(folder)
    # Neighbouring spans have a half of their places in common.
    pieces = []
    for number in range(_JOINED):
        places = rng.random((_LEFT_EACH, 3)) * (1, 1, 0)
        places[:, 0] += 0.5 * number
        cloud = PointCloud(places, np.zeros((_LEFT_EACH, 3), np.float32), np.zeros((_LEFT_EACH, 3), np.uint8))
        starts = np.arange(0, 4 * _LEFT_EACH + 1, 4, dtype=np.int64)
        pieces.append(VoxelSums.of(cloud, starts, np.zeros(4 * _LEFT_EACH, np.int32)))
    total = _JOINED * _LEFT_EACH
    began = time.process_time()
    joined_spans(pieces, 0.0, total // _LEFT)
    joining = (time.process_time() - began) / total * 1e6
    print(f"a span: {span:.1f} CPU-s; joining: {joining:.2f} CPU-s for a million points", flush=True)
    return round(span, 2), round(joining, 3)


def dispatch_seconds() -> float:
    """CPU-seconds of client and scheduler, which share this process, for a task that does nothing."""
    cluster = Cluster(workers=2)
    try:
        times = []
        for _ in range(3):
            began = time.process_time()
            cluster.execute(
                abs,
                [(k,) for k in range(_EMPTY)],
                names=[str(k) for k in range(_EMPTY)],
                cancelled=threading.Event(),
                usage=Usage(),
                on_done=lambda count: None,
            )
            times.append((time.process_time() - began) / _EMPTY)
        return statistics.median(times)
    finally:
        cluster.close()


def mapping_seconds(kept: Path, images: int) -> float:
    """CPU-seconds of sparse_reconstruction of some frames of the bust."""
    folder = kept / f"mapped-{images}"
    shutil.rmtree(folder, ignore_errors=True)
    frames = [frame for k, frame in enumerate(video_frames()) if k % (_FRAMES // images) == 0]
    photos = []
    for k, frame in enumerate(frames):
        photos.append(kept / f"mapped-{images}-{k:04d}.png")
        cv2.imwrite(str(photos[-1]), frame)
    project = Project.create(folder)
    project.add_photos(photos)
    options: dict[str, Any] = {"feature_extraction": FEATURES, "feature_matching": {"matcher": "retrieval"}}
    Pipeline("low", **options).run(project, until="sparse_reconstruction")
    manifest = project.artifacts["sparse_reconstruction"].manifest
    print(f"{images} images mapped, {manifest.counts['registered']} placed: {manifest.cpu_seconds:.1f} CPU-s")
    shutil.rmtree(folder)
    for photo in photos:
        photo.unlink()
    return float(manifest.cpu_seconds)


def main() -> None:
    """Measure, and write the table."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("kept", type=Path)
    parser.add_argument("--only", choices=(*map(str, _IMAGES), "dispatch", "mapping", "reading"))
    given = parser.parse_args()
    given.kept.mkdir(parents=True, exist_ok=True)
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {"runs": [], "repeated": []}
    for images in _IMAGES:
        if given.only in (None, str(images)):
            record(given.kept, 5, (1,), "low")  # compiles all kernels and loads all modules
            measured = record(given.kept, images, _COPIES if images == _IMAGES[0] else ())
            others = [run for run in table["runs"] if run["images"] != images]
            table["runs"] = sorted([*others, *measured["runs"]], key=lambda run: run["images"])
            table["repeated"] = measured["repeated"] or table["repeated"]
    if given.only in (None, "dispatch"):
        table["dispatch"] = round(dispatch_seconds(), 5)
    if given.only in (None, "mapping"):
        table["mapping"] = [[n, round(mapping_seconds(given.kept, n), 1)] for n in _MAPPED]
    if given.only in (None, "reading"):
        table["reading"] = reading_seconds(given.kept)
    TABLE.write_text(json.dumps(table, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

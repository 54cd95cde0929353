"""Order, caching, resuming and failing of runs, with stages small enough to count their work."""

from __future__ import annotations

import contextlib
import errno
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from recon3d import events as ev
from recon3d import pipeline as pl
from recon3d.compute import Cluster, StageContext
from recon3d.errors import Cancelled, InputError, OptionError, ProjectError, Recon3DError, StageError
from recon3d.io.atomic import atomic_path
from recon3d.layout import (
    MANIFEST,
    NORMAL_MAP,
    Frame,
    FrameList,
    Registration,
    WorldFrame,
    frame_list_file,
    write_frame_list,
    write_registration,
)
from recon3d.preflight.result import InputCheck
from recon3d.project import Project
from recon3d.stage_table import STAGE_NAMES, STAGES, StageName

ITEMS = ("a", "b", "c")


def produce(item: tuple[str, str]) -> str:
    """The work of one item, in a worker: one line a time that it is done."""
    folder, name = Path(item[0]), item[1]
    with open(folder.parent.parent / "work-done.txt", "a") as log:
        log.write(f"{folder.name.split('-')[0]} {name}\n")
    if (folder.parent.parent / f"slow-{name}").exists():
        time.sleep(30)
    with atomic_path(folder / f"{name}.txt") as path:
        path.write_text(name)
    return name


@dataclass(frozen=True)
class Items:
    items: int


class SmallStages:
    """Stages that write a file an item, and can be told to fail."""

    def __init__(self) -> None:
        self.failure: dict[str, BaseException] = {}
        self.versions: dict[str, int] = {}

    def load(self, name: str) -> Any:
        stage = next(stage for stage in STAGES if stage.name == name)

        def run(inputs: Mapping[str, Path], options: Any, out: Path, context: StageContext) -> None:
            assert set(inputs) == set(stage.needs)
            assert all(path.is_dir() for path in inputs.values())
            missing = [name for name in ITEMS if not (out / f"{name}.txt").exists()]
            context.map(produce, [(str(out), n) for n in missing], names=missing, done=3 - len(missing))
            if stage.name in self.failure:
                raise self.failure[stage.name]
            context.count(Items(len(ITEMS)))
            if stage.name == "sparse_reconstruction":
                (out / "models" / "0").mkdir(parents=True, exist_ok=True)
                (out / "models" / "0" / "cameras.bin").write_bytes(b"cameras")
                from recon3d.types import Camera, Scene, View

                Scene((View("x.jpg", Camera("PINHOLE", 4, 3, (4, 4, 2, 1.5)), np.eye(4)),)).save(out)
                write_registration(out, Registration((), WorldFrame("given", "", "given")))
            for source, _ in stage.publishes.values():
                if not (out / source).exists():
                    (out / source).write_text(stage.name)
            if stage.name == "texturing" and options.normal_map == "on":
                (out / NORMAL_MAP).write_text("normals")

        return SimpleNamespace(VERSION=self.versions.get(stage.name, 1), run=run)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> SmallStages:
    stages = SmallStages()
    for user in ("plan", "pipeline", "execution"):
        monkeypatch.setattr(f"recon3d.pipeline.{user}.load_stage", stages.load)
    # One photo of noise is enough for these stages, and not for the check (tests/preflight).
    good = InputCheck("good", ("fine",), (), (), (), "", 1, 0.0)
    monkeypatch.setattr("recon3d.pipeline.execution.check_project", lambda *_, **__: good)
    monkeypatch.setattr("recon3d.pipeline.execution.machine_factors", lambda *_, **__: {})
    return stages


class KeptWorkers(Cluster):
    """A cluster that the next run finds again, unless the one before ended its worker."""

    def close(self) -> None:
        if any(process.poll() is not None for process in self._engine._processes):
            super().close()


@pytest.fixture(scope="module")
def kept() -> Iterator[Callable[..., Cluster]]:
    made: list[KeptWorkers] = []
    # Workers die with the thread that started them; that of a run ends with it.
    with ThreadPoolExecutor(1) as starter:

        def get(*_: Any, **__: Any) -> Cluster:
            if not made or made[-1].closed:
                made.append(starter.submit(KeptWorkers, workers=1).result())
            return made[-1]

        yield get
        for cluster in made:
            Cluster.close(cluster)


@pytest.fixture
def own_workers() -> None:
    """For a test whose runs start workers and end them, as runs do."""


@pytest.fixture(autouse=True)
def _workers(
    kept: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if "own_workers" not in request.fixturenames:
        monkeypatch.setattr("recon3d.pipeline.execution.Cluster", kept)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    made = Project.create(tmp_path / "p")
    made.add_photos(tmp_path / "one.png")
    return made


def _workers_of_this_process() -> set[int]:
    found = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE and "dask_worker" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


def _ran(project: Project) -> list[str]:
    """Stages that did work since the last call, with repetitions."""
    log = project.path / "work-done.txt"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return [line.split()[0] for line in lines]


def _statuses(project: Project) -> list[str]:
    return [stage.status for stage in project.runs[-1].state.stages.values()]


def test_a_second_run_does_nothing_and_a_changed_option_runs_what_follows(
    project: Project, small: SmallStages
) -> None:
    results = pl.Pipeline("low").run(project)
    assert sorted(set(_ran(project))) == sorted(STAGE_NAMES)
    assert results.mesh is not None
    assert results.mesh.read_text() == "mesh_generation"
    assert results.report is not None
    assert project.runs[-1].state.status == "completed"

    started = time.monotonic()
    pl.Pipeline("low").run(project)
    assert time.monotonic() - started < 2  # no worker was started
    assert _ran(project) == []
    assert _statuses(project) == ["skipped"] * 7

    pl.Pipeline("low", mesh_generation={"max_faces": 999}).run(project)
    assert set(_ran(project)) == {"mesh_generation", "texturing"}
    small.versions["texturing"] = 2
    pl.Pipeline("low", mesh_generation={"max_faces": 999}).run(project)
    assert set(_ran(project)) == {"texturing"}
    pl.Pipeline("low").run(project, rerun_from="texturing")
    assert set(_ran(project)) == {"texturing"}


def test_running_a_part_and_then_the_rest(project: Project, small: SmallStages) -> None:
    results = pl.Pipeline("low").run(project, until="sparse_reconstruction")
    assert set(_ran(project)) == set(STAGE_NAMES[:4])
    assert results.sparse is not None
    assert results.transforms is not None
    assert results.mesh is None
    pl.Pipeline("low").run(project)
    assert set(_ran(project)) == set(STAGE_NAMES[4:])


def test_frames_that_cannot_be_read_only_cost_the_time_left(project: Project, small: SmallStages) -> None:
    pl.Pipeline("low").run(project, until="frame_extraction")
    (extracted,) = project.path.glob("artifacts/frame_extraction-*")
    frame_list_file(extracted).mkdir()  # it is there and cannot be read
    pl.Pipeline("low").run(project)
    state = project.runs[-1].state
    assert (state.status, state.foretold) == ("completed", {})


def _extracted(project: Project) -> None:
    """Frames that the time left can be foretold from."""
    pl.Pipeline("low").run(project, until="frame_extraction")
    (extracted,) = project.path.glob("artifacts/frame_extraction-*")
    rows = tuple(
        Frame(f"{k}.jpg", "photo", f"{k}.jpg", None, 640, 480, None, None, None, 0) for k in range(9)
    )
    write_frame_list(extracted, FrameList(rows))
    manifest = json.loads((extracted / MANIFEST).read_text())
    (extracted / MANIFEST).write_text(json.dumps(manifest | {"counts": {"scanned": 0}}))


def _foretold(project: Project, until: StageName, **options: Any) -> dict[str, float]:
    """What a run foretells first."""
    said: list[ev.Event] = []
    pl.Pipeline("low", **options).run(project, until=until, on_event=said.append)
    told = [event for event in said if isinstance(event, ev.TimesForetold)]
    return told[0].seconds if told else {}


def test_a_run_that_looks_at_no_inputs_is_foretold_by_the_speed_of_the_machine(
    project: Project, small: SmallStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those with known cameras, and those that continue after their cameras were found."""
    _extracted(project)
    known = _foretold(project, "feature_extraction")
    fast = {**dict.fromkeys(STAGE_NAMES, 1.0), "texturing": 0.5}
    monkeypatch.setattr("recon3d.pipeline.execution.machine_factors", lambda *_, **__: fast)
    small.versions["feature_extraction"] = 2
    told = _foretold(project, "feature_extraction")
    assert told["texturing"] == pytest.approx(0.5 * known["texturing"], abs=0.01)
    assert {**told, "texturing": 0} == {**known, "texturing": 0}


def test_what_may_run_elsewhere_is_not_foretold_by_the_prices_of_these_cpus(
    project: Project, small: SmallStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    _extracted(project)
    monkeypatch.setattr("recon3d.pipeline.execution._gpu_engines", lambda *_: ("recon3d",))
    own = _foretold(project, "feature_extraction")
    assert set(STAGE_NAMES) - set(own) == {"dense_reconstruction"}
    monkeypatch.setattr("recon3d.pipeline.execution._gpu_engines", lambda *_: ("recon3d", "colmap"))
    small.versions["feature_extraction"] = 2
    both = _foretold(project, "feature_extraction")
    assert set(STAGE_NAMES) - set(both) == {"feature_extraction", "feature_matching", "dense_reconstruction"}
    # Nor is what other machines do by the speed of this one.
    small.versions["feature_extraction"] = 3
    assert _foretold(project, "feature_extraction", scheduler="tcp://127.0.0.1:1") == {}


def test_a_failed_stage_keeps_what_was_finished(project: Project, small: SmallStages) -> None:
    small.failure["mesh_generation"] = ValueError("impossible")
    with pytest.raises(StageError, match="impossible") as caught:
        pl.Pipeline("low").run(project)
    assert caught.value.stage == "mesh_generation"
    assert project.results.point_cloud is not None
    assert project.results.report is not None
    state = project.runs[-1].state
    assert state.status == "failed"
    assert state.stages["mesh_generation"].error is not None
    _ran(project)
    del small.failure["mesh_generation"]
    pl.Pipeline("low").run(project)
    assert _ran(project) == ["texturing"] * 3  # the mesh's items were whole already


@pytest.mark.parametrize("cause", [SystemExit(3), KeyboardInterrupt(), MemoryError("atlas")])
def test_whatever_ends_the_run_is_its_error(
    project: Project, small: SmallStages, cause: BaseException
) -> None:
    small.failure["feature_matching"] = cause
    run = pl.Pipeline("low").start(project)
    with pytest.raises(StageError, match=type(cause).__name__) as caught:
        run.wait()
    assert caught.value.stage == "feature_matching"
    assert not run.running
    assert run.state.status == "failed"
    with project.lock(patience=0):
        pass
    assert project.results.report is not None


def test_an_end_that_cannot_even_be_told_is_no_success(
    project: Project, small: SmallStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    small.failure["frame_extraction"] = ValueError("first")
    monkeypatch.setattr("recon3d.pipeline.run.explain", full)
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    run = pl.Pipeline("low").start(project)
    with pytest.raises(StageError, match="without a result"):
        run.wait()
    with project.lock(patience=0):
        pass


def test_a_run_does_not_wait_for_itself(project: Project, small: SmallStages) -> None:
    runs: list[Any] = []

    def wait(event: ev.Event) -> None:
        if event.type == "stage_completed":
            runs[0].wait()

    runs.append(pl.Pipeline("low").start(project, until="frame_extraction", on_event=wait))
    with pytest.raises(StageError, match="cannot wait for its own end"):
        runs[0].wait(timeout=60)


def test_a_full_disk_is_explained(project: Project, small: SmallStages) -> None:
    small.failure["texturing"] = OSError(errno.ENOSPC, "No space left on device", "atlas.png")
    with pytest.raises(StageError, match="disk space") as caught:
        pl.Pipeline("low").run(project)
    assert "Free space" in caught.value.hint


def test_cancelling_keeps_finished_items(project: Project, small: SmallStages) -> None:
    (project.path / "slow-c").write_text("")
    pipeline = pl.Pipeline("low", workers=1)
    run = pipeline.start(project)
    while not list(project.path.glob("work/*/b.txt")):
        assert run.running
        time.sleep(0.1)
    run.cancel()
    with pytest.raises(Cancelled):
        run.wait(timeout=10)
    assert project.runs[-1].state.status == "cancelled"
    (project.path / "slow-c").unlink()
    _ran(project)
    pipeline.run(project, until="frame_extraction")
    assert _ran(project) == ["frame_extraction"]


def test_a_second_writer_is_refused_while_a_run_goes_on(project: Project, small: SmallStages) -> None:
    (project.path / "slow-a").write_text("")
    run = pl.Pipeline("low", workers=1).start(project)
    while not list(project.path.glob("work-done.txt")):
        assert run.running
        time.sleep(0.1)
    with pytest.raises(ProjectError, match="Another process"):
        pl.Pipeline("low").run(project)
    run.cancel()
    with pytest.raises(Cancelled):
        run.wait(timeout=10)


def test_a_project_without_input_says_so(tmp_path: Path, small: SmallStages) -> None:
    project = Project.create(tmp_path / "empty")
    with pytest.raises(InputError, match="no input"):
        pl.Pipeline("low").run(project)
    assert isinstance(ev.read_events(project.runs[-1].folder / "events.jsonl")[-1], ev.RunFailed)


@pytest.mark.usefixtures("own_workers")
def test_manifests_tell_what_was_done(project: Project, small: SmallStages) -> None:
    before = _workers_of_this_process()
    pl.Pipeline("low", seed=5).run(project, until="feature_extraction")
    assert _workers_of_this_process() <= before
    manifest = project.artifacts["feature_extraction"].manifest
    assert manifest.counts == {"items": 3}
    assert manifest.seed == 5
    assert manifest.engine == "cpu"
    assert manifest.peak_memory > 10_000_000
    assert manifest.options["max_features"] == 3000
    assert manifest.inputs == {"frame_extraction": project.artifacts["frame_extraction"].manifest.fingerprint}


def test_cleaning_keeps_finished_artifacts_unless_asked(project: Project, small: SmallStages) -> None:
    pl.Pipeline("low").run(project, until="feature_extraction")
    pl.Pipeline("low", feature_extraction={"max_features": 77}).run(project, until="feature_extraction")
    (project.path / "work" / "texturing-0").mkdir(parents=True)
    (project.path / "work" / "texturing-0" / "big.bin").write_bytes(b"0" * 5000)
    assert project.clean().freed >= 5000
    assert len(project.store.all()) == 3
    assert not list((project.path / "work").iterdir())
    project.clean(superseded=True)
    assert project.artifacts["feature_extraction"].manifest.options["max_features"] == 77
    assert len(project.store.all()) == 2


def test_a_result_that_was_lost_is_published_again(project: Project, small: SmallStages) -> None:
    pipeline = pl.Pipeline("low")
    results = pipeline.run(project)
    assert results.mesh is not None
    results.mesh.unlink()
    pipeline.run(project)
    assert results.mesh is not None


def test_what_a_killed_run_was_writing_goes_and_what_is_not_a_run_s_stays(
    project: Project, small: SmallStages
) -> None:
    arriving, mine = project.path / "work" / ".tmp-1bcd21c7", project.path / "work" / "mine.txt"
    arriving.mkdir(parents=True)
    (arriving / "half").write_text("half")
    mine.write_text("mine")
    copied = project.results.folder / ".tmp-5d1f0a33"
    copied.parent.mkdir()
    copied.write_text("half")
    pl.Pipeline("low").run(project, until="frame_extraction")
    assert [path.name for path in (project.path / "work").iterdir()] == ["mine.txt"]
    assert not copied.exists()


def test_results_that_a_run_does_not_reach_are_kept_and_called_outdated(
    project: Project, small: SmallStages
) -> None:
    results = pl.Pipeline("low").run(project)
    assert results.outdated == frozenset()
    said: list[Any] = []
    fewer = pl.Pipeline("low", mesh_generation={"max_faces": 4321})
    fewer.run(project, until="mesh_generation", on_event=said.append)
    assert results.outdated == {"textured_mesh"}
    assert results.textured_mesh is not None
    assert "textured_mesh.glb (outdated)" in str(results)
    assert said[-1].type == "run_completed"
    assert set(said[-1].results) == {"point_cloud", "mesh", "sparse", "transforms", "report"}
    assert "did not reach them: textured mesh" in (results.folder / "report.html").read_text()
    # The same options again: what was not reached is still what the run would make.
    pl.Pipeline("low").run(project, until="mesh_generation")
    assert results.outdated == frozenset()
    fewer.run(project)
    assert results.outdated == frozenset()
    assert "did not reach" not in (results.folder / "report.html").read_text()


def test_results_of_other_inputs_are_outdated_when_a_run_fails(
    project: Project, small: SmallStages, tmp_path: Path
) -> None:
    pl.Pipeline("low").run(project)
    Image.new("RGB", (64, 48), "red").save(tmp_path / "another.png")
    project.add_photos(tmp_path / "another.png")
    small.failure["dense_reconstruction"] = ValueError("broken")
    with pytest.raises(StageError):
        pl.Pipeline("low").run(project)
    assert project.results.outdated == {"point_cloud", "mesh", "textured_mesh"}
    small.failure.clear()
    pl.Pipeline("low").run(project)
    assert project.results.outdated == frozenset()


def _refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the check find that the inputs make no model."""
    hopeless = InputCheck("hopeless", ("All is dark.",), (), (), (), "", 1, 0.0)
    monkeypatch.setattr("recon3d.pipeline.execution.check_project", lambda *_, **__: hopeless)


@pytest.mark.parametrize("end", ["refused", "first stage", "no input"])
def test_a_run_of_other_inputs_that_makes_nothing_leaves_nothing_called_current(
    project: Project, small: SmallStages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str
) -> None:
    good = SimpleNamespace(level="good", sentences=("Fine.",), advice=(), doubts=())
    monkeypatch.setattr("recon3d.pipeline.execution.judge_artifacts", lambda *_, **__: good)
    results = pl.Pipeline("low").run(project)
    known, page = results.folder / "report.json", results.folder / "report.html"
    made = set(results.files()) - {"report"}
    assert "Verdict: good" in page.read_text()
    if end == "no input":
        project.remove_inputs(project.inputs)
    else:
        Image.new("RGB", (64, 48), "red").save(tmp_path / "another.png")
        project.add_photos(tmp_path / "another.png")
    if end == "refused":
        _refuse(monkeypatch)
    small.failure["frame_extraction"] = ValueError("broken")
    with pytest.raises(Recon3DError):
        pl.Pipeline("low").run(project)
    assert results.outdated == made == {"sparse", "transforms", "point_cloud", "mesh", "textured_mesh"}
    told = json.loads(known.read_text())
    assert (told["verdict"], told["stages"], len(told["inputs"])) == (None, [], len(project.inputs))
    assert set(told["outdated"]) == made  # there is no normal map
    assert "Verdict" not in page.read_text()
    assert "No stage of the run is done" in page.read_text()
    assert ("All is dark." in page.read_text()) == (end == "refused")
    assert ("broken" in page.read_text()) == (end == "first stage")


def test_a_run_that_makes_nothing_of_the_same_inputs_leaves_the_report(
    project: Project, small: SmallStages
) -> None:
    results = pl.Pipeline("low").run(project)
    before = (results.folder / "report.json").read_bytes()
    small.failure["frame_extraction"] = ValueError("broken")
    with pytest.raises(StageError):
        pl.Pipeline("low").run(project, rerun_from="frame_extraction")
    assert (results.folder / "report.json").read_bytes() == before


def test_a_run_calls_outdated_what_it_has_not_reached_before_it_works(
    project: Project, small: SmallStages
) -> None:
    """So that one that is killed leaves nothing that is called current."""
    results = pl.Pipeline("low").run(project)
    seen: list[frozenset[str]] = []

    def look(event: ev.Event) -> None:
        if event.type == "stage_started":
            seen.append(results.outdated)

    pl.Pipeline("low", dense_reconstruction={"max_image_size": 321}).run(project, on_event=look)
    assert seen == [{"point_cloud", "mesh", "textured_mesh"}] * 3
    assert results.outdated == frozenset()


def test_a_run_that_finds_its_stages_made_still_tells_what_it_did_not_reach(
    project: Project, small: SmallStages
) -> None:
    results = pl.Pipeline("low").run(project)
    _ran(project)
    fewer = pl.Pipeline("low", mesh_generation={"max_faces": 4321})
    fewer.run(project, until="dense_reconstruction")
    assert _ran(project) == []
    assert results.outdated == {"mesh", "textured_mesh"}
    pl.Pipeline("low").run(project, until="dense_reconstruction")
    assert results.outdated == frozenset()


def test_a_run_that_makes_nothing_claims_nothing_of_results_whose_report_is_damaged(
    project: Project, small: SmallStages
) -> None:
    results = pl.Pipeline("low").run(project)
    (results.folder / "report.json").write_text("{")
    project.remove_inputs(project.inputs)
    with pytest.raises(InputError):
        pl.Pipeline("low").run(project)
    assert results.outdated == frozenset()
    assert (results.folder / "report.json").read_text() == "{"


def test_a_normal_map_is_a_result_of_the_runs_that_bake_one(project: Project, small: SmallStages) -> None:
    on, off = (pl.Pipeline("low", texturing={"normal_map": value}) for value in ("on", "off"))
    results = off.run(project)
    assert "normal_map" not in results.files()
    on.run(project)
    assert results.files()["normal_map"].read_text() == "normals"
    (results.folder / NORMAL_MAP).unlink()
    on.run(project)
    assert results.normal_map is not None
    # What belongs to another model goes, also where that model is only taken up again.
    off.run(project)
    assert results.normal_map is None
    (results.folder / NORMAL_MAP).write_text("of a run that was killed")
    off.run(project)
    assert results.normal_map is None
    _ran(project)
    on.run(project)
    assert results.normal_map is not None
    assert _ran(project) == []


@pytest.mark.parametrize("content", ["", "[]", '{"stages": 3, "left_out": 3}'])
def test_a_report_that_is_damaged_is_written_anew(project: Project, small: SmallStages, content: str) -> None:
    pipeline = pl.Pipeline("low")
    report = pipeline.run(project).folder / "report.json"
    known = report.read_text()
    report.write_text(content)
    pipeline.run(project)
    assert json.loads(report.read_text()).keys() == json.loads(known).keys()


def test_mistakes_are_found_before_anything_runs(project: Project) -> None:
    with pytest.raises(OptionError, match="engine"):
        pl.Pipeline(engine="gpu")
    with pytest.raises(OptionError, match="meshing"):
        pl.Pipeline().run(project, until="meshing")
    with pytest.raises(OptionError, match="workers"):
        pl.Pipeline(workers=0)

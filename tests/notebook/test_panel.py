"""The progress panel on the side of Python."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recon3d.cli.sample import sample_video
from recon3d.events import (
    EventLog,
    Failure,
    RunFailed,
    RunStarted,
    StageCompleted,
    StageFailed,
    StageProgress,
    StageStarted,
    StageState,
    TimesForetold,
)
from recon3d.io.growing_model import GROWING, write_growing
from recon3d.pipeline import Pipeline
from recon3d.project import Project
from recon3d.stage_table import STAGE_NAMES
from recon3d.types import Camera, Scene, SparsePoints, View

pytest.importorskip("ipywidgets", reason="needs recon3d[notebook]")

from recon3d.notebook.panel import Panel, describe, drawing, pictures
from recon3d.notebook.panel.log import LINES, RunLog
from recon3d.viewer.photos import draw_map


def _wait(true: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def _rows(panel: Panel) -> list[Any]:
    return [row.children for row in panel._table.children]


def _picture(tile: pictures.Tile) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(tile.image.value)))


def test_a_run_of_another_process_is_followed_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon3d.notebook.panel.panel._ASK", 0.1)
    project = Project.create(tmp_path / "p")
    log = EventLog(project.path / "runs" / "run-1" / "events.jsonl", "run-1")
    with project.lock():
        log.emit(RunStarted(stages=("frame_extraction", "texturing"), quality="low", version="1"))
        log.emit(TimesForetold(seconds={"frame_extraction": 9, "texturing": 400}))
        log.emit(StageStarted(stage="frame_extraction"))
        panel = Panel(project.runs[-1], interval=0.02)
        assert panel.cancel_button.layout.display == "none"
        log.emit(
            StageCompleted(
                stage="frame_extraction",
                artifact="artifacts/frame_extraction-a",
                seconds=1,
                cpu_seconds=1,
                peak_memory=2_000_000_000,
                counts={"frames": 7},
                fallbacks=(),
            )
        )
        log.emit(StageStarted(stage="texturing"))
        log.emit(StageProgress(stage="texturing", done=3, total=4, unit="views", rate=1, eta=61))
        _wait(lambda: _rows(panel)[1][0].value == 0.75)
        assert [bar.value for bar, _ in _rows(panel)] == [1.0, 0.75]
        assert "2.00 GB" in _rows(panel)[0][1].value
        assert ">p</b> running" in panel._title.value  # the project's name
        assert "so far" in panel._title.value
        # A quarter is left of 400 s, and the quick pace of the rest counts 9/16.
        assert "s so far, about 44 s left" in panel._title.value
        assert _rows(panel)[1][1].value == "3 of 4 views, 1:01 left"
        assert project.runs[-1].running
        assert panel._lines.value == ""  # nobody looks
        panel.log.selected_index = 0
        assert "frame extraction completed in 1.0 s, frames 7" in panel._lines.value
        message = "<b>Compiled</b>"
        log.emit(StageProgress(stage="texturing", done=3, total=4, unit="views", message=message))
        _wait(lambda: "texturing: &lt;b&gt;Compiled" in panel._lines.value)
    panel.join(10)
    assert not project.runs[-1].running
    assert _rows(panel)[1][1].value == "interrupted"
    assert _rows(panel)[1][0].bar_style == "warning"
    assert "Start the pipeline again" in panel._title.value


def test_a_real_run_shows_its_pictures_and_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_INTERVAL", 0.05)
    monkeypatch.setattr(pictures, "_SHARE", 1)
    project = Project.create(tmp_path / "p")
    project.add(sample_video())
    pipeline = Pipeline(
        "low",
        workers=1,
        frame_extraction={"min_frames": 20, "max_frames": 20, "max_image_size": 400},
        feature_extraction={"max_features": 1500},
        dense_reconstruction={"max_image_size": 200},
    )
    run = pipeline.start(project, until="dense_reconstruction")
    panel = Panel(run, interval=0.05)
    shown: dict[str, set[str]] = {name: set() for name in ("frames", "cloud", "maps", "model")}
    while run.running:
        for name, captions in shown.items():
            captions.add(getattr(panel.pictures, name).caption.value)
        time.sleep(0.02)
    run.wait()
    panel.join(10)
    tiles = {name: getattr(panel.pictures, name) for name in shown}
    assert tiles["frames"].caption.value == "Frames: 20"
    assert tiles["cloud"].caption.value.startswith("Cameras: ")
    assert tiles["model"].caption.value == "After dense reconstruction"
    # They came while the run went on: depth maps one by one.
    assert len(shown["maps"]) > 4
    assert {"Frames: 20", tiles["cloud"].caption.value} <= shown["frames"] | shown["cloud"]
    assert _picture(tiles["frames"]).shape[1] > 800
    assert np.ptp(_picture(tiles["maps"])) > 200
    assert panel._lines.value == ""
    panel.log.selected_index = 0
    assert "dense reconstruction completed" in panel._lines.value
    assert set(run.state.foretold) == set(STAGE_NAMES)
    # Another kernel, later: the same.
    again = Panel(Project.open(project.path).runs[-1])
    again.join(10)
    for name, tile in tiles.items():
        assert getattr(again.pictures, name).image.value == tile.image.value
    assert [bar.value for bar, _ in _rows(again)] == [1.0] * 5

    # The next one is cancelled by its button, and keeps what it had.
    run = pipeline.start(project, rerun_from="mesh_generation")
    panel = Panel(run)
    _wait(lambda: run.state.current is not None)
    panel.cancel_button.click()
    assert panel.cancel_button.description == "Cancelling"
    panel.join(30)
    assert run.state.status == "cancelled"
    assert "cancelled" in panel._title.value
    assert panel.pictures.frames.image.value == tiles["frames"].image.value


@pytest.mark.parametrize(("at", "drawn"), [(1, 0.25), (4, 0.95)])
def test_the_bar_of_a_failed_stage_is_never_full(tmp_path: Path, at: int, drawn: float) -> None:
    project = Project.create(tmp_path / "p")
    log = EventLog(project.path / "runs" / "r" / "events.jsonl", "r")
    error = Failure(type="StageError", message="No.")
    log.emit(RunStarted(stages=("feature_matching",), quality="low", version="1"))
    log.emit(StageStarted(stage="feature_matching"))
    log.emit(StageProgress(stage="feature_matching", done=at, total=4, unit="blocks"))
    log.emit(StageFailed(stage="feature_matching", error=error))
    log.emit(RunFailed(error=error))
    panel = Panel(project.runs[-1])
    panel.join(10)
    ((bar, text),) = _rows(panel)
    assert (bar.value, bar.bar_style) == (drawn, "danger")
    assert text.value == "failed, No."


def test_a_run_that_cannot_begin_says_why(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    with project.lock():
        run = Pipeline("low").start(project)
        panel = Panel(run)
        panel.join(10)
    assert "Another process works on" in panel._title.value


def test_a_stage_tells_its_count_its_rest_and_what_it_had_cost() -> None:
    begun = StageState("texturing", "running")
    assert describe(begun) == "starting"  # not "0 of 0"
    counted = replace(begun, done=3, total=8, unit="views", eta=61)
    assert describe(counted) == "3 of 8 views, 1:01 left"
    skipped = StageState("texturing", "skipped", message="up to date", seconds=12.34, peak_memory=2 * 10**9)
    assert describe(skipped) == "up to date, took 12.3 s, 2.00 GB"


def test_the_cloud_grows(tmp_path: Path) -> None:
    work = tmp_path / "sparse_reconstruction-a"
    tile_folder = {"sparse_reconstruction": pictures.StageFolder(work, done=False)}
    shown = pictures.Pictures()
    shown.look(tile_folder, now=True)
    assert shown.cloud.widget.layout.display == "none"
    before = b""
    for cameras in (2, 5):
        write_growing(work / GROWING, _scene(cameras))
        shown.look(tile_folder, now=True)
        assert shown.cloud.caption.value == f"Cameras: {cameras}"
        assert shown.cloud.image.value != before
        before = shown.cloud.image.value
    assert (_picture(shown.cloud)[..., 0] > 150).any()
    (work / GROWING).write_bytes(b"PK\x03\x04 cut off")
    shown.look(tile_folder, now=True)
    assert shown.cloud.image.value == before


def test_of_each_view_the_most_finished_depth_map_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "dense"
    for part, name in (
        (".work/200/planes_0", "a"),
        (".work/200/planes_0", "b"),
        (".work/200/planes_1", "b"),
        (".work/200/raw_maps", "c"),
        (".work/200/depth_maps", "c"),
        (".work/200/depth_maps", ".tmp-d"),
    ):
        (folder / part).mkdir(parents=True, exist_ok=True)
        depth = np.linspace(1, 2, 64 * 48, dtype=np.float32).reshape(48, 64)
        key = {"inverse_depth": 1 / depth} if "planes" in part else {"depth": depth}
        np.savez(folder / part / f"{name}.npz", **key)
    count, chosen = drawing.maps_of(folder, False)
    assert count == 3
    names = [Path(path).relative_to(folder / ".work/200").as_posix() for path, _ in chosen]
    assert names == ["planes_0/a.npz", "planes_1/b.npz", "depth_maps/c.npz"]
    first, last = (draw_map(chosen[i][0]) for i in (0, 2))
    np.testing.assert_allclose(first.astype(int), last, atol=8)
    assert first[0, 0, 2] > first[0, 0, 0]  # near is red (BGR)
    assert first[-1, -1, 0] > first[-1, -1, 2]


def test_the_log_is_the_end_of_what_was_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", "run-1")
    reader = RunLog(tmp_path)
    assert reader.read() == []
    for number in range(LINES + 50):
        message = f"line {number}"
        log.emit(StageProgress(stage="texturing", done=number, total=1000, unit="views", message=message))
    with open(log.path, "ab") as file:
        file.write(b'{"type": "run_star')  # is being written
    assert len(reader.read()) == LINES + 50
    assert reader.read() == []
    (tmp_path / "workers.log").write_text("".join(f"worker {i}\n" for i in range(10_000)))
    lines = reader.text().splitlines()
    assert len(lines) == 2 * LINES + 2
    assert lines[0].endswith("texturing: line 50")
    assert lines[-1] == "worker 9999"


def _scene(cameras: int) -> Scene:
    rng = np.random.default_rng(0)
    camera = Camera("PINHOLE", 64, 48, (50.0, 50.0, 32.0, 24.0))
    views = []
    for i in range(cameras):
        pose = np.eye(4)
        pose[:3, 3] = (i, 0, 5)
        views.append(View(f"{i}.jpg", camera, pose))
    count = 50 * cameras
    points = SparsePoints(
        rng.normal(size=(count, 3)),
        np.full((count, 3), 200, np.uint8),
        np.zeros(count),
        np.zeros(count + 1, np.int64),
        np.zeros(0, np.int32),
    )
    return Scene(tuple(views), points)

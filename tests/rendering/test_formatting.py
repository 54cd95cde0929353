"""How objects show themselves, as text and as HTML, and what tab completion offers."""

from __future__ import annotations

import base64
import io
import os
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import recon3d
from recon3d.errors import InputError
from recon3d.events import EventLog, Failure, RunFailed, RunStarted, StageProgress, StageSkipped, StageStarted
from recon3d.project.artifacts import Artifact, Manifest
from recon3d.rendering.formatting import byte_text, card, columns, count, grid, jpeg_uri
from recon3d.types import Camera, DepthMap, Mesh, PointCloud, Scene, SparsePoints, TexturedMesh, View

EVIL = "<script>alert(1)</script>.jpg"


class _Text(HTMLParser):
    """Words and tags of a piece of HTML, all closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words = ""
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.images: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.images.append(str(dict(attributes)["src"]))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data + " "


def _geometry() -> list[object]:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 3))
    colors = np.full((500, 3), (255, 0, 0), np.uint8)
    camera = Camera("PINHOLE", 64, 48, (60.0, 60.0, 32.0, 24.0))
    view = View(EVIL, camera, np.eye(4))
    starts, nothing = np.zeros(501, np.int64), np.zeros(0, np.int32)
    sparse = SparsePoints(points, colors, np.ones(500), starts, nothing)
    faces = rng.integers(0, 500, (900, 3)).astype(np.int32)
    depth = np.ones((48, 64), np.float32)
    depth[:24] = 0
    return [
        camera,
        view,
        sparse,
        Scene((view,), sparse),
        DepthMap(EVIL, camera, depth, np.zeros((48, 64, 3), np.float32), depth),
        PointCloud(points, colors=colors),
        Mesh(points, faces, colors),
        TexturedMesh(points, faces, points[:, :2].astype(np.float32), faces, np.zeros((8, 8, 3), np.uint8)),
    ]


def _project(folder: Path) -> recon3d.Project:
    photo = folder.parent / f"{folder.name}.jpg"
    Image.fromarray(np.full((60, 80, 3), (0, 200, 0), np.uint8)).save(photo)
    project = recon3d.Project.create(folder)
    project.add_photos(photo)
    return project


def _finish(project: recon3d.Project, stage: str, digest: str = "0" * 16) -> Artifact:
    work = project.store.begin(stage, digest)
    manifest = dict.fromkeys(("stage_version", "seed", "workers", "cpu_seconds", "peak_memory"), 0)
    given = {"stage": stage, "fingerprint": digest, "engine": "cpu", "started": time.time()}
    empty = {"inputs": {}, "options": {}, "versions": {}, "fallbacks": (), "counts": {"frames": 7}}
    return project.store.commit(work, Manifest(**manifest, **given, **empty, seconds=2.0))


@pytest.mark.parametrize("thing", _geometry(), ids=lambda thing: type(thing).__name__)
def test_geometry_tells_its_kind_and_size_in_one_line_and_escapes_names(thing: object) -> None:
    text = repr(thing)
    assert text.startswith(f"<{type(thing).__name__}: ")
    assert "\n" not in text
    assert len(text) < 120
    shown = _Text(thing._repr_html_())  # type: ignore[attr-defined]
    assert type(thing).__name__ in shown.words
    assert "script" not in shown.tags


def test_a_cloud_s_picture_has_its_colours_and_empty_things_have_none() -> None:
    cloud = _geometry()[5]
    assert isinstance(cloud, PointCloud)
    assert repr(cloud) == "<PointCloud: 500 points, colors>"
    (uri,) = _Text(cloud._repr_html_()).images
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
    assert ((picture[..., 0] > 200) & (picture[..., 1] < 60)).mean() > 0.01
    assert _Text(PointCloud(np.zeros((0, 3)))._repr_html_()).images == []
    assert _Text(Scene(())._repr_html_()).images == []


def test_projects_pipelines_options_and_results_show_what_they_hold(tmp_path: Path) -> None:
    project = _project(tmp_path / "statue")
    _finish(project, "frame_extraction")
    assert repr(project).endswith("statue: 1 input, made: frame_extraction>")
    shown = _Text(project._repr_html_())
    assert "1 photo" in shown.words
    assert "frames 7" in shown.words
    results = _Text(project.results._repr_html_())
    assert "nothing yet" in results.words
    assert "nothing yet" in repr(project.results)
    (project.results.folder).mkdir()
    (project.results.folder / "mesh.ply").write_bytes(b"0" * 2500)
    assert "2.5 kB" in _Text(project.results._repr_html_()).words
    pipeline = recon3d.Pipeline("low", texturing={"texture_size": 512})
    assert "texture_size 512 4096" in _Text(pipeline._repr_html_()).words
    assert "512" in _Text(pipeline.options["texturing"]._repr_html_()).words
    assert "frame extraction" in repr(project.artifacts["frame_extraction"])


def test_a_run_tells_where_it_is_and_why_it_ended(tmp_path: Path) -> None:
    project = _project(tmp_path / "p")
    assert project.status == "new"
    log = EventLog(project.path / "runs" / "run-1" / "events.jsonl", "run-1")
    log.emit(RunStarted(stages=("texturing",), quality="low", version="1"))
    log.emit(StageStarted(stage="texturing"))
    log.emit(StageProgress(stage="texturing", done=3, total=4, unit="views"))
    (record,) = project.runs
    # No process holds the project: the run was cut off.
    assert repr(record).startswith("<RunRecord: run-1, interrupted, 75%, texturing")
    assert "texturing interrupted" in _Text(record._repr_html_()).words
    assert project.status == "interrupted"
    with project.lock():
        assert repr(record) == "<RunRecord: run-1, running, 75%, texturing, running, 3 of 4 views>"
        assert project.status == "running"
    log.emit(RunFailed(error=Failure(type="StageError", message=f"No {EVIL}", hint="Look for it.")))
    assert project.status == "failed"
    shown = _Text(record._repr_html_())
    assert EVIL in shown.words
    assert "Look for it." in shown.words
    assert shown.tags.isdisjoint({"script"})


def test_artifacts_are_those_of_the_newest_run_not_the_newest_made(tmp_path: Path) -> None:
    project = _project(tmp_path / "p")
    first, second = (_finish(project, "texturing", digit * 16) for digit in "01")
    assert project.artifacts["texturing"].path == second.path
    log = EventLog(project.path / "runs" / "run-1" / "events.jsonl", "run-1")
    relative = first.path.relative_to(project.path).as_posix()
    log.emit(StageSkipped(stage="texturing", reason="up to date", artifact=relative))
    assert project.artifacts["texturing"].path == first.path


def test_what_is_not_made_yet_is_an_error_that_says_so(tmp_path: Path) -> None:
    project = _project(tmp_path / "p")
    for name in ("scene", "cloud", "mesh"):
        with pytest.raises(InputError, match="no finished"):
            getattr(project, name)


def test_projects_finds_them_and_shows_a_table(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    old = _project(tmp_path / "one" / "old")
    os.utime(old.path / "recon3d.json", (1e9, 1e9))
    new = _project(tmp_path / "a<b>")
    _finish(new, "frame_extraction")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "recon3d.json").write_text("{")
    found = recon3d.projects(tmp_path)
    assert found.names == ["a<b>", "one/old"]
    assert [project.path for project in found] == [new.path, old.path]
    assert found[1].path == found["one/old"].path == found[-1:][0].path == old.path
    lines = repr(found).splitlines()
    assert len(lines) == 4
    assert lines[3].startswith(f"Left out: {broken}")
    assert lines[1].index("new") == lines[2].index("new") == lines[0].index("state")
    shown = _Text(found._repr_html_())
    assert len(shown.images) == 2
    assert "a<b>" in shown.words
    with pytest.raises(KeyError, match="one/old"):
        found["lost"]
    (tmp_path / "empty").mkdir()
    assert "No projects" in repr(recon3d.projects(tmp_path / "empty"))
    with pytest.raises(InputError, match="not a folder"):
        recon3d.projects(tmp_path / "nowhere")


def test_tab_completion_shows_little(tmp_path: Path) -> None:
    def offered(thing: object) -> list[str]:
        return [name for name in dir(thing) if not name.startswith("_")]

    assert offered(recon3d.Pipeline("low").options["texturing"]) == [
        "max_faces",
        "max_image_size",
        "normal_map",
        "seam_levelling",
        "texture_pages",
        "texture_size",
    ]
    project = _project(tmp_path / "p")
    assert "store" not in offered(project)
    assert {"add", "artifacts", "cloud", "mesh", "results", "runs", "scene", "view"} <= set(offered(project))
    assert len(offered(project)) <= 27
    assert offered(project.results)[:3] == ["components", "files", "folder"]
    assert offered(recon3d.Pipeline("low")) == [
        "accept_partial",
        "engine",
        "force",
        "options",
        "performance_report",
        "plan",
        "quality",
        "run",
        "scheduler",
        "seed",
        "start",
        "storage",
        "workers",
    ]


def test_pieces() -> None:
    assert [count(1, "view"), count(2000, "vertex"), count(0, "point")] == [
        "1 view",
        "2,000 vertices",
        "0 points",
    ]
    assert [byte_text(n) for n in (7, 1500, 2.5e9)] == ["7 B", "1.5 kB", "2.5 GB"]
    assert columns(("a", "b"), [("long", "1")]) == "a     b\nlong  1"
    assert "&lt;b&gt;" in card("<b>", ["<i>"])
    assert "<i>" not in grid(["<i>"], [["<i>"]])
    damaged = io.BytesIO(b"no picture")
    assert jpeg_uri(damaged) == ""
    assert jpeg_uri(None) == ""

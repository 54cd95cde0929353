"""Every Python block of the README and the docs runs.

The blocks of a page share one namespace, as a reader would type them. A block after
``<!-- skip: next if(quick, reason="…") -->`` reconstructs a video and runs with ``-m slow`` only; one
after ``<!-- skip: next "reason" -->`` never runs here.
"""

from __future__ import annotations

import shutil
import unittest
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sybil.document import Document
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from recon3d import Project, events, options
from recon3d.layout import Frame, FrameList, write_frame_list
from recon3d.project.artifacts import Manifest
from recon3d.stage_table import STAGE_NAMES
from tests.docs.pages import PAGES, ROOT, name_of
from tests.synthetic.made_project import CAMERAS, made_project

#: Blocks that never run here, by page; see the reason beside each.
NEVER = {
    "docs/tutorials/service.md": 1,
    "docs/how-to/manage-accounts.md": 1,
    "docs/how-to/upload-large-files.md": 1,
    "docs/how-to/use-a-cluster.md": 2,
}
#: Blocks that run with ``-m slow`` only.
SLOW = {"README.md": 1, "docs/tutorials/first-model.md": 2, "docs/tutorials/notebook.md": 3}

_FAST = {
    "frame_extraction": {"max_frames": 20, "min_frames": 20, "max_image_size": 640},
    "feature_extraction": {"max_image_size": 640},
    "dense_reconstruction": {"max_image_size": 160},
    "mesh_generation": {"max_faces": 10_000},
    "texturing": {"texture_size": 512, "max_image_size": 640},
}


def document(page: Path) -> Document:
    return Document.parse(str(page), PythonCodeBlockParser(), SkipParser())


WITH_CODE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the pages speak of: a video, photos, a COLMAP model and finished projects."""
    pytest.importorskip("pythreejs", reason="needs recon3d[notebook]")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "statue.mp4").symlink_to(ROOT / "examples" / "data" / "bust.mp4")
    _known_cameras(tmp_path)
    made_project(tmp_path / "other")
    _finish(made_project(tmp_path / "finished"))
    yield tmp_path
    from matplotlib import pyplot

    pyplot.close("all")
    shutil.rmtree(tmp_path, ignore_errors=True)


def _known_cameras(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "sparse" / "0").mkdir(parents=True)
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 255, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.jpg")
    model = folder / "sparse" / "0"
    (model / "cameras.txt").write_text("1 PINHOLE 64 48 60 60 32 24\n")
    (model / "images.txt").write_text("".join(f"{i + 1} 1 0 0 0 0 0 {i} 1 {i}.jpg\n\n" for i in range(2)))
    (model / "points3D.txt").write_text("")


def _finish(project: Project) -> None:
    """Add what plots and events need: a list of frames, matches, and the log of a run."""
    names = [f"photo_{i}.jpg" for i in range(CAMERAS)]
    frames = tuple(Frame(n, "photo", n, None, 640, 480, 1.0, None, None, 0) for n in names)
    write_frame_list(project.artifacts["frame_extraction"].path, FrameList(frames))
    work = project.store.begin("feature_matching", "4" * 16)
    pairs = np.array([[i, (i + 1) % CAMERAS] for i in range(CAMERAS)])
    np.savez(work / "matches.npz", pairs=pairs, raw=np.full(CAMERAS, 90), inliers=np.full(CAMERAS, 70))
    given: Manifest = project.artifacts["frame_extraction"].manifest
    changes = {"stage": "feature_matching", "fingerprint": "4" * 16}
    project.store.commit(work, given.model_copy(update=changes))
    log = events.EventLog(project.path / "runs" / "1" / "events.jsonl", "1")
    log.emit(events.RunStarted(stages=STAGE_NAMES, quality="low", version="0"))
    for stage in STAGE_NAMES:
        log.emit(events.StageSkipped(stage=stage, reason="up to date"))
    log.emit(events.RunCompleted(results={}, seconds=1.0))


def run(page: Path, *, quick: bool) -> dict[str, int]:
    """Run a page's blocks; count those that ran and those that were skipped."""
    parsed = document(page)
    parsed.namespace["quick"] = quick
    counts = {"ran": 0, "skipped": 0}
    for example in parsed.examples():
        block = isinstance(example.parsed, str)
        try:
            example.evaluate()
            counts["ran"] += block
        except unittest.SkipTest:
            counts["skipped"] += block
    return counts


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_python_blocks_run(page: Path, workspace: Path) -> None:
    counts = run(page, quick=True)
    name = name_of(page)
    assert counts["skipped"] == NEVER.get(name, 0) + SLOW.get(name, 0)
    assert counts["ran"] + counts["skipped"] == page.read_text(encoding="utf-8").count("```python\n")


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in WITH_CODE if name_of(p) in SLOW], ids=name_of)
def test_python_blocks_that_reconstruct_run(
    page: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets = dict.fromkeys(options.presets(), _FAST)
    monkeypatch.setattr(options, "presets", lambda: presets)
    assert run(page, quick=False)["skipped"] == NEVER.get(name_of(page), 0)


def test_the_lists_of_skipped_blocks_name_real_pages() -> None:
    assert {*NEVER, *SLOW} <= {name_of(page) for page in WITH_CODE}

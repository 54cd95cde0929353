"""The notebooks, executed as they are: what their cells show, and what they leave behind."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon3d.io.gltf import read_textured_mesh
from recon3d.project import Project
from recon3d.project.scale import scale_of
from recon3d.stage_table import STAGE_NAMES

nbformat = pytest.importorskip("nbformat", reason="needs recon3d[test]")
nbclient = pytest.importorskip("nbclient", reason="needs recon3d[test]")
for _needed in ("ipykernel", "ipywidgets", "pythreejs", "matplotlib"):
    pytest.importorskip(_needed, reason="needs recon3d[app]")

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"


class Executed:
    """A notebook after its last cell; its cells are named by their ids."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder / "recon3d-notebooks" / name[:2]
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        client = nbclient.NotebookClient(notebook, timeout=400, resources={"metadata": {"path": str(folder)}})
        client.execute()
        self._outputs: dict[str, list[Any]] = {c.id: c.outputs for c in notebook.cells if "outputs" in c}
        told = "".join(o.text for made in self._outputs.values() for o in made if o.get("name") == "stderr")
        # Dask says so of workers that end slowly, on a busy machine.
        errors = [line for line in told.splitlines() if "Worker process still alive after" not in line]
        assert errors == []

    def printed(self, cell: str) -> str:
        return "".join(output.text for output in self._outputs[cell] if output.output_type == "stream")

    def shown(self, cell: str) -> dict[str, str]:
        """The last thing that a cell shows, by MIME type; of a widget also what stands in for it."""
        *before, last = [dict(output.data) for output in self._outputs[cell] if "data" in output]
        return {**last, **before[-1]} if WIDGET in last and before else last

    def has_picture(self, cell: str) -> bool:
        return len(self.shown(cell).get("image/png", "")) > 5000


@pytest.fixture
def execute(tmp_path: Path) -> Callable[[str], Executed]:
    return lambda name: Executed(name, tmp_path)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    """The first notebook; the second begins with the same frames and cameras."""
    return Executed("01_video_to_model", tmp_path_factory.mktemp("first"))


@pytest.fixture
def continued(first: Executed, tmp_path: Path) -> Callable[[str], Executed]:
    """Executes a notebook whose project has the first four stages of the first notebook's."""

    def execute(name: str) -> Executed:
        later = [f"{stage}-*" for stage in STAGE_NAMES[4:]]
        target = tmp_path / "recon3d-notebooks" / name[:2]
        shutil.copytree(first.folder, target, ignore=shutil.ignore_patterns("runs", "results", *later))
        made = Executed(name, tmp_path)
        (run, *_) = Project.open(made.folder).runs
        assert [stage.status for stage in run.state.stages.values()][:4] == ["skipped"] * 4
        return made

    return execute


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_are_kept_without_outputs_and_noise(name: str) -> None:
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    document = json.loads(text)
    nbformat.validate(document)
    cells = document["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert all(cell["metadata"] == {} for cell in cells)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert set(document["metadata"]) == {"kernelspec", "language_info"}
    assert text == json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def test_01_makes_a_model_and_shows_it(first: Executed) -> None:
    notebook = first
    assert WIDGET in notebook.shown("start")
    assert "textured_mesh.glb" in notebook.shown("wait")["text/plain"]
    assert WIDGET in notebook.shown("view")
    assert notebook.has_picture("view")
    project = Project.open(notebook.folder)
    assert project.status == "completed"
    assert len(project.scene) >= 28
    assert 15_000 < len(project.mesh.faces) < 21_000  # texturing splits a few
    assert all(path.exists() for path in project.results.files().values())


def test_02_shows_something_of_every_stage(continued: Callable[[str], Executed]) -> None:
    notebook = continued("02_inside_each_stage")
    assert "max_image_size" in notebook.shown("pipeline")["text/html"]
    for cell in ("frames", "matches", "graph", "errors", "coverage", "costs"):
        assert notebook.has_picture(cell), cell
    for cell in ("scene", "cloud", "model"):
        assert WIDGET in notebook.shown(cell), cell
    assert "data:image/jpeg" in notebook.shown("depth")["text/html"]
    assert notebook.shown("scene")["text/plain"].startswith("<Scene: 30 views")
    assert "completed" in notebook.shown("project")["text/html"]


def test_03_runs_only_what_changed_and_finds_more_points(execute: Callable[[str], Executed]) -> None:
    notebook = execute("03_quality_against_time")
    assert notebook.has_picture("compare")
    table = notebook.printed("table")
    rows = {line.split()[0]: [float(n.replace(",", "")) for n in re.findall(r"[\d.,]+", line)] for line in
            table.splitlines()}  # fmt: skip
    assert rows["dense_reconstruction"][1] > 1.3 * rows["dense_reconstruction"][0]
    assert rows["points"][1] > 2 * rows["points"][0]
    project = Project.open(notebook.folder)
    statuses = [stage.status for stage in project.runs[-1].state.stages.values()]
    assert statuses == ["skipped"] * 4 + ["completed"] * 3


def test_04_sets_the_scale_and_exports_metres(execute: Callable[[str], Executed]) -> None:
    notebook = execute("04_photos_scale_and_export")
    assert notebook.printed("check") == "0.60 m tall\n"
    project = Project.open(notebook.folder / "bust")
    assert len(project.scene) >= 28
    scale = scale_of(project)
    assert scale is not None
    export = project.path / "export"
    listed = {f"export/{name}" for name in ("bust.glb", "bust.obj", "bust.ply", "colmap", "nerfstudio")}
    assert set(notebook.printed("export").split()) == listed
    height = np.ptp(read_textured_mesh(export / "bust.glb").vertices[:, 1])
    assert height == pytest.approx(0.6, rel=1e-3)
    cameras = json.loads((export / "nerfstudio" / "transforms.json").read_text())["frames"]
    assert len(cameras) == len(project.scene)
    page = (notebook.folder / "bust.html").read_text(encoding="utf-8")
    assert len(page) > 1_000_000
    assert "<script src" not in page


def test_05_uses_the_cluster_and_leaves_it_running(execute: Callable[[str], Executed]) -> None:
    notebook = execute("05_dask_cluster")
    lines = notebook.printed("workers").splitlines()
    assert len(lines) == 5
    assert all(" 2 workers" in line for line in lines)
    assert notebook.printed("end") == "2 workers are still there\n"
    project = Project.open(notebook.folder)
    assert not (project.runs[-1].folder / "workers.log").exists()  # no workers of its own
    assert len(project.cloud) > 20_000


def test_06_goes_through_the_whole_service_and_ends_it(execute: Callable[[str], Executed]) -> None:
    notebook = execute("06_service_from_python")
    assert notebook.printed("server") == "ready\n"
    assert "completed: 9 photos" in notebook.printed("run")
    jobs = [line.split() for line in notebook.printed("jobs").splitlines()]
    assert [status for _, status in jobs] == ["completed"] * 7
    assert jobs[0][0] == "frame_extraction"
    assert jobs[-1][0] == "texturing"
    assert notebook.shown("download")["text/plain"].startswith("<TexturedMesh: ")
    assert len(read_textured_mesh(notebook.folder / "bust.glb").faces) > 10_000
    assert "Finished server process" in (notebook.folder / "server.log").read_text()
    assert not any((notebook.folder / "data" / "projects").iterdir())  # the notebook deletes its project

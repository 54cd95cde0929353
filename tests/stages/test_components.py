"""Two scenes in one set: both are kept, and either can be chosen."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from recon3d.cli.commands import app
from recon3d.errors import ReconstructionError
from recon3d.events import InputsChecked
from recon3d.io.atomic import read_json
from recon3d.io.colmap_model import model_images
from recon3d.io.ply import read_point_cloud
from recon3d.layout import Component, read_registration, write_component_list
from recon3d.project.project import Project
from recon3d.project.results import Results
from recon3d.stages.sparse_reconstruction.choice import component_numbers
from recon3d.types import Scene
from tests.synthetic.motions import turntable


def _photos(folder: Path) -> Path:
    """Six photos of a box and four of another one."""
    folder.mkdir()
    first, _ = turntable(np.arange(0, 60, 10.0), None, (480, 360))
    second, _ = turntable(np.arange(0, 40, 10.0), None, (480, 360), seed=200)
    for name, images in (("a", first), ("b", second)):
        for k, image in enumerate(images):
            cv2.imwrite(str(folder / f"{name}{k}.png"), image)
    return folder


def _run(*arguments: str) -> None:
    low = ["-q", "low", "--until", "sparse_reconstruction", "--workers", "1", "--engine", "cpu"]
    app(["run", *arguments, *low], standalone_mode=False)


def test_both_scenes_are_kept_and_either_can_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, folder = _photos(tmp_path / "photos"), tmp_path / "project"
    _run(str(photos), "-o", str(folder))
    assert "component 0 with 6, component 1 with 4" in capsys.readouterr().err
    project = Project.open(folder)
    made = project.artifacts["sparse_reconstruction"]
    # The view graph falls apart, and each part is placed: no other attempt could join them.
    assert [row.name for row in read_registration(made.path).attempts] == ["the usual demands"]
    (first, second) = project.results.components
    assert (first.number, first.images, first.used) == (0, 6, True)
    assert (second.number, second.images, second.used) == (1, 4, False)
    for component, name in ((first, "a"), (second, "b")):
        part = project.results.folder / "components" / str(component.number)
        assert {image.name[0] for image in model_images(part / "sparse").values()} == {name}
        assert len(read_point_cloud(part / "sparse.ply")) == component.points > 30
        assert len(read_json(part / "transforms.json")["frames"]) == component.images
    assert read_json(project.results.report.with_suffix(".json"))["components"][1]["images"] == 4
    assert "--component 1" in project.results.report.read_text()

    _run("-o", str(folder), "--component", "1")
    project = Project.open(folder)
    assert [c.used for c in project.results.components] == [False, True]
    chosen = project.artifacts["sparse_reconstruction"]
    assert chosen.manifest.inputs["sparse_reconstruction"] == made.manifest.fingerprint
    assert made.path.is_dir()
    sparse = chosen.path
    assert {view.name[0] for view in Scene.load(sparse)} == {"b"}
    assert {image.name[0] for image in model_images(project.results.sparse).values()} == {"b"}
    rows = {row.name[0]: row for row in read_registration(sparse).images}
    assert (rows["a"].component, rows["a"].registered) == (0, False)
    assert rows["a"].reason == "it belongs to another part of the scene (component 0)"
    assert (rows["b"].component, rows["b"].registered) == (1, True)

    # Told at once: neither the check of the inputs nor the cameras are made again.
    with pytest.raises(ReconstructionError, match="no component 2: the set has 2 components, 0 to 1"):
        _run("-o", str(folder), "--component", "2")
    assert not any(isinstance(event, InputsChecked) for event in project.runs[-1].events)
    assert len(list((folder / "artifacts").glob("sparse_reconstruction-*"))) == 2
    # The attempts outlive an impossible choice, and it shows what there is to choose.
    _run("-o", str(folder), "--component", "0")
    for artifact in (folder / "artifacts").glob("sparse_reconstruction-*"):
        shutil.rmtree(artifact)
    with pytest.raises(ReconstructionError, match="no component 7"):
        _run("-o", str(folder), "--component", "7")
    assert [c.images for c in Project.open(folder).results.components] == [6, 4]
    (kept,) = (folder / "artifacts").glob("sparse_reconstruction-*")
    assert kept.name == made.path.name


def test_the_chosen_component_comes_first() -> None:
    assert component_numbers(3, 0) == [0, 1, 2]
    assert component_numbers(3, 2) == [2, 0, 1]
    with pytest.raises(ReconstructionError, match="one component only"):
        component_numbers(1, 1)


def test_components_of_former_images_do_not_stay(tmp_path: Path) -> None:
    part = tmp_path / "components" / "0"
    (part / "sparse").mkdir(parents=True)
    (part / "sparse.ply").write_text("")
    (tmp_path / "components" / "notes.txt").write_text("mine")
    write_component_list(tmp_path, [Component(0, 3, 1, True), Component(1, 2, 1, False)])
    artifact = tmp_path / "artifact"
    (artifact / "models" / "0").mkdir(parents=True)
    Results(tmp_path).publish("sparse_reconstruction", artifact)
    assert [path.name for path in (tmp_path / "components").iterdir()] == ["notes.txt"]

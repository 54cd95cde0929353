"""Removing inputs from a project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import recon3d
from recon3d.errors import InputError, ProjectError
from recon3d.layout import Input
from recon3d.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "project")
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"p{number}.jpg")
    made.add_photos([tmp_path / f"p{number}.jpg" for number in range(3)])
    return made


def test_a_removed_input_is_gone_and_the_others_stay(project: Project, tmp_path: Path) -> None:
    before = project.inputs_fingerprint()
    first, second, third = project.inputs
    assert project.remove_inputs([second]) == (second,)
    assert recon3d.Project.open(project.path).inputs == (first, third)
    assert not project.input_file(second).exists()
    assert project.input_file(first).exists()
    assert (tmp_path / "p1.jpg").exists()
    assert project.inputs_fingerprint() != before
    # It can be added again.
    project.add_photos(tmp_path / "p1.jpg")
    assert project.inputs_fingerprint() == before


def test_all_or_none_are_removed(project: Project) -> None:
    first, *_ = project.inputs
    other = Input("photo", "photos/other.jpg", "other.jpg", "0")
    with pytest.raises(InputError, match="not an input"):
        project.remove_inputs([first, other])
    with pytest.raises(InputError, match="not an input"):
        project.remove_inputs([Input("photo", "../recon3d.json", "x", "0")])
    assert len(project.inputs) == 3
    assert all(project.input_file(row).exists() for row in project.inputs)
    assert (project.path / "recon3d.json").exists()


def test_not_while_a_run_works(project: Project) -> None:
    from recon3d.project import project as module

    with project.lock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "hold", lambda root, patience: _hold(root, 0.1))
        with pytest.raises(ProjectError, match="Another process works"):
            project.remove_inputs(project.inputs[:1])
    assert len(project.inputs) == 3


def _hold(root: Path, patience: float) -> object:
    from recon3d.project.lock import hold

    return hold(root, patience)

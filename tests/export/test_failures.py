"""Exports that cannot be written say so in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recon3d.errors import StageError
from recon3d.export import FORMATS, export_project
from recon3d.io.atomic import write_json
from recon3d.io.ply import write_mesh
from recon3d.layout import MESH, SPARSE, TRANSFORMS
from recon3d.project import Project
from recon3d.types import Mesh
from tests.synthetic.made_project import box, made_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = made_project(tmp_path_factory.mktemp("export") / "box")
    results = project.results.folder
    shutil.copytree(project.artifacts["sparse_reconstruction"].path, results / SPARSE, dirs_exist_ok=True)
    write_mesh(results / MESH, Mesh(box().vertices, box().faces))
    write_json(results / TRANSFORMS, {})
    return project


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "colmap-dense"])
def test_a_place_that_cannot_be_written_is_named(project: Project, tmp_path: Path, format: str) -> None:
    if format == "usdz":
        pytest.importorskip("pxr", reason="needs recon3d[usd]")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StageError, match=str(tmp_path / "file")) as caught:
        export_project(project, format, tmp_path / "file" / "out")
    assert "--output" in caught.value.hint
    assert (tmp_path / "file").read_text() == "in the way"

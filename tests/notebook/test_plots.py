"""The plots, from the files that the stages write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recon3d.artifacts import Manifest
from recon3d.errors import InputError
from recon3d.project import Project

matplotlib = pytest.importorskip("matplotlib", reason="needs recon3d[notebook]")
matplotlib.use("Agg")

from recon3d.notebook import plots  # noqa: E402


def _finished(project: Project, stage: str, files: dict[str, object]) -> None:
    work = project.store.begin(stage, "0" * 64)
    for name, content in files.items():
        (work / name).write_text(json.dumps(content), encoding="utf-8")
    if stage == "feature_matching":
        np.savez(work / "matches.npz", pairs=np.array([[0, 1]]), raw=np.array([9]), inliers=np.array([7]))
    project.store.commit(
        work,
        Manifest(
            stage=stage,
            stage_version=1,
            fingerprint="0" * 64,
            inputs={},
            options={},
            seed=0,
            engine="cpu",
            workers=1,
            versions={},
            started=0,
            seconds=2,
            cpu_seconds=3,
            peak_memory=10**9,
            counts={},
            fallbacks=(),
        ),
    )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.create(tmp_path / "project")
    video = {"source": "v.mp4", "time": [0, 1, 2], "sharpness": [1, 3, 2], "taken": [False, True, False]}
    _finished(
        project,
        "frame_extraction",
        {"scores.json": {"videos": [video]}, "frames.json": {"frames": [{}, {}, {}]}},
    )
    _finished(project, "feature_matching", {})
    images = [{"registered": True, "error": 0.5}, {"registered": False, "error": None}]
    _finished(project, "sparse_reconstruction", {"registration.json": {"images": images}})
    return project


def test_each_plot_shows_the_stage_s_numbers(project: Project) -> None:
    axes = plots.frame_scores(project)
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[1, 3]])
    matrix = plots.match_matrix(project).images[0].get_array()
    assert matrix[0, 1] == matrix[1, 0] == 7
    assert matrix.mask[2].all()
    assert plots.reprojection_errors(project).get_title() == "1 of 2 registered"
    assert sorted(bar.get_width() for bar in plots.stage_costs(project).patches) == [2, 2, 2, 3, 3, 3]
    matplotlib.pyplot.close("all")


def test_a_project_without_stages_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished"):
        plots.match_matrix(Project.create(tmp_path / "empty"))

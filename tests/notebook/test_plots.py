"""The plots, from the files that the stages write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.layout import (
    Frame,
    FrameList,
    RegisteredImage,
    Registration,
    WorldFrame,
    write_frame_list,
    write_registration,
)
from recon3d.project import Project
from recon3d.project.artifacts import Manifest
from recon3d.types import Camera, Scene, View, as_transform

matplotlib = pytest.importorskip("matplotlib", reason="needs recon3d[notebook]")
matplotlib.use("Agg")

from recon3d.notebook import plots  # noqa: E402


def _finished(
    project: Project, stage: str, files: dict[str, object], write: Callable[[Path], None] = lambda work: None
) -> None:
    work = project.store.begin(stage, "0" * 64)
    write(work)
    for name, content in files.items():
        (work / name).write_text(json.dumps(content), encoding="utf-8")
    if stage == "dense_reconstruction":
        (work / "depth_maps").mkdir()
        for i in range(2):
            np.savez(work / "depth_maps" / f"{i}.npz", depth=np.array([[0, 1], [i, 1]], np.float32))
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


def _frame(name: str) -> Frame:
    return Frame(name, "video", "v.mp4", 0.0, 4, 3, 1.0, None, None, 0)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.create(tmp_path / "project")
    video = {"source": "v.mp4", "time": [0, 1, 2], "sharpness": [1, 3, 2], "taken": [False, True, False]}
    _finished(
        project,
        "frame_extraction",
        {"scores.json": {"videos": [video]}},
        lambda work: write_frame_list(work, FrameList(tuple(_frame(f"{i}.jpg") for i in range(3)))),
    )
    _finished(project, "feature_matching", {})
    return project


def _with_cameras(project: Project) -> None:
    images = (
        RegisteredImage("0.jpg", True, 0, 10, 0.5, None),
        RegisteredImage("1.jpg", False, None, 0, None, "it is blurred"),
    )
    registration = Registration(images, WorldFrame("given", "", "given"))

    def write(work: Path) -> None:
        write_registration(work, registration)
        scene.save(work)

    camera = Camera("PINHOLE", 4, 3, (3.0, 3.0, 2.0, 1.5))
    poses = [as_transform(np.eye(3), (-x, 0, 0)) for x in (0.0, 5.0)]
    scene = Scene(tuple(View(f"{i}.jpg", camera, pose) for i, pose in enumerate(poses)))
    _finished(project, "sparse_reconstruction", {}, write)


def test_each_plot_shows_the_stage_s_numbers(project: Project) -> None:
    _with_cameras(project)
    _finished(project, "dense_reconstruction", {})
    axes = plots.frame_scores(project)
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[1, 3]])
    matrix = plots.match_matrix(project).images[0].get_array()
    assert matrix[0, 1] == matrix[1, 0] == 7
    assert matrix.mask[2].all()
    assert plots.reprojection_errors(project).get_title() == "1 of 2 registered"
    assert [bar.get_height() for bar in plots.depth_coverage(project).patches] == [50, 75]
    times, memory = plots.stage_costs(project)
    assert sorted(bar.get_width() for bar in times.patches) == [2] * 4 + [3] * 4
    assert [bar.get_width() for bar in memory.patches] == [1, 1, 1, 1]
    matplotlib.pyplot.close("all")


def test_the_view_graph_is_a_circle_until_there_are_cameras(project: Project) -> None:
    lines, dots, hollow = plots.view_graph(project).collections
    np.testing.assert_allclose(np.linalg.norm(dots.get_offsets(), axis=1), 1)
    assert len(dots.get_offsets()) == 3
    assert len(hollow.get_offsets()) == 0
    _with_cameras(project)
    lines, dots, hollow = plots.view_graph(project).collections
    assert abs(np.subtract(*dots.get_offsets())).max() == pytest.approx(5)
    np.testing.assert_allclose(hollow.get_offsets()[0], dots.get_offsets().mean(axis=0))
    np.testing.assert_array_equal(lines.get_array(), [7])
    np.testing.assert_allclose(lines.get_segments()[0], dots.get_offsets())
    matplotlib.pyplot.close("all")


def test_plots_draw_on_axes_that_are_given(project: Project) -> None:
    figure, axes = matplotlib.pyplot.subplots(1, 3)
    assert plots.match_matrix(project, axes[0]) is axes[0]
    assert plots.stage_costs(project, (axes[1], axes[2])) == (axes[1], axes[2])
    matplotlib.pyplot.close(figure)


def test_a_project_without_stages_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished"):
        plots.match_matrix(Project.create(tmp_path / "empty"))


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"videos": [{}]}', b"\x00", b"PK\x03\x04 cut off"])
@pytest.mark.parametrize(
    ("stage", "name", "plot"),
    [
        ("frame_extraction", "scores.json", plots.frame_scores),
        ("feature_matching", "matches.npz", plots.match_matrix),
        ("feature_matching", "matches.npz", plots.view_graph),
        ("dense_reconstruction", "depth_maps/0.npz", plots.depth_coverage),
    ],
)
def test_a_damaged_file_is_named(
    project: Project, stage: str, name: str, plot: Callable[[Project], object], content: bytes | None
) -> None:
    _finished(project, "dense_reconstruction", {})
    path = project.artifacts[stage].path / name
    if content is None and "depth" not in name:
        path.unlink()
    else:
        path.write_bytes(content or b"")
    with pytest.raises(InputError, match=r"is missing|is damaged") as caught:
        plot(project)
    assert str(path) in caught.value.message
    assert f"--rerun-from {stage}" in caught.value.hint
    assert not matplotlib.pyplot.get_fignums()


def test_matches_of_other_frames_are_damaged(project: Project) -> None:
    path = project.artifacts["feature_matching"].path / "matches.npz"
    np.savez(path, pairs=np.array([[0, 9]]), raw=np.array([9]), inliers=np.array([7]))
    with pytest.raises(InputError, match="its pairs are not those of the frames"):
        plots.match_matrix(project)

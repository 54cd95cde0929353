"""The surface stage, from a cloud on disk to a mesh on disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recon3d.compute import InlineContext
from recon3d.errors import OptionError, OutOfMemory, ReconstructionError
from recon3d.io.ply import read_mesh, write_point_cloud
from recon3d.io.point_visibility import write_visibility
from recon3d.options import MeshGenerationOptions, resolve_options
from recon3d.stages import mesh_generation
from recon3d.types import PointCloud, Scene
from tests.synthetic.layouts import courtyard, orbit
from tests.synthetic.shapes import orbit_scene, sphere_cloud

Y = np.array([0.0, 1.0, 0.0])


def _dense(folder: Path, cloud: PointCloud, scene: Scene | None = None) -> dict[str, Path]:
    """The dense stage's folder; by default an orbit of which every view sees every point."""
    scene = scene or orbit_scene(12, sphere_cloud(50).points, Y)
    scene.save(folder)
    write_point_cloud(folder / "point_cloud.ply", cloud)
    count, views = len(cloud), len(scene)
    if cloud.view_starts is None or cloud.view_indices is None:
        cloud = replace(
            cloud,
            view_starts=np.arange(count + 1, dtype=np.int64) * views,
            view_indices=np.tile(np.arange(views, dtype=np.int32), count),
        )
    assert cloud.view_starts is not None
    assert cloud.view_indices is not None
    seen = cloud.view_indices
    write_visibility(folder / "visibility.npz", [np.diff(cloud.view_starts)], [seen], count, len(seen))
    return {"dense_reconstruction": folder}


def test_what_the_cameras_go_round_becomes_a_coloured_mesh(tmp_path: Path) -> None:
    layout = orbit()
    inputs = _dense(tmp_path / "dense", layout.cloud, layout.scene)
    (tmp_path / "out").mkdir()
    context = InlineContext()
    mesh_generation.run(inputs, MeshGenerationOptions(max_faces=5000), tmp_path / "out", context)
    mesh = read_mesh(tmp_path / "out" / "mesh.ply")
    assert np.linalg.norm(mesh.vertices, axis=1).max() < 4
    assert mesh.colors is not None
    assert mesh.normals is not None
    assert 2000 < len(mesh.faces) <= 5000
    outside = np.count_nonzero(~layout.subject)
    assert context.counts["faces"] == len(mesh.faces)
    assert context.counts["points"] == np.count_nonzero(layout.subject)
    assert context.counts["points_outside"] == outside
    assert context.fallbacks == [
        f"{100 * outside / len(layout.cloud):.1f} % of the point cloud ({outside} of {len(layout.cloud)} "
        "points) is outside the ring of cameras and not meshed. "
        "To mesh it too: --set mesh_generation.region=all"
    ]
    picture = np.asarray(Image.open(tmp_path / "out" / "preview.png"))
    assert np.ptp(picture[picture.shape[0] // 2].astype(int)) > 20


def test_what_is_guessed_and_what_is_torn_off_is_told(tmp_path: Path) -> None:
    """A disc of ground with a gap in it, and a strip that leads away."""
    grid = np.linspace(-1.5, 1.5, 151)
    x, z = (part.ravel() for part in np.meshgrid(grid, grid))
    disc = (np.hypot(x, z) < 1) & (np.hypot(x - 0.3, z) > 0.22)
    strip = (x > 0.9) & (np.abs(z) < 0.06)
    points = np.stack([x, np.zeros_like(x), z], axis=1)[disc | strip]
    normals = np.tile(Y.astype(np.float32), (len(points), 1))
    inputs = _dense(tmp_path / "dense", PointCloud(points, normals))
    for region in ("auto", "all"):
        out, context = tmp_path / region, InlineContext()
        out.mkdir()
        options = MeshGenerationOptions(max_faces=5000, region=region)
        mesh_generation.run(inputs, options, out, context)
        mesh = read_mesh(out / "mesh.ply")
        reach = mesh.vertices[:, 0].max()
        assert mesh.guessed is not None
        x, z = mesh.vertices[mesh.guessed][:, [0, 2]].T
        assert len(x) > 10
        assert np.hypot(x - 0.3, z).max() < 0.3
        told = ["closes gaps that no photo measured"]
        if region == "auto":
            told.insert(0, "the torn fringe of the ground around the object, is not part of the mesh")
        assert len(context.fallbacks) == len(told)
        assert all(part in line for part, line in zip(told, context.fallbacks, strict=True))
        assert (reach > 1.4) == (region == "all")


def test_all_is_meshed_when_asked_for(tmp_path: Path) -> None:
    layout = orbit()
    inputs = _dense(tmp_path / "dense", layout.cloud, layout.scene)
    (tmp_path / "out").mkdir()
    context = InlineContext()
    options = MeshGenerationOptions(max_faces=5000, region="all", min_component=0)
    mesh_generation.run(inputs, options, tmp_path / "out", context)
    mesh = read_mesh(tmp_path / "out" / "mesh.ply")
    assert np.linalg.norm(mesh.vertices, axis=1).max() > 14
    assert context.counts["points_outside"] == 0
    assert not any("not meshed" in line for line in context.fallbacks)


def test_a_box_is_all_that_is_meshed(tmp_path: Path) -> None:
    cloud = sphere_cloud(4000)
    inputs = _dense(tmp_path / "dense", cloud)
    (tmp_path / "out").mkdir()
    context = InlineContext()
    # As the page's clip box gives it, here with its corners mixed up.
    text = "[[0.2, -9, 9], [9, 9, -9]]"
    options = resolve_options("medium", {"mesh_generation": {"region": text, "max_faces": 1000}})
    mesh_generation.run(inputs, options["mesh_generation"], tmp_path / "out", context)
    vertices = read_mesh(tmp_path / "out" / "mesh.ply").vertices
    assert 0.2 <= vertices[:, 0].min() < 0.35
    assert vertices[:, 0].max() > 0.9
    assert context.counts["points"] == np.count_nonzero(cloud.points[:, 0] >= 0.2)
    assert "is outside the box and not meshed" in context.fallbacks[0]


@pytest.mark.parametrize("value", ["box", "[1, 2", "[[0, 0, 0]]", '[[0, 0, "a"], [1, 1, 1]]', 3, [[0, 0]]])
def test_another_region_is_an_error_that_names_all_choices(value: object) -> None:
    with pytest.raises(OptionError, match=r"mesh_generation\.region cannot be") as told:
        resolve_options("medium", {"mesh_generation": {"region": value}})
    choices = "'auto', 'all', or two corners of a box, such as [[-1, -1, 0], [1, 1, 2]]"
    assert told.value.message.endswith(f"{value!r}: Input should be {choices}.")


@pytest.mark.parametrize(("corner", "held"), [(50, "none"), (0.99, "only")])
def test_a_box_that_misses_the_cloud_tells_where_the_cloud_is(
    tmp_path: Path, corner: float, held: str
) -> None:
    inputs = _dense(tmp_path / "dense", sphere_cloud(4000))
    options = MeshGenerationOptions(region=((corner, -9, -9), (99, 9, 9)))
    with pytest.raises(ReconstructionError, match=f"holds {held}") as told:
        mesh_generation.run(inputs, options, tmp_path, InlineContext())
    assert f"The box of mesh_generation.region, [{corner}, -9, -9] to [99, 9, 9], " in told.value.message
    low, high = (", ".join([f"{sign}0.999."] * 3) for sign in ("-", ""))
    bounds = rf"of the cloud's 4000 points, which lie in \[{low}\] to \[{high}\]\.$"
    assert re.search(bounds, told.value.message)
    assert "recon3d view PROJECT" in told.value.hint
    assert "overlap" not in told.value.hint


def test_facades_around_the_cameras_are_meshed(tmp_path: Path) -> None:
    layout = courtyard()
    inputs = _dense(tmp_path / "dense", layout.cloud, layout.scene)
    (tmp_path / "out").mkdir()
    context = InlineContext()
    options = MeshGenerationOptions(max_faces=5000, min_component=0)
    mesh_generation.run(inputs, options, tmp_path / "out", context)
    vertices = read_mesh(tmp_path / "out" / "mesh.ply").vertices
    for axis in (0, 2):
        for side in (-1, 1):
            assert np.count_nonzero(np.abs(vertices[:, axis] - 15 * side) < 0.3) > 100
    assert context.counts["points_outside"] == 0
    assert not context.fallbacks


def test_too_few_points_are_named(tmp_path: Path) -> None:
    inputs = _dense(tmp_path / "dense", sphere_cloud(30))
    with pytest.raises(ReconstructionError, match="30 points are too few"):
        mesh_generation.run(inputs, MeshGenerationOptions(), tmp_path, InlineContext())


class _SmallMachine(InlineContext):
    """Runs out of memory in the first calls."""

    failures = 1

    def _execute(self, fn: Callable[..., Any], calls: Any, **how: Any) -> list[Any]:
        if self.failures:
            self.failures -= 1
            raise OutOfMemory("A worker ran out of memory.", "Use a lower quality.")
        return super()._execute(fn, calls, **how)


def test_out_of_memory_gives_a_coarser_mesh_and_says_so(tmp_path: Path) -> None:
    inputs = _dense(tmp_path / "dense", sphere_cloud(8000))
    (tmp_path / "out").mkdir()
    context = _SmallMachine()
    mesh_generation.run(inputs, MeshGenerationOptions(max_faces=8000), tmp_path / "out", context)
    assert len(read_mesh(tmp_path / "out" / "mesh.ply").faces) <= 2000
    assert any("2000" in message for message in context.fallbacks)
    context.failures = 100
    with pytest.raises(OutOfMemory):
        mesh_generation.run(inputs, MeshGenerationOptions(max_faces=8000), tmp_path / "out", context)


class _Interrupted(InlineContext):
    """Is interrupted before one of its calls, counted from 0."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at
        self.called: list[str] = []

    def _execute(self, fn: Callable[..., Any], calls: Any, **how: Any) -> list[Any]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.called.append(fn.__name__)
        return super()._execute(fn, calls, **how)


def test_an_interrupted_run_goes_on_after_the_last_whole_step(tmp_path: Path) -> None:
    layout = orbit()
    inputs = _dense(tmp_path / "dense", layout.cloud, layout.scene)
    options = MeshGenerationOptions(max_faces=5000)
    whole, out = tmp_path / "whole", tmp_path / "out"
    for folder in (whole, out):
        folder.mkdir()
    undisturbed = InlineContext()
    mesh_generation.run(inputs, options, whole, undisturbed)
    called: list[str] = []
    for at in (2, 0, 1):
        context = _Interrupted(at)
        with pytest.raises(KeyboardInterrupt):
            mesh_generation.run(inputs, options, out, context)
        called += context.called
    (half,) = out.rglob("smooth.npz")
    half.write_bytes(half.read_bytes()[:-100])
    context = _Interrupted(-1)
    mesh_generation.run(inputs, options, out, context)
    assert called == ["read_points", "make_surface", "smooth"]
    assert context.called == ["smooth", "finish"]
    assert sorted(path.name for path in out.iterdir()) == ["mesh.ply", "preview.png"]
    for path in whole.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert context.counts == undisturbed.counts
    assert context.fallbacks == undisturbed.fallbacks

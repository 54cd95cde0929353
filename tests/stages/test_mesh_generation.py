"""The surface stage, from a cloud on disk to a mesh on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recon3d.compute import InlineContext
from recon3d.errors import OutOfMemory, ReconstructionError
from recon3d.io.ply import read_mesh, write_point_cloud
from recon3d.options import MeshGenerationOptions
from recon3d.stages import mesh_generation
from recon3d.types import PointCloud
from tests.synthetic.shapes import orbit_scene, sphere_cloud

Y = np.array([0.0, 1.0, 0.0])


def _dense(folder: Path, cloud: PointCloud) -> dict[str, Path]:
    orbit_scene(12, sphere_cloud(50).points, Y).save(folder)
    write_point_cloud(folder / "point_cloud.ply", cloud)
    return {"dense_reconstruction": folder}


def _with_backdrop(radius: float, count: int, backdrop: float) -> PointCloud:
    """A small sphere in the middle of the ring of cameras, and a large one around them."""
    near, far = sphere_cloud(count, radius), sphere_cloud(8000, backdrop, seed=1)
    assert near.normals is not None
    assert far.normals is not None
    assert near.colors is not None
    assert far.colors is not None
    return PointCloud(
        np.concatenate([near.points, far.points]),
        np.concatenate([near.normals, -far.normals]),
        np.concatenate([near.colors, far.colors]),
    )


def test_what_the_cameras_go_round_becomes_a_coloured_mesh(tmp_path: Path) -> None:
    inputs = _dense(tmp_path / "dense", _with_backdrop(1.0, 8000, 6.0))
    (tmp_path / "out").mkdir()
    context = InlineContext()
    mesh_generation.run(inputs, MeshGenerationOptions(max_faces=5000), tmp_path / "out", context)
    mesh = read_mesh(tmp_path / "out" / "mesh.ply")
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1).max() < 0.05
    assert mesh.colors is not None
    assert mesh.normals is not None
    assert 2000 < len(mesh.faces) <= 5000
    assert context.counts["faces"] == len(mesh.faces)
    assert context.counts["points"] == 8000
    assert context.counts["points_outside"] == 8000
    picture = np.asarray(Image.open(tmp_path / "out" / "preview.png"))
    assert np.ptp(picture[picture.shape[0] // 2].astype(int)) > 20


def test_a_room_around_the_cameras_is_kept_when_its_middle_is_empty(tmp_path: Path) -> None:
    inputs = _dense(tmp_path / "dense", _with_backdrop(0.2, 150, 6.0))
    (tmp_path / "out").mkdir()
    context = InlineContext()
    mesh_generation.run(inputs, MeshGenerationOptions(max_faces=3000), tmp_path / "out", context)
    mesh = read_mesh(tmp_path / "out" / "mesh.ply")
    assert np.median(np.linalg.norm(mesh.vertices, axis=1)) == pytest.approx(6, abs=0.1)
    assert context.counts["points_outside"] == 0


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

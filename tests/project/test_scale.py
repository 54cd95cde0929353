"""A known length gives a project its true size."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.export import export_project
from recon3d.io.gltf import read_textured_mesh, write_glb
from recon3d.io.ply import read_mesh, write_mesh
from recon3d.project import Project
from recon3d.project.artifacts import Manifest
from recon3d.project.scale import Scale, clear_scale, scale_of, set_scale
from recon3d.similarity import scaled
from recon3d.types import Camera, Mesh, PointCloud, Scene, TexturedMesh, View

_CORNERS = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
_FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def test_the_scene_knows_its_unit_and_stays_in_it(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    _finish(project, "sparse_reconstruction", "a" * 16)
    assert project.scene.scale is None
    assert "no scale" in repr(project.scene)
    project.set_scale(measured=4.0, known=1.0)
    scene = project.scene
    assert repr(scene) == "<Scene: 1 view, 0 points, 1 unit = 0.25 m>"
    # Measuring again gives the same: positions do not change.
    np.testing.assert_array_equal(scene.views[0].cam_from_world[:3, 3], (1, 2, 3))
    metres = scaled(scene, scene.scale)
    assert (metres.unit, metres.scale) == ("m", None)
    np.testing.assert_array_equal(metres.views[0].cam_from_world[:3, 3], (0.25, 0.5, 0.75))
    # Of another reconstruction nothing is known.
    _finish(project, "sparse_reconstruction", "b" * 16)
    assert project.scene.scale is None


def _finish(project: Project, stage: str, fingerprint: str) -> Path:
    work = project.store.begin(stage, fingerprint)
    if stage == "sparse_reconstruction":
        pose = np.eye(4)
        pose[:3, 3] = (1, 2, 3)
        camera = Camera("PINHOLE", 64, 48, (50.0, 50.0, 32.0, 24.0))
        Scene((View("a.jpg", camera, pose),)).save(work)
    manifest = Manifest(
        stage=stage,
        stage_version=1,
        fingerprint=fingerprint,
        inputs={},
        options={},
        seed=0,
        engine="cpu",
        workers=1,
        versions={},
        started=time.time(),
        seconds=0,
        cpu_seconds=0,
        peak_memory=0,
        counts={},
        fallbacks=(),
    )
    return project.store.commit(work, manifest).path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.create(tmp_path / "p")
    _finish(project, "sparse_reconstruction", "a" * 16)
    results = project.results.folder
    (results / "sparse").mkdir(parents=True)
    write_mesh(results / "mesh.ply", Mesh(_CORNERS, _FACES))
    texture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    write_glb(
        results / "textured_mesh.glb",
        TexturedMesh(_CORNERS + 1e4, _FACES, _CORNERS[:, :2].astype(np.float32), _FACES, texture),
    )
    (results / "transforms.json").write_text("{}")
    return project


def test_exports_are_in_metres_once_a_length_is_known(project: Project) -> None:
    before = read_textured_mesh(project.results.textured_mesh or Path())
    scale = set_scale(project, measured=0.5, known=1.25)
    assert scale.factor == 2.5
    assert scale_of(Project.open(project.path)) == scale
    after = read_textured_mesh(export_project(project, "glb"))
    np.testing.assert_allclose(after.vertices, 2.5 * before.vertices, rtol=1e-6)
    np.testing.assert_array_equal(after.texture, before.texture)
    assert np.ptp(read_mesh(export_project(project, "ply")).vertices[:, 0]) == 2.5
    obj = export_project(project, "obj").read_text().splitlines()
    x = [float(line.split()[1]) for line in obj if line.startswith("v ")]
    assert max(x) - min(x) == pytest.approx(2.5)
    # Results stay as they were made.
    np.testing.assert_array_equal(
        read_textured_mesh(project.results.textured_mesh or Path()).vertices, before.vertices
    )


def test_another_reconstruction_has_another_size(project: Project) -> None:
    set_scale(project, 1.0, 2.0)
    _finish(project, "sparse_reconstruction", "b" * 16)
    assert scale_of(project) is None
    assert np.ptp(read_mesh(export_project(project, "ply")).vertices[:, 0]) == 1.0


def test_a_scale_can_be_forgotten_and_must_make_sense(project: Project, tmp_path: Path) -> None:
    set_scale(project, 1.0, 2.0)
    clear_scale(project)
    assert scale_of(project) is None
    for measured, known in ((0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)):
        with pytest.raises(InputError, match="length is"):
            set_scale(project, measured, known)
    with pytest.raises(InputError, match="no reconstruction"):
        set_scale(Project.create(tmp_path / "empty"), 1.0, 2.0)
    (project.path / "scale.json").write_text(json.dumps({"factor": 1}))
    with pytest.raises(InputError, match="damaged"):
        scale_of(project)


def test_scenes_and_clouds_grow_and_their_cameras_see_the_same(project: Project) -> None:
    scene = Scene.load(project.artifacts["sparse_reconstruction"].path)
    larger = scaled(scene, 3.0)
    assert larger.unit == "m"
    np.testing.assert_allclose(larger.views[0].center, 3 * scene.views[0].center)
    cloud = PointCloud(np.array([[0.2, 0.1, 4.0]]))
    pixels = [
        view.camera.project(thing.points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3])
        for view, thing in ((scene.views[0], cloud), (larger.views[0], scaled(cloud, 3.0)))
    ]
    np.testing.assert_allclose(pixels[0], pixels[1])


def test_a_scale_tells_itself_in_words() -> None:
    assert repr(Scale(1.5, 0.4, 0.6, "f" * 16)) == "<Scale: 1.5 m a unit, 0.4 units are 0.6 m>"


def test_a_project_does_it_by_itself(project: Project, tmp_path: Path) -> None:
    assert project.set_scale(measured=2.0, known=3.0) == scale_of(project)
    before = read_mesh(project.results.folder / "mesh.ply").vertices
    assert project.export("ply", tmp_path / "out.ply") == tmp_path / "out.ply"
    np.testing.assert_allclose(read_mesh(tmp_path / "out.ply").vertices, 1.5 * before, rtol=1e-6)
    assert project.export("glb") == project.path / "export" / "p.glb"

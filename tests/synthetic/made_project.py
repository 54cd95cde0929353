"""A project whose model is known: a box with a chequered texture, and cameras around it."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np

from recon3d.io.gltf import write_glb
from recon3d.io.ply import write_point_cloud
from recon3d.project import Project
from recon3d.project.artifacts import Manifest
from recon3d.similarity import scaled
from recon3d.types import Camera, PointCloud, Scene, SparsePoints, TexturedMesh
from tests.synthetic.shapes import looking

#: Half of the box's sides.
HALF = np.array([0.5, 0.3, 0.4])
CAMERAS = 8


def box() -> TexturedMesh:
    """The box; each side shows the whole texture."""
    corners, faces = [], []
    for axis in range(3):
        for side in (-1.0, 1.0):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                corner = np.zeros(3)
                corner[axis], corner[u], corner[v] = side, a, b
                corners.append(corner * HALF)
            start = len(corners) - 4
            quad = [start, start + 1, start + 2, start + 3][:: int(side)]
            faces += [[quad[0], quad[1], quad[2]], [quad[0], quad[2], quad[3]]]
    uv = np.tile([[0, 0], [1, 0], [1, 1], [0, 1]], (6, 1)).astype(np.float32)
    squares = (np.indices((8, 8)).sum(axis=0) % 2).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    texture = np.array([(190, 120, 60), (240, 225, 200)], np.uint8)[squares]
    return TexturedMesh(np.array(corners), np.array(faces, np.int32), uv, np.array(faces, np.int32), texture)


def cloud(count: int = 20_000) -> PointCloud:
    """Blue points on the box's sides."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (count, 3))
    axis = rng.integers(0, 3, count)
    points[np.arange(count), axis] = rng.choice([-1.0, 1.0], count)
    colors = np.full((count, 3), (60, 140, 250), np.uint8)
    return PointCloud(points * HALF, colors=colors)


def made_project(folder: Path, size: float = 1.0) -> Project:
    """A project as a run leaves it, with frames, cameras, cloud and textured mesh.

    Parameters
    ----------
    folder : Path
    size : float
        The reconstruction is so many times as large as the box.
    """
    project = Project.create(folder)
    camera = Camera("PINHOLE", 640, 480, (600.0, 600.0, 320.0, 240.0))
    views = []
    for i in range(CAMERAS):
        angle = 2 * np.pi * i / CAMERAS
        center = size * np.array([np.cos(angle), 0.6, np.sin(angle)])
        views.append(looking(center, np.zeros(3), np.array([0.0, 1.0, 0.0]), f"photo_{i}.jpg", camera))
    points = cloud(500)
    sparse = SparsePoints(
        size * points.points,
        points.colors,
        np.zeros(500),
        np.zeros(501, np.int64),
        np.zeros(0, np.int32),
    )
    frames = project.store.begin("frame_extraction", "0" * 16)
    (frames / "images").mkdir()
    for i in range(CAMERAS):
        photo = np.full((480, 640, 3), (30 * i, 90, 230 - 25 * i), np.uint8)
        cv2.putText(photo, str(i), (230, 340), cv2.FONT_HERSHEY_SIMPLEX, 9, (255, 255, 255), 16)
        cv2.imwrite(str(frames / "images" / f"photo_{i}.jpg"), photo)
    placed = project.store.begin("sparse_reconstruction", "1" * 16)
    Scene(tuple(views), sparse, up=np.array([0.0, 1.0, 0.0])).save(placed)
    dense = project.store.begin("dense_reconstruction", "2" * 16)
    write_point_cloud(dense / "point_cloud.ply", scaled(cloud(), size))
    textured = project.store.begin("texturing", "3" * 16)
    write_glb(textured / "textured_mesh.glb", scaled(box(), size))
    made: dict[str, str] = {}
    for work in (frames, placed, dense, textured):
        manifest = manifest_of(work.name, made)
        project.store.commit(work, manifest)
        made[manifest.stage] = manifest.fingerprint
    project.results.folder.mkdir()
    for work, name in ((dense, "point_cloud.ply"), (textured, "textured_mesh.glb")):
        shutil.copy(project.store.finished / work.name / name, project.results.folder)
    return project


def start_anew(project: Project) -> None:
    """Leave what a further run does that ends after the cameras: another sparse reconstruction."""
    work = project.store.begin("sparse_reconstruction", "9" * 16)
    shutil.copytree(project.artifacts["sparse_reconstruction"].path, work, dirs_exist_ok=True)
    inputs = {"frame_extraction": "0" * 16}
    project.store.commit(work, manifest_of(work.name, inputs).model_copy(update={"started": 2.0}))


def manifest_of(name: str, inputs: dict[str, str]) -> Manifest:
    stage, _, fingerprint = name.rpartition("-")
    return Manifest(
        stage=stage,
        stage_version=1,
        fingerprint=fingerprint,
        inputs=dict(inputs),
        options={},
        seed=0,
        engine="cpu",
        workers=1,
        versions={},
        started=0.0,
        seconds=1.0,
        cpu_seconds=1.0,
        peak_memory=1,
        counts={},
        fallbacks=(),
    )

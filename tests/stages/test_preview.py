"""The picture that a stage leaves: the same first view as everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from recon3d.rendering.framing import Photos
from recon3d.rendering.opening import opening_of
from recon3d.stages.preview import write_preview
from recon3d.types import Camera, PointCloud, Scene, SparsePoints
from tests.synthetic.shapes import looking, sphere_cloud


def test_the_preview_opens_on_the_lit_side_and_is_filled(tmp_path: Path) -> None:
    ball = sphere_cloud(20_000)
    lit = np.where(ball.points[:, 2:] > 0, (250, 40, 40), (0, 0, 60)).astype(np.uint8)
    cloud = PointCloud(ball.points, ball.normals, lit)
    camera = Camera("PINHOLE", 640, 480, (600.0, 600.0, 320.0, 240.0))
    up = np.array([0.0, 1.0, 0.0])
    angles = 2 * np.pi * np.arange(12) / 12
    centers = [np.array([5 * np.cos(a), 1.0, 5 * np.sin(a)]) for a in angles]
    views = [looking(c, np.zeros(3), up, f"{i}.jpg", camera) for i, c in enumerate(centers)]
    scene = Scene(tuple(views), SparsePoints.empty(), up=up)
    write_preview(tmp_path, scene, cloud)
    picture = np.asarray(Image.open(tmp_path / "preview.png").convert("RGB")).astype(int)
    red = (picture[..., 0] > 150) & (picture[..., 1] < 100)
    blue = (picture[..., 2] < 100) & (picture[..., 0] < 50)
    assert red.sum() > 5 * blue.sum()
    rows = np.flatnonzero((red | blue).any(axis=1))
    assert 0.6 < (rows[-1] - rows[0]) / picture.shape[0] < 0.95
    opening = opening_of(cloud, Photos.of(views), up)
    assert opening.photo is not None
    assert centers[opening.photo][2] > 3.5

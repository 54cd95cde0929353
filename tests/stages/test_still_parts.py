"""The wall behind a turntable leaves no points in the cloud."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from recon3d.compute import InlineContext
from recon3d.io.ply import read_point_cloud
from recon3d.layout import Registration, WorldFrame, write_registration
from recon3d.options import DenseReconstructionOptions
from recon3d.stages import dense_reconstruction
from recon3d.types import Scene, SparsePoints
from tests.synthetic.media import texture
from tests.synthetic.motions import BOX, turntable


def _off_the_box(points: np.ndarray) -> np.ndarray:
    middle = np.array([0, BOX[1], 0])
    outside = np.maximum(np.abs(points - middle) - BOX, 0)
    return np.linalg.norm(outside, axis=1)


@pytest.mark.parametrize("known", [False, True])
def test_the_wall_is_not_in_the_cloud(tmp_path: Path, known: bool) -> None:
    images, views = turntable(np.arange(0, 120, 10.0), texture(400, 300, seed=7), (200, 150))
    (tmp_path / "frames" / "images").mkdir(parents=True)
    for image, view in zip(images, views, strict=True):
        cv2.imwrite(str(tmp_path / "frames" / "images" / view.name), image)
    points = np.random.default_rng(0).uniform(-BOX, BOX, (300, 3))
    points[:, 1] = 2 * BOX[1]  # the top, which all cameras see
    starts = np.arange(301, dtype=np.int64) * len(views)
    tracks = np.tile(np.arange(len(views), dtype=np.int32), 300)
    sparse = SparsePoints(points, np.zeros((300, 3), np.uint8), np.zeros(300), starts, tracks)
    Scene(tuple(views), sparse).save(tmp_path / "sparse")
    world = WorldFrame("", "", "arbitrary")
    write_registration(tmp_path / "sparse", Registration((), world, resting=0.5 if known else None))
    out = tmp_path / "out"
    out.mkdir()
    context = InlineContext()
    inputs = {"frame_extraction": tmp_path / "frames", "sparse_reconstruction": tmp_path / "sparse"}
    options = DenseReconstructionOptions(max_image_size=200, num_sources=3, geometric_iterations=1)
    dense_reconstruction.run(inputs, options, out, context)
    cloud = read_point_cloud(out / "point_cloud.ply").points
    wrong = np.mean(_off_the_box(cloud) > 0.05)
    if known:
        assert wrong < 0.005
        assert len(cloud) > 10_000
        assert "of the pixels show what stands still while the rest moves" in context.fallbacks[0]
    else:
        assert wrong > 0.1
        assert context.fallbacks == []

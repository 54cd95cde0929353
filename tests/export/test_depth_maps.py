"""Depth maps in COLMAP's layout: COLMAP itself fuses what we write."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest

from recon3d.export.depth_maps import write_workspace
from recon3d.io.depth import write_depth_map
from recon3d.types import DepthMap
from tests.synthetic.scenes import Plane, Sphere, arc, render, scene_of

WALL = Plane(np.array([0.0, 0.0, -1.0]), -0.6)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    pictures = [render([Sphere(np.zeros(3), 0.55), WALL], view) for view in arc(4)]
    scene = scene_of(pictures)
    for name in ("dense", "sparse"):
        scene.save(folder / name)
    (folder / "images").mkdir()
    for picture in pictures:
        cv2.imwrite(str(folder / "images" / picture.view.name), picture.rgb[..., ::-1])
        depth, normal = (a.astype(np.float32) for a in (picture.depth, picture.normal))
        confidence = (depth > 0).astype(np.float32)
        made = DepthMap(picture.view.name, picture.view.camera, depth, normal, confidence)
        write_depth_map(folder / "dense" / "depth_maps" / f"{picture.view.name}.npz", made)
    return folder


@pytest.mark.parametrize("factor", [1.0, 2.5])
def test_colmap_fuses_what_is_written(artifacts: Path, tmp_path: Path, factor: float) -> None:
    write_workspace(tmp_path, artifacts / "dense", artifacts / "sparse", artifacts / "images", factor)
    assert (tmp_path / "images" / "view0.png").exists()
    assert (tmp_path / "stereo" / "depth_maps" / "view0.png.geometric.bin").exists()
    options = pycolmap.StereoFusionOptions()
    options.min_num_pixels = 2
    options.num_threads = 1
    (tmp_path / "fused").mkdir()
    fused = pycolmap.stereo_fusion(str(tmp_path / "fused"), str(tmp_path), options=options)
    points = np.array([p.xyz for p in fused.points3D.values()]) / factor
    assert len(points) > 1000
    off = np.minimum(np.abs(np.linalg.norm(points, axis=1) - 0.55), np.abs(points[:, 2] - 0.6))
    assert np.median(off) < 0.005
    colors = np.array([p.color for p in fused.points3D.values()])
    assert colors.std() > 10

"""Known cameras of any number, and photos whose names have spaces, quotes and letters of all kinds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon3d.compute import InlineContext
from recon3d.io.atomic import write_json
from recon3d.options import (
    FeatureExtractionOptions,
    FeatureMatchingOptions,
    FrameExtractionOptions,
    SparseReconstructionOptions,
)
from recon3d.project import Project
from recon3d.stages import feature_extraction, feature_matching, frame_extraction, sparse_reconstruction
from recon3d.types import Scene
from tests.synthetic.scenes import Plane, arc, render

WALL = Plane(np.array([0.0, 0.0, -1.0]), 0.0)
NAMES = ["left/a b.jpg", "left/a  c.jpg", "größe 日本 'x'.jpg"]


@pytest.mark.parametrize("cameras", [(1, 1, 1), (5, 6, 7), (2, 1, 2)], ids=str)
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_any_name_goes_through(tmp_path: Path, binary: bool, cameras: tuple[int, ...]) -> None:
    images, model = tmp_path / "images", tmp_path / "model"
    model.mkdir()
    lines = []
    views = arc(3, size=(320, 240))
    for number, (name, view) in enumerate(zip(NAMES, views, strict=True), 1):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(cv2.imencode(".jpg", render([WALL], view).rgb)[1].tobytes())
        x, y, z, w = Rotation.from_matrix(view.cam_from_world[:3, :3]).as_quat()
        pose = [w, x, y, z, *view.cam_from_world[:3, 3]]
        lines.append(f"{number} {' '.join(map(str, pose))} {cameras[number - 1]} {name}\n\n")
    camera = views[0].camera
    parameters = " ".join(map(str, camera.params))
    (model / "cameras.txt").write_text(
        "".join(f"{k} {camera.model} 320 240 {parameters}\n" for k in sorted(set(cameras)))
    )
    (model / "images.txt").write_text("".join(lines))
    (model / "points3D.txt").write_text("")
    if binary:
        code = (
            "import sys, pycolmap\nr = pycolmap.Reconstruction(sys.argv[1])\n"
            "for i, name in enumerate(sys.argv[2:], 1): r.image(i).name = name\nr.write(sys.argv[1])"
        )
        subprocess.run([sys.executable, "-c", code, str(model), *NAMES], check=True)
        for text in model.glob("*.txt"):
            text.unlink()
    project = Project.create(tmp_path / "project")
    project.add_posed_photos(images, model)
    folders = {"inputs": project.path / "inputs"}
    for stage, options in (
        (frame_extraction, FrameExtractionOptions()),
        (feature_extraction, FeatureExtractionOptions(max_image_size=320, first_octave=0)),
        (feature_matching, FeatureMatchingOptions()),
        (sparse_reconstruction, SparseReconstructionOptions()),
    ):
        name = stage.__name__.rsplit(".", 1)[1]
        folder = tmp_path / name
        folder.mkdir()
        stage.run(folders, options, folder, InlineContext())
        folders[name] = folder
        write_json(folders[name] / "manifest.json", {"options": options.model_dump()})
    scene = Scene.load(folders["sparse_reconstruction"])
    assert sorted(view.name for view in scene) == sorted(NAMES)
    by_name = {view.name: view for view in scene}
    for name, view in zip(NAMES, views, strict=True):
        np.testing.assert_allclose(by_name[name].cam_from_world, view.cam_from_world, atol=1e-9)
    assert len(scene.points) > 50

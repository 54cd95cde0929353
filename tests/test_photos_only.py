"""From photos to the dense cloud, nothing loads FFmpeg or Open3D: a GPU machine may lack them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from tests.synthetic.scenes import Plane, Sphere, arc, render

#: Every Python process imports this first, workers too.
_BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("av", "open3d"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
"""
_SCRIPT = """
import recon3d

project = recon3d.Project.create("photos")
project.add_photos("images")
options = {
    "feature_extraction": {"max_features": 1000},
    "dense_reconstruction": {"max_image_size": 160, "iterations": 2},
}
recon3d.Pipeline("low", workers=1, **options).run(project, until="dense_reconstruction")
print(sorted(project.artifacts))
"""


def test_photos_to_a_cloud(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "sitecustomize.py").write_text(_BLOCK)
    shapes: list[Plane | Sphere] = [Sphere(np.zeros(3), 0.55), Plane(np.array([0.0, 0.0, -1.0]), -0.6)]
    for view in arc(5, size=(480, 360)):
        cv2.imwrite(str(tmp_path / "images" / view.name), render(shapes, view).rgb)
    paths = [str(tmp_path), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-c", _SCRIPT]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "dense_reconstruction" in done.stdout

"""The kernels are compiled beforehand, all of them, and once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from recon3d.compute import InlineContext
from recon3d.mvs import geometric_consistency as consistency
from recon3d.mvs import initial, normals, patchmatch
from recon3d.mvs import matching_cost as matching
from recon3d.mvs.compilation import compile_kernels
from recon3d.options import DenseReconstructionOptions
from recon3d.stages.dense_reconstruction import stage as dense_reconstruction
from tests.synthetic.scenes import Plane, arc, render, scene_of

MODULES = (consistency, initial, matching, normals, patchmatch)


def variants() -> dict[str, int]:
    """How many sets of argument types each kernel is compiled for."""
    return {
        f"{module.__name__}.{name}": len(kernel.signatures)
        for module in MODULES
        for name, kernel in vars(module).items()
        if hasattr(kernel, "signatures")
    }


def test_nothing_is_left_to_compile(tmp_path: Path) -> None:
    compile_kernels()
    before = variants()
    assert before["recon3d.mvs.patchmatch.sweep"] == 1
    pictures = [render([Plane(np.array([0.0, 0.0, -1.0]), -0.6)], view) for view in arc(4)]
    images = tmp_path / "frames" / "images"
    images.mkdir(parents=True)
    for picture in pictures:
        cv2.imwrite(str(images / picture.view.name), picture.rgb[..., ::-1])
    scene_of(pictures).save(tmp_path / "sparse")
    inputs = {"frame_extraction": tmp_path / "frames", "sparse_reconstruction": tmp_path / "sparse"}
    options = DenseReconstructionOptions(max_image_size=160, geometric_iterations=2)
    (tmp_path / "out").mkdir()
    dense_reconstruction.run(inputs, options, tmp_path / "out", InlineContext())
    assert variants() == before


def test_later_processes_load_what_the_first_has_compiled(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", "from recon3d.mvs.compilation import compile_kernels as c; c()"]
    subprocess.run(command, env=environment, check=True)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}
    assert made
    subprocess.run(command, env=environment, check=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")} == made

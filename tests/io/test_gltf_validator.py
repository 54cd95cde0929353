"""Khronos's validator on the GLBs that recon3d writes.

It comes from npm: ``npm install --prefix FOLDER gltf-validator``, then NODE_PATH=FOLDER/node_modules.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from recon3d.io.gltf import read_textured_mesh, write_glb
from recon3d.io.gltf_scale import scale_glb
from recon3d.types import Mesh
from tests.io.test_gltf import paged, quad, tilted_map
from tests.synthetic.box import box_mesh, photograph, ring
from tests.synthetic.shapes import sphere_cloud

pytestmark = pytest.mark.slow

_SCRIPT = """
const {readFileSync} = require('fs');
const validator = require('gltf-validator');
Promise.all(process.argv.slice(1).map(file => validator.validateBytes(new Uint8Array(readFileSync(file)))))
    .then(reports => console.log(JSON.stringify(reports.map(report => report.issues))));
"""


def validate(paths: list[Path]) -> dict[str, Any]:
    """The validator's issues with each file."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: apt-get install nodejs npm")
    done = subprocess.run([node, "-e", _SCRIPT, "--", *map(str, paths)], capture_output=True, text=True)
    if "Cannot find module 'gltf-validator'" in done.stderr:
        pytest.skip("npm's gltf-validator is not installed: " + " ".join(__doc__.split("\n\n")[1].split()))
    assert done.returncode == 0, done.stderr
    return {path.name: issues for path, issues in zip(paths, json.loads(done.stdout), strict=True)}


def written(folder: Path) -> list[Path]:
    """Each kind of GLB that recon3d writes."""
    textured = quad()
    write_glb(folder / "jpeg.glb", textured)
    write_glb(folder / "png.glb", textured, texture_format="png")
    write_glb(folder / "webp.glb", textured, texture_format="webp")
    write_glb(folder / "lit.glb", textured, material="pbr", up=np.array([0.1, -0.9, 0.3]))
    write_glb(folder / "lit_webp.glb", textured, material="pbr", texture_format="webp")
    write_glb(folder / "normals_jpeg.glb", textured, material="pbr", normal_map=tilted_map())
    write_glb(
        folder / "normals_webp.glb",
        textured,
        material="pbr",
        texture_format="webp",
        normal_map=tilted_map(24),
        up=np.array([0.1, -0.9, 0.3]),
    )
    in_pages = paged(3)
    write_glb(folder / "pages.glb", in_pages)
    write_glb(folder / "occlusion.glb", textured, material="pbr", occlusion=tilted_map())
    write_glb(
        folder / "lit_pages.glb",
        in_pages,
        material="pbr",
        texture_format="webp",
        normal_map=tilted_map(32),
        occlusion=tilted_map(32),
    )
    # Sides of textures are multiples of 16, not powers of two.
    odd = replace(textured, texture=np.zeros((48, 48, 3), np.uint8))
    write_glb(folder / "48_texels.glb", odd)
    far = replace(textured, vertices=textured.vertices + np.array([4e5, 5e6, 100.0]))
    write_glb(folder / "far.glb", far, up=np.array([0.0, 0.0, 1.0]))
    write_glb(folder / "turned.glb", textured, up=np.array([0.1, -0.9, 0.3]))
    write_glb(folder / "upside_down.glb", textured, up=np.array([0.0, -1.0, 0.0]))
    scale_glb(folder / "far.glb", folder / "scaled.glb", 0.37)
    box = box_mesh(6)
    normals = (box.vertices / np.linalg.norm(box.vertices, axis=1, keepdims=True)).astype(np.float32)
    colors = np.random.default_rng(0).integers(0, 256, (len(box.vertices), 3), np.uint8)
    write_glb(folder / "plain.glb", box)
    write_glb(folder / "colors.glb", Mesh(box.vertices, box.faces, colors))
    write_glb(folder / "normals.glb", Mesh(box.vertices, box.faces, colors, normals))
    # Two vertices without a face of any area.
    loose = np.vstack([box.vertices, box.vertices[:1] + 1.0, box.vertices[:1] + 2.0])
    flat = np.vstack([box.faces, [[0, len(loose) - 1, len(loose) - 1]]]).astype(np.int32)
    write_glb(folder / "lit_plain.glb", Mesh(loose, flat), material="pbr")
    return sorted(folder.glob("*.glb"))


def test_the_validator_finds_nothing(tmp_path: Path) -> None:
    reports = validate(written(tmp_path))
    assert len(reports) == 19
    for name, issues in reports.items():
        assert issues["numErrors"] == issues["numWarnings"] == 0, (name, issues["messages"])


def test_the_validator_finds_nothing_in_the_model_of_a_run(tmp_path: Path) -> None:
    from tests.stages.test_texturing import project_folder, run

    box, views = box_mesh(14), ring(8)
    inputs = project_folder(tmp_path, box, views, [photograph(box, view) for view in views])
    run(inputs, tmp_path / "out", texture_size=1024, max_faces=500)
    model = tmp_path / "out" / "textured_mesh.glb"
    lit = read_textured_mesh(model)
    write_glb(tmp_path / "lit.glb", lit, material="pbr", texture_format="webp")
    normals = cv2.imread(str(tmp_path / "out" / "normal_map.png"))[..., ::-1]
    write_glb(tmp_path / "normals.glb", lit, material="pbr", normal_map=normals)
    for issues in validate([model, tmp_path / "lit.glb", tmp_path / "normals.glb"]).values():
        assert issues["numErrors"] == issues["numWarnings"] == 0, issues["messages"]


def test_the_validator_finds_what_is_wrong(tmp_path: Path) -> None:
    """Or it would not be one."""
    cloud = sphere_cloud(3)
    mesh = Mesh(cloud.points, np.array([[0, 1, 2]], np.int32), None, np.full((3, 3), 0.2, np.float32))
    write_glb(tmp_path / "short_normals.glb", mesh)
    ((_, issues),) = validate([tmp_path / "short_normals.glb"]).items()
    assert issues["numErrors"] > 0

"""Make the pictures of the docs from finished projects: ``python docs/make_pictures.py PROJECT NAME``.

Writes ``docs/images/NAME.png``: a frame, the dense cloud, the surface and the textured model, all
seen by the frame's own camera.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from recon3d.io.gltf import read_textured_mesh
from recon3d.io.ply import read_mesh, read_point_cloud
from recon3d.io.undistort import load_view_image
from recon3d.project import Project
from recon3d.render import render_mesh, render_points
from recon3d.types import Mesh, Scene, TexturedMesh

_WIDTH = 480


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("name")
    parser.add_argument("--view", type=int, default=0, help="index of the frame")
    given = parser.parse_args()
    project = Project.open(given.project)
    artifacts, results = project.artifacts, project.results
    scene = Scene.load(artifacts["sparse_reconstruction"].path)
    view = scene.views[given.view]
    photo, camera = load_view_image(artifacts["frame_extraction"].path / "images", view, _WIDTH)
    textured = read_textured_mesh(results.textured_mesh)
    assert isinstance(textured, TexturedMesh)
    mesh = read_mesh(results.mesh)
    tiles = [
        photo,
        render_points(read_point_cloud(results.point_cloud), camera, view.cam_from_world),
        render_mesh(Mesh(mesh.vertices, mesh.faces), camera, view.cam_from_world),
        render_mesh(textured, camera, view.cam_from_world),
    ]
    target = Path(__file__).parent / "images" / f"{given.name}.png"
    target.parent.mkdir(exist_ok=True)
    Image.fromarray(np.hstack(tiles)).quantize(192, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main()

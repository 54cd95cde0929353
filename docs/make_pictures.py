"""Make the pictures of the docs.

``python docs/make_pictures.py model PROJECT NAME``: a frame, the dense cloud, the surface and the
textured model of a finished project, all seen by the frame's own camera.

``python docs/make_pictures.py dense FOLDER IMAGES NAME``: a photo, its depth map, its normals and the
cloud, of a finished dense_reconstruction (such as ``python -m tests.benchmarks.dense --keep`` leaves).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from recon3d.io.depth import read_depth_map
from recon3d.io.gltf import read_textured_mesh
from recon3d.io.ply import read_mesh, read_point_cloud
from recon3d.io.undistort import load_view_image
from recon3d.project import Project
from recon3d.rendering.render import render_mesh, render_points
from recon3d.types import Bytes, Mesh, Scene, TexturedMesh, View

_WIDTH = 480
_UNKNOWN = 40


def model_tiles(project: Project, index: int) -> list[Bytes]:
    """What a project made, beside one of its frames."""
    artifacts, results = project.artifacts, project.results
    view = Scene.load(artifacts["sparse_reconstruction"].path).views[index]
    photo, camera = load_view_image(artifacts["frame_extraction"].path / "images", view, _WIDTH)
    textured = read_textured_mesh(results.textured_mesh)
    assert isinstance(textured, TexturedMesh)
    mesh = read_mesh(results.mesh)
    return [
        photo,
        render_points(read_point_cloud(results.point_cloud), camera, view.cam_from_world),
        render_mesh(Mesh(mesh.vertices, mesh.faces), camera, view.cam_from_world, fine=True),
        render_mesh(textured, camera, view.cam_from_world, fine=True),
    ]


def dense_tiles(folder: Path, images: Path, index: int) -> list[Bytes]:
    """Photo, depth, normals and cloud of one view."""
    view = Scene.load(folder).views[index]
    # As it was taken: with the lens's distortion, which depth maps do not have.
    photo = np.asarray(Image.open(images / view.name).convert("RGB"))
    depth_map = read_depth_map(folder / "depth_maps" / f"{view.name}.npz")
    known = depth_map.depth > 0
    nearness = 1 / np.where(known, depth_map.depth, 1)
    low, high = np.percentile(nearness[known], [2, 98])
    gray = np.rint(255 * np.clip((nearness - low) / (high - low), 0, 1)).astype(np.uint8)
    depth = cv2.applyColorMap(gray, cv2.COLORMAP_VIRIDIS)[..., ::-1].copy()
    normals = np.rint(255 * (0.5 - 0.5 * depth_map.normal)).astype(np.uint8)
    depth[~known] = normals[~known] = _UNKNOWN
    small = _reduced(view)
    cloud = render_points(read_point_cloud(folder / "point_cloud.ply"), small.camera, small.cam_from_world)
    size = (small.camera.width, small.camera.height)
    tiles = [photo, depth, normals]
    return [*(np.asarray(Image.fromarray(t).resize(size, Image.Resampling.LANCZOS)) for t in tiles), cloud]


def _reduced(view: View) -> View:
    return View(view.name, view.camera.fitted(_WIDTH), view.cam_from_world)


def save(tiles: list[Bytes], name: str) -> None:
    """Write the tiles as one picture."""
    target = Path(__file__).parent / "images" / f"{name}.png"
    target.parent.mkdir(exist_ok=True)
    Image.fromarray(np.hstack(tiles)).quantize(192, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> None:
    """Make what the command line names."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    kinds = parser.add_subparsers(dest="kind", required=True)
    model = kinds.add_parser("model")
    model.add_argument("project", type=Path)
    dense = kinds.add_parser("dense")
    dense.add_argument("folder", type=Path)
    dense.add_argument("images", type=Path)
    for command in (model, dense):
        command.add_argument("name")
        command.add_argument("--view", type=int, default=0, help="index of the frame")
    given = parser.parse_args()
    if given.kind == "model":
        save(model_tiles(Project.open(given.project), given.view), given.name)
    else:
        save(dense_tiles(given.folder, given.images, given.view), given.name)


if __name__ == "__main__":
    main()

"""Make the sheet that compares models of two states of the code: five sets from three sides.

``python -m docs.make_model_sheet BEFORE AFTER girl bust fountain saharov rock``: BEFORE and AFTER are
folders that hold a finished project for each name, made from the same cameras. A row is a set; each side
is shown before and after, first the shaded surface, then the texture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from recon3d.io.gltf import read_textured_mesh
from recon3d.io.ply import read_mesh
from recon3d.project import Project
from recon3d.rendering.framing import axes
from recon3d.rendering.render import render_mesh
from recon3d.types import Bytes, Camera, Floats, Mesh, Scene

_SIDES = 3
_TILE, _GAP = 118, 2
_QUALITY = 80


def cameras(scene: Scene, mesh: Mesh) -> list[tuple[Camera, Floats]]:
    """Square pictures of all of a mesh, from directions of views that are spread evenly around it."""
    low, high = np.percentile(mesh.vertices, [1, 99], axis=0)
    middle, reach = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    toward = np.array([view.center for view in scene]) - middle
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    up = np.asarray(scene.up if scene.up is not None else -scene.views[0].cam_from_world[1, :3])
    chosen = [0]
    while len(chosen) < min(_SIDES, len(toward)):
        chosen.append(int(np.argmin((toward @ toward[chosen].T).max(axis=1))))
    sides = []
    for index in sorted(chosen):
        pose = np.eye(4)
        pose[:3, :3] = axes(toward[index], up) * [[1], [-1], [-1]]
        pose[:3, 3] = -pose[:3, :3] @ (middle + 4 * reach * toward[index])
        sides.append(
            (Camera("PINHOLE", 2 * _TILE, 2 * _TILE, (3.9 * _TILE, 3.9 * _TILE, _TILE, _TILE)), pose)
        )
    return sides


def row(before: Path, after: Path) -> Bytes:
    """The tiles of one set."""
    projects = [Project.open(before), Project.open(after)]
    scene = Scene.load(projects[1].artifacts["sparse_reconstruction"].path)
    models = [
        (read_mesh(project.results.mesh), read_textured_mesh(project.results.textured_mesh))
        for project in projects
    ]
    tiles = []
    for camera, pose in cameras(scene, models[1][0]):
        for mesh, _ in models:
            tiles.append(render_mesh(Mesh(mesh.vertices, mesh.faces), camera, pose))
        for _, textured in models:
            tiles.append(render_mesh(textured, camera, pose, shaded=False))
    small = [np.asarray(Image.fromarray(t).resize((_TILE, _TILE), Image.Resampling.LANCZOS)) for t in tiles]
    return np.hstack([np.pad(tile, ((_GAP, 0), (_GAP, 0), (0, 0))) for tile in small])


def main() -> None:
    """Write ``docs/images/models.jpg``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("names", nargs="+")
    given = parser.parse_args()
    sheet = np.vstack([row(given.before / name, given.after / name) for name in given.names])
    Image.fromarray(sheet).save(
        Path(__file__).parent / "images" / "models.jpg", quality=_QUALITY, optimize=True
    )


if __name__ == "__main__":
    main()

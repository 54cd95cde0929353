"""Make the picture of models before and after, ``docs/images/models.jpg``.

``python docs/make_model_sheet.py NAME BEFORE AFTER [NAME BEFORE AFTER ...]``: BEFORE and AFTER are GLBs in
one frame; beside AFTER is its project. Each model is seen from three sides from which photos were taken
that lie furthest apart, shaded and textured. The left half is BEFORE.

The GLB of the code before comes from a checkout that runs on the same cameras:
``recon3d export PROJECT --format colmap -o FOLDER``, then there
``recon3d run --poses FOLDER/sparse/0 --images FOLDER/images -q low``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import recon3d
from recon3d.io.gltf import read_glb
from recon3d.rendering.framing import Opening, Photos
from recon3d.rendering.opening import opening_of
from recon3d.rendering.render import render_mesh
from recon3d.types import Bytes, Floats, Mesh, TexturedMesh

_TILE, _GAP, _SIDES = (330, 300), 4, 3


def sides(opening: Opening, photos: Photos) -> list[Opening]:
    """The first view, and the sides of the photos that are furthest from those before."""
    ways = photos.centers - opening.target
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    chosen: list[Floats] = [opening.back]
    while len(chosen) < _SIDES:
        nearest = np.max(ways @ np.array(chosen).T, axis=1)
        chosen.append(ways[int(np.argmin(nearest))])
    return [replace(opening, back=back) for back in chosen]


def rows(model: Mesh | TexturedMesh, views: list[Opening]) -> list[Bytes]:
    """Shaded pictures of a model, and textured ones."""
    plain = Mesh(model.vertices, model.faces)
    found: list[Bytes] = []
    for shown in (plain, model):
        pictures = [render_mesh(shown, *view.camera(_TILE), fine=True) for view in views]
        margin = ((0, _GAP), (0, _GAP), (0, 0))
        found.append(np.hstack([np.pad(picture, margin, constant_values=255) for picture in pictures]))
    return found


def pair(before: Path, after: Path) -> Bytes:
    """Both models from the same sides."""
    project = recon3d.Project.open(after.parent.parent)
    scene = project.scene
    photos = Photos.of(scene.views)
    new, old = read_glb(after), read_glb(before)
    views = sides(opening_of(new, photos, scene.up), photos)
    halves = [np.vstack(rows(model, views)) for model in (old, new)]
    made: Bytes = np.hstack([halves[0], np.full((len(halves[0]), 3 * _GAP, 3), 255, np.uint8), halves[1]])
    return made


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="NAME BEFORE AFTER")
    given = parser.parse_args().models
    made = []
    for name, before, after in zip(given[::3], given[1::3], given[2::3], strict=True):
        made.append(pair(Path(before), Path(after)))
        made.append(np.full((3 * _GAP, made[-1].shape[1], 3), 255, np.uint8))
        print(name)
    target = Path(__file__).parent / "images" / "models.jpg"
    Image.fromarray(np.vstack(made)).save(target, quality=72, optimize=True)


if __name__ == "__main__":
    main()

"""``python -m recon3d.export.depth_maps``: depth maps as COLMAP's dense stage has them.

A program of its own, since COLMAP can abort the process that it is in.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from recon3d.io.atomic import atomic_path
from recon3d.io.colmap_dense import DenseWorkspace
from recon3d.io.depth import read_depth_map, write_colmap_map
from recon3d.io.masks import load_view_mask, write_mask
from recon3d.io.undistort import load_view_image
from recon3d.layout import depth_map_file, mask_file
from recon3d.mvs.source_selection import source_views
from recon3d.similarity import scaled
from recon3d.types import Scene

#: Sources that are listed for each view; COLMAP's own choice is 20.
_SOURCES = 20


def write_workspace(target: Path, dense: Path, sparse: Path, images: Path, factor: float = 1.0) -> None:
    """Write a workspace that COLMAP's ``stereo_fusion`` and what reads its maps can work on.

    Parameters
    ----------
    target : Path
        Folder; receives undistorted ``images`` and their ``masks``, the ``sparse`` model of the
        undistorted cameras, and ``stereo`` with the filtered depth and normal maps of all views, as
        "geometric" ones.
    dense, sparse : Path
        Artifacts of dense_reconstruction and sparse_reconstruction.
    images : Path
        Folder of the frames.
    factor : float
        Metres per unit.
    """
    from recon3d.colmap import write_model

    scene, original = Scene.load(dense), Scene.load(sparse)
    made = [i for i, view in enumerate(scene) if depth_map_file(dense, view.name).exists()]
    # Commas and blanks mean something in COLMAP's lists.
    names = tuple(re.sub(r"[\s,]", "_", view.name) for view in scene)
    workspace = DenseWorkspace(target, names if len(set(names)) == len(names) else ())
    chosen = source_views(scene, _SOURCES)
    workspace.prepare({i: [int(j) for j in chosen[i]] for i in made})
    for i, view in enumerate(scene):
        size = max(view.camera.width, view.camera.height)
        rgb, _ = load_view_image(images, original.views[i], size)
        with atomic_path(workspace.image(i)) as temporary:
            Image.fromarray(rgb).save(temporary, quality=95)
        visible = load_view_mask(mask_file(images, view.name), original.views[i], size)
        if visible is not None:
            write_mask(workspace.mask(i), visible)
    for i in made:
        depth_map = read_depth_map(depth_map_file(dense, scene.views[i].name))
        write_colmap_map(workspace.depth_map(i, "geometric"), np.float32(factor) * depth_map.depth)
        write_colmap_map(workspace.normal_map(i, "geometric"), depth_map.normal)
    cameras = tuple(replace(view, camera=view.camera.undistorted()) for view in scene)
    write_model(
        workspace.model,
        scaled(replace(scene, views=cameras), factor),
        [workspace.name(i) for i in range(len(scene))],
    )


def main() -> None:
    """Write the workspace that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("target", "dense", "sparse", "images"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--factor", type=float, default=1.0)
    given = parser.parse_args()
    write_workspace(given.target, given.dense, given.sparse, given.images, given.factor)


if __name__ == "__main__":
    main()

"""A map of ambient occlusion for the texture of a mesh."""

from __future__ import annotations

import numpy as np

from recon3d.rendering.openness import openness
from recon3d.texture.atlas import Atlas
from recon3d.texture.grid import face_pages, in_grid, within_page
from recon3d.texture.tangents import split_for_shading
from recon3d.texture.texels import UNIT, correct
from recon3d.threads import ALONE, Threads
from recon3d.types import Bytes, TexturedMesh


def occlusion_map(mesh: TexturedMesh, threads: Threads = ALONE) -> Bytes:
    """Compute how open the surface is to light from all around, for each two by two texels.

    It is computed at the vertices and runs evenly over the triangles.

    Parameters
    ----------
    mesh : TexturedMesh
        With square pages.
    threads : Threads, optional

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        Gray, 255 where the surface is open; its pages stand as the texture's do.
    """
    split = split_for_shading(mesh)
    values = openness(mesh.vertices, mesh.faces, split.vertices, split.normals)
    rows, columns = mesh.pages
    side, page = mesh.texture.shape[0] // rows // 2, face_pages(mesh)
    made = []
    for number in range(rows * columns):
        faces = split.faces[page == number]
        if not len(faces):
            made.append(np.full((side, side, 3), 255, np.uint8))
            continue
        xy = within_page(split.uv, number, mesh.pages).astype(np.float64)
        xy[:, 1] = 1 - xy[:, 1]
        atlas = Atlas.empty(side)
        offsets = np.repeat(255.0 * UNIT * values[:, None].astype(np.float64), 3, axis=1)
        starts = np.array([0, len(faces)], np.int64)
        correct(atlas.color, atlas.mask, xy * side, faces.astype(np.int32), starts, offsets, threads)
        made.append(atlas.filled(threads))
    return in_grid(made, mesh.pages)

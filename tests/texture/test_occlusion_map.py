"""The map of ambient occlusion of a box on a floor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recon3d.texture.occlusion_map import occlusion_map
from recon3d.types import TexturedMesh
from tests.synthetic.box import box_mesh, photograph, rate, ring
from tests.synthetic.shapes import grid_mesh
from tests.texture.test_assemble import lookup, random_weights
from tests.texture.whole import texture_mesh


def scene(pages: int, size: int) -> TexturedMesh:
    box, floor = box_mesh(14), grid_mesh(5.0, cells=40)
    ground = floor.vertices - np.array([0, 0.7, 0])
    vertices = np.concatenate([box.vertices, ground])
    mesh = replace(box, vertices=vertices, faces=np.concatenate([box.faces, floor.faces + len(box.vertices)]))
    views = ring(10)
    photos = [photograph(mesh, view) for view in views]
    candidates = rate(mesh, views, photos).candidates()
    return texture_mesh(mesh, views, candidates, photos.__getitem__, texture_size=size, pages=pages)[0]


@pytest.mark.parametrize(("pages", "size"), [(1, 1024), (4, 320)])
def test_the_floor_is_darker_beside_the_box(pages: int, size: int) -> None:
    textured = scene(pages, size)
    assert (textured.pages == (1, 1)) == (pages == 1)
    made = occlusion_map(textured)
    height, width = textured.texture.shape[:2]
    assert made.shape == (height // 2, width // 2, 3)
    assert (made == made[..., :1]).all()
    shaded = replace(textured, texture=made)
    points, gray = lookup(shaded, random_weights(len(textured)))
    value = gray[:, 0] / 255
    on_floor = (points[:, 1] < -0.69) & ((np.abs(points[:, 0]) > 1.01) | (np.abs(points[:, 2]) > 0.61))
    away = np.maximum(np.abs(points[:, 0]) - 1, np.abs(points[:, 2]) - 0.6)
    near, far = on_floor & (away < 0.15), on_floor & (away > 1.2)
    top = (points[:, 1] > 0.69) & (np.abs(points[:, 0]) < 0.9) & (np.abs(points[:, 2]) < 0.5)
    assert near.sum() > 20
    assert np.median(value[near]) < 0.75
    assert np.median(value[far]) > 0.97
    assert value[top].min() > 0.97

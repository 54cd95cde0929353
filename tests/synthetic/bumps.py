"""A sphere with bumps whose normals are known everywhere."""

from __future__ import annotations

import numpy as np

from recon3d.texture.charts import Layout, build_charts, lay_out
from recon3d.texture.pages import Plan, in_pages
from recon3d.texture.seams import find_seams
from recon3d.texture.topology import face_pairs
from recon3d.types import Floats, Mesh, View
from tests.synthetic.box import looking_at

_WAVES, _HEIGHT = np.array([27.0, 29.0, 31.0]), 0.008


def radius(directions: Floats) -> Floats:
    """Distance of the surface from the middle, of unit vectors (N, 3)."""
    return 1 + _HEIGHT * np.sin(directions * _WAVES).sum(axis=1)


def true_normals(directions: Floats) -> Floats:
    """Of the surface in directions from the middle: those of |x| - radius(x / |x|)."""
    slope = _HEIGHT * _WAVES * np.cos(directions * _WAVES)
    tangential = slope - np.einsum("nc,nc->n", slope, directions)[:, None] * directions
    normals = directions - tangential / radius(directions)[:, None]
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def bumpy_sphere(cells: int) -> Mesh:
    """Of 12 * cells² triangles: a cube's sides, blown up."""
    line = np.linspace(-1, 1, cells + 1)
    u, v = (np.tan(np.pi / 4 * part).ravel() for part in np.meshgrid(line, line, indexing="ij"))
    one, corner = np.ones_like(u), (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    a, b, c, d = corner, corner + cells + 1, corner + cells + 2, corner + 1
    square = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    sides = [np.stack(np.roll([u, v, one], turn, axis=0), axis=1) for turn in range(3)]
    points = np.concatenate([*sides, *(-side for side in sides)])
    faces = [square + k * len(u) for k in range(3)] + [square[:, ::-1] + k * len(u) for k in range(3, 6)]
    _, first, inverse = np.unique(points.round(9), axis=0, return_index=True, return_inverse=True)
    directions = points[first] / np.linalg.norm(points[first], axis=1, keepdims=True)
    return Mesh(
        directions * radius(directions)[:, None],
        inverse.reshape(-1)[np.concatenate(faces)].astype(np.int32),
    )


def around(pixels: int) -> list[View]:
    """Six views of it, all but the lowest part."""
    centers = [(4, 0.5, 0), (-4, 0.7, 0), (0, 0.3, 4), (0, 0.6, -4), (0.1, 4.2, 0), (2.4, -1, 2.4)]
    up = np.array([0.0, 1.0, 0.0])
    return [
        looking_at(np.array(c, float), np.zeros(3), up, 1.6 * pixels, (pixels, pixels), name=f"{k}.png")
        for k, c in enumerate(centers)
    ]


def atlas_of(mesh: Mesh, views: list[View], size: int, pages: int = 1) -> tuple[Plan, list[Layout]]:
    """Charts from the view that looks at each face most directly; none where all look along it."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    towards = [-np.linalg.inv(view.cam_from_world)[:3, 3] + (a + b + c) / 3 for view in views]
    cosine = np.stack(
        [-np.einsum("nc,nc->n", t / np.linalg.norm(t, axis=1)[:, None], normals) for t in towards]
    )
    labels = np.where(cosine.max(axis=0) > 0.3, cosine.argmax(axis=0), -1).astype(np.int32)
    pairs = face_pairs(mesh.faces)
    charts, starts = in_pages(build_charts(mesh, pairs, labels, views), mesh.vertices, size, pages)
    plan = Plan(charts, starts, find_seams(charts, pairs, np.ones(len(labels), np.float32)))
    return plan, [lay_out(plan.charts_of(page), views, size) for page in range(plan.pages)]

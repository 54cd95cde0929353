"""What F-scores do not see of a surface: open borders, and noise of its normals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Floats, Mesh

Box = tuple[tuple[float, ...], tuple[float, ...]]

_SAMPLES = 200_000
#: Samples further from the truth than this say nothing of its normals, in metres.
_NEAR = 0.02


@dataclass(frozen=True)
class Border:
    """The open border of a surface, in a box.

    Parameters
    ----------
    edges : int
        Edges of one face only.
    length : float
        Of all of them together.
    """

    edges: int
    length: float


def border(mesh: Mesh, box: Box | None = None) -> Border:
    """Measure the open border, of edges with their middle inside a box."""
    faces = mesh.faces
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    pairs, counts = np.unique(edges, axis=0, return_counts=True)
    ends = mesh.vertices[pairs[counts == 1]]
    if box is not None:
        ends = ends[_inside(ends.mean(axis=1), box)]
    return Border(len(ends), float(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1).sum()))


def normal_errors(mesh: Mesh, truth: Mesh, box: Box | None = None) -> Floats:
    """Angles between the faces' normals and those of the nearest true faces, in degrees.

    Samples are uniform over the surface; those outside the box or far from the truth do not count.
    """
    import open3d as o3d

    rng = np.random.default_rng(0)
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    area = np.linalg.norm(cross, axis=1)
    face = rng.choice(len(area), _SAMPLES, p=area / area.sum())
    u, v = np.sqrt(rng.uniform(size=_SAMPLES))[:, None], rng.uniform(size=_SAMPLES)[:, None]
    points = (1 - u) * a[face] + u * (1 - v) * b[face] + u * v * c[face]
    normals = cross[face] / area[face][:, None]
    if box is not None:
        keep = _inside(points, box)
        points, normals = points[keep], normals[keep]
    scene = o3d.t.geometry.RaycastingScene()
    tensor = o3d.core.Tensor.from_numpy
    scene.add_triangles(tensor(truth.vertices.astype(np.float32)), tensor(truth.faces.astype(np.uint32)))
    nearest = scene.compute_closest_points(tensor(points.astype(np.float32)))
    near = np.linalg.norm(nearest["points"].numpy() - points, axis=1) <= _NEAR
    true = nearest["primitive_normals"].numpy().astype(np.float64)[near]
    true /= np.maximum(np.linalg.norm(true, axis=1, keepdims=True), 1e-12)
    cosine = np.einsum("nc,nc->n", true, normals[near])
    degrees: Floats = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return degrees


def _inside(points: Floats, box: Box) -> NDArray[np.bool_]:
    low, high = np.asarray(box[0]), np.asarray(box[1])
    return np.asarray(((points >= low) & (points <= high)).all(axis=1))

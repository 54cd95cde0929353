"""Folds that moving vertices has made are taken out; what was sharp before stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recon3d.surface.connectivity import adjacent_faces
from recon3d.surface.normals import face_geometry
from recon3d.surface.refinement import Neighbors
from recon3d.surface.unfolding import unfold
from recon3d.threads import Threads
from recon3d.types import Mesh
from tests.synthetic.shapes import grid_mesh


def smallest_cosine(mesh: Mesh) -> float:
    normals = face_geometry(mesh.vertices, mesh.faces)[0]
    pairs = adjacent_faces(mesh.faces)
    return float(np.sum(normals[pairs[:, 0]] * normals[pairs[:, 1]], axis=1).min())


def unfolded(mesh: Mesh, start: Mesh, threads: int = 1) -> Mesh:
    near = Neighbors.of(start)
    with Threads(threads) as pool:
        return unfold(mesh, start, (near.starts, near.vertices), pool)


@pytest.fixture
def flat() -> Mesh:
    mesh = grid_mesh(2.0, 40)
    x, _, z = mesh.vertices.T
    return replace(mesh, vertices=np.stack([x, 0.05 * np.sin(4 * x) * np.cos(3 * z), z], axis=1))


def folded(mesh: Mesh) -> tuple[Mesh, np.ndarray]:
    """Some vertices moved behind neighbours, and which."""
    inner = np.flatnonzero(np.abs(mesh.vertices[:, [0, 2]]).max(axis=1) < 0.8)
    chosen = inner[:: len(inner) // 9]
    vertices = mesh.vertices.copy()
    edge = np.linalg.norm(vertices[mesh.faces[0, 0]] - vertices[mesh.faces[0, 1]])
    vertices[chosen] += np.array([1.7, 0.3, 0.2]) * edge
    return replace(mesh, vertices=vertices), chosen


def test_folds_are_taken_out_and_nothing_else_moves(flat):
    mesh, chosen = folded(flat)
    assert smallest_cosine(mesh) < -0.5
    result = unfolded(mesh, flat)
    assert smallest_cosine(result) > 0.0
    moved = np.flatnonzero((result.vertices != mesh.vertices).any(axis=1))
    near = Neighbors.of(flat)
    ring = chosen
    for _ in range(2):
        around = [near.vertices[near.starts[v] : near.starts[v + 1]] for v in ring]
        ring = np.unique(np.concatenate([ring, *around]))
    assert set(moved) <= set(ring)
    off = np.linalg.norm(result.vertices - flat.vertices, axis=1)
    assert off.max() < np.linalg.norm(mesh.vertices - flat.vertices, axis=1).max()


def test_a_surface_without_folds_keeps_its_bytes(flat):
    assert np.array_equal(unfolded(flat, flat).vertices, flat.vertices)


def test_a_ridge_that_was_sharp_stays(flat):
    vertices = flat.vertices.copy()
    vertices[:, 1] = 3 * np.abs(vertices[:, 0])
    ridge = replace(flat, vertices=vertices)
    assert smallest_cosine(ridge) < 0
    assert np.array_equal(unfolded(ridge, ridge).vertices, vertices)


def test_same_bytes_with_more_threads(flat):
    mesh, _ = folded(flat)
    assert np.array_equal(unfolded(mesh, flat, 1).vertices, unfolded(mesh, flat, 3).vertices)

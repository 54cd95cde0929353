"""Ambient occlusion where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.rendering.openness import openness
from tests.synthetic.shapes import grid_mesh

UP = np.array([[0.0, 0.0, 1.0]], np.float32)


def corner(side: float = 100.0) -> tuple[np.ndarray, np.ndarray]:
    """A floor and a wall on its edge at x = 0, both far larger than what rays reach."""
    floor = np.array([[0, -side, 0], [side, -side, 0], [side, side, 0], [0, side, 0]])
    wall = np.array([[0, -side, 0], [0, side, 0], [0, side, side], [0, -side, side]])
    square = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return np.concatenate([floor, wall]).astype(float), np.concatenate([square, square + 4]).astype(np.int32)


def test_an_open_plane_has_all_the_light() -> None:
    plane = grid_mesh(1.0, cells=8)
    normals = np.tile(np.float32([0, 1, 0]), (len(plane.vertices), 1))
    np.testing.assert_array_equal(openness(plane.vertices, plane.faces, plane.vertices, normals), 1)


def test_at_the_foot_of_a_wall_half_of_the_light_is_gone() -> None:
    vertices, faces = corner()
    reach = 0.2 * np.linalg.norm(np.ptp(vertices, axis=0))
    shares = np.array([1e-3, 0.05, 0.2, 0.5, 0.99, 1.01])
    places = np.stack([shares * reach, 0 * shares, 0 * shares], axis=1)
    found = openness(vertices, faces, places, np.tile(UP, (len(shares), 1)))
    # The share of rays that meet the wall at a distance t, cosine-weighted, each counting 1 - (t / reach)².
    rng = np.random.default_rng(0)
    radius, turn = np.sqrt(rng.uniform(size=400_000)), rng.uniform(0, 2 * np.pi, 400_000)
    towards = -radius * np.cos(turn)
    with np.errstate(divide="ignore"):
        t = shares[:, None] / towards
    truth = np.where((towards > 0) & (t < 1), t**2, 1).mean(axis=1)
    assert truth[0] == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(found, truth, atol=0.025)
    assert found[-1] == 1


def test_neither_the_place_nor_the_size_nor_the_turn_of_the_world_counts() -> None:
    vertices, faces = corner()
    places = np.array([[1.0, 3, 0], [5, -2, 0], [20, 0, 0]])
    normals = np.tile(UP, (3, 1))
    before = openness(vertices, faces, places, normals)
    far = np.array([4e5, 5e6, 100.0])
    np.testing.assert_allclose(openness(vertices + far, faces, places + far, normals), before, atol=0.02)
    np.testing.assert_allclose(openness(1e-3 * vertices, faces, 1e-3 * places, normals), before, atol=1e-5)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turned = openness(vertices @ turn.T, faces, places @ turn.T, (normals @ turn.T).astype(np.float32))
    np.testing.assert_allclose(turned, before, atol=0.06)

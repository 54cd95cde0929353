"""What belongs together in a mesh."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.surface import connectivity
from recon3d.surface.cleaning import make_manifold
from recon3d.surface.connectivity import (
    adjacent_faces,
    any_corner,
    border_vertices,
    edge_counts,
    every_corner,
    faces_around_vertices,
    vertices_around_vertices,
)
from recon3d.threads import ALONE, Threads
from recon3d.types import Mesh


def test_neighbours_are_listed_once_and_in_order() -> None:
    rng = np.random.default_rng(3)
    # Some vertices have no face, some faces are the same, and some have a corner twice.
    faces = rng.integers(0, 60, (150, 3)).astype(np.int32)
    faces = np.concatenate([faces, faces[:20], np.repeat(faces[:5, :1], 3, axis=1)])
    starts, near = vertices_around_vertices(faces, 70)
    expected = [set[int]() for _ in range(70)]
    for a, b, c in faces.tolist():
        for first, second in ((a, b), (b, c), (c, a)):
            expected[first].add(second)
            expected[second].add(first)
    assert [near[starts[v] : starts[v + 1]].tolist() for v in range(70)] == [sorted(own) for own in expected]
    assert starts.dtype == near.dtype == np.int32
    assert any(len(own) == 0 for own in expected)


def test_a_mesh_without_faces_has_no_neighbours() -> None:
    starts, near = vertices_around_vertices(np.empty((0, 3), np.int32), 3)
    assert starts.tolist() == [0, 0, 0, 0]
    assert len(near) == 0


def test_what_belongs_together_does_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connectivity, "_LEAST", 100)
    rng = np.random.default_rng(4)
    faces = rng.integers(0, 900, (2500, 3)).astype(np.int32)
    faces = np.concatenate([faces, faces[:300]])
    mesh = Mesh(rng.normal(size=(900, 3)), faces)
    found = []
    for threads in (ALONE, Threads(3)):
        with threads:
            lists = faces_around_vertices(faces, 900, threads)
            found.append(
                [
                    *lists,
                    *vertices_around_vertices(faces, 900, threads),
                    edge_counts(faces, lists, threads),
                    border_vertices(faces, threads),
                    adjacent_faces(faces, threads),
                    make_manifold(mesh, threads).faces,
                ]
            )
    starts, around = found[0][:2]
    for v in (0, 17, 899):
        own = [f for f, corners in enumerate(faces.tolist()) for corner in corners if corner == v]
        assert around[starts[v] : starts[v + 1]].tolist() == own
    assert len(found[0]) == len(found[1])
    for one, several in zip(*found, strict=True):
        assert one.dtype == several.dtype
        assert np.array_equal(one, several)


def test_marked_corners() -> None:
    rng = np.random.default_rng(5)
    faces, marked = rng.integers(0, 50, (200, 3)).astype(np.int32), rng.random(50) < 0.4
    assert np.array_equal(any_corner(marked, faces), marked[faces].any(axis=1))
    assert np.array_equal(every_corner(marked, faces), marked[faces].all(axis=1))
    assert any_corner(marked, faces[:0]).shape == (0,)

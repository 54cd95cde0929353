"""What belongs together in a mesh."""

from __future__ import annotations

import numpy as np

from recon3d.surface.connectivity import vertices_around_vertices


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

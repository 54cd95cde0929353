from __future__ import annotations

import numpy as np

from recon3d.texture.topology import face_pairs, pair_lengths
from tests.synthetic.box import box_mesh


def test_pairs_of_a_closed_mesh() -> None:
    mesh = box_mesh(3)
    pairs = face_pairs(mesh.faces)
    assert len(pairs) == 3 * len(mesh) // 2
    ends = [mesh.faces[pairs.faces[:, s, None], pairs.corners[:, s].astype(int)] for s in range(2)]
    np.testing.assert_array_equal(ends[0], ends[1])
    expected = np.linalg.norm(mesh.vertices[ends[0][:, 0]] - mesh.vertices[ends[0][:, 1]], axis=1)
    np.testing.assert_allclose(pair_lengths(mesh.vertices, mesh.faces, pairs), expected)
    naive = {
        (f, g)
        for f in range(len(mesh))
        for g in range(f + 1, len(mesh))
        if len(set(mesh.faces[f]) & set(mesh.faces[g])) == 2
    }
    assert {tuple(sorted(p)) for p in pairs.faces.tolist()} == naive


def test_pairs_of_an_edge_with_three_faces_and_of_no_faces() -> None:
    fan = np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]], np.int32)
    assert face_pairs(fan).faces.tolist() == [[0, 1], [1, 2]]
    assert len(face_pairs(np.zeros((0, 3), np.int32))) == 0

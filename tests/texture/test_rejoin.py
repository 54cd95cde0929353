from __future__ import annotations

import numpy as np
import pytest

from recon3d.texture.face_visibility import Candidates
from recon3d.texture.refine import split_large_faces
from recon3d.texture.rejoin import rejoin
from recon3d.texture.topology import face_pairs
from recon3d.types import Mesh
from tests.synthetic.box import box_mesh, ring


@pytest.fixture(scope="module")
def split():
    coarse = box_mesh(2)
    fine, splits = split_large_faces(coarse, ring(6), max_edge=60.0)
    assert len(fine) == len(coarse) + len(splits) > 4 * len(coarse)
    return coarse, fine, splits


def candidates(mesh: Mesh, quality: np.ndarray) -> Candidates:
    """Every face is seen by as many views as `quality` has columns, in 100 pixels."""
    views = np.where(quality > 0, np.arange(quality.shape[1], dtype=np.int32), -1)
    order = np.argsort(views < 0, axis=1, kind="stable")
    views = np.take_along_axis(views, order, axis=1).astype(np.int32)
    quality = np.take_along_axis(quality, order, axis=1).astype(np.float32)
    pixels = np.where((views >= 0).any(axis=1), 100, 0).astype(np.float32)
    return Candidates(views, quality, np.zeros((*views.shape, 3), np.uint8), pixels)


def test_halves_of_one_view_become_the_face_that_they_were(split) -> None:
    coarse, fine, splits = split
    labels = np.zeros(len(fine), np.int32)
    joined = rejoin(fine, splits, labels, candidates(fine, np.ones((len(fine), 1))), len(fine))
    np.testing.assert_array_equal(joined.mesh.faces, coarse.faces)
    np.testing.assert_array_equal(joined.mesh.vertices, coarse.vertices)
    assert (joined.labels == 0).all()
    np.testing.assert_allclose(joined.quality, 1)


def _right_of(mesh: Mesh, x: float) -> np.ndarray:
    return mesh.vertices[mesh.faces].mean(axis=1)[:, 0] > x


def test_a_border_between_views_keeps_its_splits_and_has_no_cracks(split) -> None:
    coarse, fine, splits = split
    right = _right_of(fine, 0.3)
    labels = right.astype(np.int32)
    quality = np.stack([1.0 - 0.5 * right, 0.5 + 0.5 * right], axis=1)
    joined = rejoin(fine, splits, labels, candidates(fine, quality), len(fine))
    assert len(coarse) < len(joined.mesh) < 0.7 * len(fine)
    np.testing.assert_array_equal(joined.labels, _right_of(joined.mesh, 0.3))
    assert len(face_pairs(joined.mesh.faces)) == 3 * len(joined.mesh) // 2
    assert len(np.unique(joined.mesh.faces)) == len(joined.mesh.vertices)


def test_the_limit_holds_and_costs_no_paint_where_a_view_sees_both_halves(split) -> None:
    coarse, fine, splits = split
    right = _right_of(fine, 0.3)
    quality = np.stack([1.0 - 0.5 * right, 0.5 + 0.5 * right], axis=1)
    for limit in (len(coarse) + 20, len(coarse)):
        joined = rejoin(fine, splits, right.astype(np.int32), candidates(fine, quality), limit)
        assert len(joined.mesh) <= limit
        assert (joined.labels >= 0).all()
        assert joined.quality.min() > 0.4


def test_paint_is_lost_last(split) -> None:
    """One side is seen by one view, the other by none; elsewhere two views share the faces."""
    coarse, fine, splits = split
    middle = fine.vertices[fine.faces].mean(axis=1)
    hidden, right = middle[:, 0] > 0.7, middle[:, 2] > 0.2
    quality = np.stack([1.0 - 0.3 * right, 0.7 + 0.3 * right], axis=1)
    quality[hidden] = 0
    labels = np.where(hidden, -1, right).astype(np.int32)
    given = candidates(fine, quality)
    free = rejoin(fine, splits, labels, given, len(fine))
    joined = rejoin(fine, splits, labels, given, (len(free.mesh) + len(coarse)) // 2)
    assert len(joined.mesh) <= (len(free.mesh) + len(coarse)) // 2

    def unseen(labelled) -> float:
        corners = labelled.mesh.vertices[labelled.mesh.faces[labelled.labels < 0]]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return float(np.linalg.norm(normals, axis=1).sum() / 2)

    everything = rejoin(fine, splits, labels, given, len(coarse))
    assert len(everything.mesh) == len(coarse)
    assert unseen(free) <= unseen(joined) < unseen(everything)

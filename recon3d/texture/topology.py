"""Which faces of a triangle mesh touch each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recon3d.types import Floats, Ints


@dataclass(frozen=True, eq=False)
class FacePairs:
    """Pairs of faces that share an edge.

    Parameters
    ----------
    faces : ndarray of int32, shape (E, 2)
        The two faces of each pair.
    corners : ndarray of int8, shape (E, 2, 2)
        ``corners[e, s]`` are the two corners (0, 1 or 2) of face ``faces[e, s]`` that are the ends
        of the shared edge, in the same order on both sides.
    """

    faces: Ints
    corners: np.ndarray[tuple[int, int, int], np.dtype[np.int8]]

    def __len__(self) -> int:
        return len(self.faces)


def face_pairs(faces: Ints) -> FacePairs:
    """Find the pairs of faces that share an edge.

    An edge of more than two faces gives the chain of pairs in the order of the faces, so that
    every face stays connected.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)

    Returns
    -------
    FacePairs
    """
    count = len(faces)
    # Half-edge k * F + f runs from corner k of face f to corner (k + 1) % 3.
    start = faces.T.reshape(-1).astype(np.int64)
    end = faces[:, [1, 2, 0]].T.reshape(-1).astype(np.int64)
    low, high = np.minimum(start, end), np.maximum(start, end)
    key = low * (int(faces.max(initial=0)) + 1) + high
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    same = np.flatnonzero(sorted_key[1:] == sorted_key[:-1])
    half = np.stack([order[same], order[same + 1]], axis=1)
    face = (half % max(count, 1)).astype(np.int32)
    corner = half // max(count, 1)
    ascending = start[half] < end[half]
    ends = np.stack([corner, (corner + 1) % 3], axis=-1)
    corners = np.where(ascending[..., None], ends, ends[..., ::-1]).astype(np.int8)
    keep = face[:, 0] != face[:, 1]
    return FacePairs(np.ascontiguousarray(face[keep]), np.ascontiguousarray(corners[keep]))


def pair_lengths(vertices: Floats, faces: Ints, pairs: FacePairs) -> Floats:
    """Compute the length of the edge that each pair of faces shares.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)
    pairs : FacePairs

    Returns
    -------
    ndarray of float64, shape (E,)
        In units of `vertices`.
    """
    ends = faces[pairs.faces[:, :1], pairs.corners[:, 0].astype(np.int64)]
    lengths: Floats = np.linalg.norm(vertices[ends[:, 1]] - vertices[ends[:, 0]], axis=1)
    return lengths

"""Cells: where the faces lie in the atlas that no photo sees.

Such a face has the colours of its three corners and nothing between. Two faces that share an edge take
one cell of two by two texels: the edge's ends are two opposite texels of it, the other corners the other
two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.texture.topology import FacePairs
from recon3d.types import Floats, Ints

#: Columns and rows of a cell's texels; the last belongs to the second face.
TEXELS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])

_compiled = kernel(_nrt=False)


@dataclass(frozen=True, eq=False)
class Cells:
    """Which cell each unseen face lies in.

    Parameters
    ----------
    count : int
        Number of cells.
    cell : ndarray of int32, shape (U,)
        Of each face without a view, in the order of the faces.
    corner : ndarray of int32, shape (U, 3)
        Place of each corner in `TEXELS`.
    """

    count: int
    cell: Ints
    corner: Ints

    def texels(self, corner_colors: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """Compute the colours of the cells' texels.

        Parameters
        ----------
        corner_colors : ndarray of float64, shape (U, 3, 3)
            Of each face and corner.

        Returns
        -------
        colors : ndarray of float64, shape (count, 4, 3)
            In the order of `TEXELS`. The last texel of a cell with one face makes its colours linear.
        faces : ndarray of int64, shape (count,)
            How many faces each cell has, 1 or 2.
        """
        colors = np.zeros((self.count, 4, 3))
        colors[self.cell[:, None], self.corner] = corner_colors
        faces = np.bincount(self.cell, minlength=self.count)
        alone = colors[faces == 1]
        colors[faces == 1, 3] = alone[:, 1] + alone[:, 2] - alone[:, 0]
        return colors, faces


def pair_up(unseen: NDArray[np.int64], pairs: FacePairs, faces: int) -> Cells:
    """Put unseen faces into cells, two by two where they share an edge.

    Parameters
    ----------
    unseen : ndarray of int64, shape (U,)
        The faces, in ascending order.
    pairs : FacePairs
        Of the whole mesh.
    faces : int
        How many it has.

    Returns
    -------
    Cells
    """
    number = np.full(faces, -1, np.int32)
    number[unseen] = np.arange(len(unseen), dtype=np.int32)
    ends = number[pairs.faces]
    linked = (ends >= 0).all(axis=1)
    ends, corners = ends[linked], pairs.corners[linked].astype(np.int32)
    # Faces with few neighbours first, or they would be left alone.
    degree = np.bincount(ends.reshape(-1), minlength=len(unseen))
    order = np.argsort(degree[ends].min(axis=1, initial=2**30), kind="stable")
    cell, corner = np.full(len(unseen), -1, np.int32), np.tile(np.arange(3, dtype=np.int32), (len(unseen), 1))
    partner = np.full(len(unseen), -1, np.int32)
    count = _match(ends[order], corners[order], partner, cell, corner)
    return Cells(int(count), cell, corner)


@_compiled
def _match(pairs: Ints, corners: Ints, partner: Ints, cell: Ints, corner: Ints) -> int:
    for e in range(pairs.shape[0]):
        a, b = pairs[e, 0], pairs[e, 1]
        if partner[a] >= 0 or partner[b] >= 0:
            continue
        partner[a], partner[b] = b, a
        # The shared edge lies on the texels 1 and 2, so that no face is mirrored.
        start = 1 if corners[e, 0, 1] == (corners[e, 0, 0] + 1) % 3 else 2
        for side in range(2):
            first, second = corners[e, side, 0], corners[e, side, 1]
            corner[pairs[e, side], first], corner[pairs[e, side], second] = start, 3 - start
            corner[pairs[e, side], 3 - first - second] = 3 * side
    count = 0
    for f in range(cell.shape[0]):
        if cell[f] >= 0:
            continue
        cell[f] = count
        if partner[f] >= 0:
            cell[partner[f]] = count
        count += 1
    return count

"""Global seam levelling: corrections, smooth over the charts, that make charts from different photos meet.

The first correction of Waechter et al. 2014 ("Let There Be Color!", section 4); the second is in
`recon3d.texture.blending`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from recon3d.kernels import kernel
from recon3d.texture.atlas import Atlas
from recon3d.texture.charts import Charts, Layout
from recon3d.texture.texels import UNIT, lookup
from recon3d.texture.topology import FacePairs
from recon3d.types import Floats, Floats32, Ints

#: Weight of smoothness inside charts against agreement at the seams.
SMOOTHNESS = 1.0
#: Weight that keeps corrections from drifting as a whole.
ANCHOR = 0.05
#: Steps beyond so many gray levels pull less, the more the larger they are (Cauchy's weights): they
#: come of an outline or another displacement, not of exposure, and must not be spread.
GLOBAL_STEP = 12.0

_MAX_SAMPLES = 64
_LEAST_TRUST = 1e-3

_compiled = kernel(_nrt=False)


@dataclass(frozen=True, eq=False)
class Seams:
    """Mesh edges where two charts meet.

    Parameters
    ----------
    nodes : ndarray of int32, shape (E, 2, 2)
        ``nodes[e, s]`` are the two ends of edge e as nodes of the chart on side s.
    trust : ndarray of float64, shape (E, 2)
        Quality of the photo on each side, relative to the best one for the face there.
    """

    nodes: Ints
    trust: Floats

    def __len__(self) -> int:
        return len(self.nodes)


def find_seams(charts: Charts, pairs: FacePairs, quality: Floats32) -> Seams:
    """Edges between faces of different charts.

    Parameters
    ----------
    charts : Charts
    pairs : FacePairs
    quality : ndarray of float32, shape (F,)
        Quality with which each face is painted, relative to its best view.

    Returns
    -------
    Seams
    """
    chart = charts.face_chart[pairs.faces]
    cut = np.flatnonzero((chart[:, 0] != chart[:, 1]) & (chart >= 0).all(axis=1))
    nodes = charts.face_nodes[pairs.faces[cut][:, :, None], pairs.corners[cut].astype(np.int64)]
    return Seams(
        nodes.astype(np.int32), np.maximum(quality[pairs.faces[cut]], _LEAST_TRUST).astype(np.float64)
    )


def seam_differences(atlas: Atlas, layout: Layout, seams: Seams) -> tuple[Floats, Floats]:
    """Colour of side 1 minus colour of side 0 at both ends of each seam edge.

    Each end takes the mean along the edge, with weights that fall linearly towards the other end,
    so that noise and small displacements of the photos average out.

    Parameters
    ----------
    atlas : Atlas
    layout : Layout
    seams : Seams

    Returns
    -------
    difference : ndarray of float64, shape (E, 2, 3)
        In gray levels.
    length : ndarray of float64, shape (E,)
        Length of the edge in texels, the mean of both sides.
    """
    lengths = side_lengths(layout.node_xy, seams.nodes)
    counts = np.clip(np.ceil(lengths.max(axis=1)).astype(np.int64), 2, _MAX_SAMPLES)
    difference = np.zeros((len(seams), 2, 3))
    _add_differences(atlas.color, layout.node_xy, seams.nodes, counts, np.empty((2, 3)), difference)
    return difference / UNIT, 0.5 * (lengths[:, 0] + lengths[:, 1])


def global_corrections(
    charts: Charts, seams: Seams, difference: Floats, length: Floats, *, smoothness: float = SMOOTHNESS
) -> Floats:
    """Additive correction of each node that closes the steps at the seams.

    Sparse linear least squares (Lempitsky & Ivanov 2007): corrected colours agree at both sides of
    each seam, corrections change little along the edges inside a chart, and are small. Seams of
    which one side is poorly seen count little.

    Parameters
    ----------
    charts : Charts
    seams : Seams
    difference : ndarray of float64, shape (E, 2, 3)
        See `seam_differences`.
    length : ndarray of float64, shape (E,)
        Length of each edge in texels.
    smoothness : float
        Weight of small changes inside a chart.

    Returns
    -------
    ndarray of float64, shape (N, 3)
        Gray levels.
    """
    count = len(charts.node_vertex)
    if not len(seams):
        return np.zeros((count, 3))
    weight = np.repeat(np.clip(length / max(float(np.mean(length)), 1e-9), 0.1, 4.0), 2)
    weight *= np.repeat(seams.trust.min(axis=1), 2)
    weight /= 1.0 + np.square(difference.reshape(-1, 3)).sum(axis=1) / GLOBAL_STEP**2
    a, b = seams.nodes[:, 0].reshape(-1), seams.nodes[:, 1].reshape(-1)
    corners = charts.face_nodes[charts.face_chart >= 0]
    i, j = corners.reshape(-1), corners[:, [1, 2, 0]].reshape(-1)
    # An inner edge comes twice, once from each face; half the weight each.
    inner = np.full(len(i), smoothness / 2)
    rows, columns = np.concatenate([a, i]), np.concatenate([b, j])
    values = np.concatenate([weight, inner])
    off = sparse.coo_matrix((values, (rows, columns)), shape=(count, count)).tocsr()
    off = off + off.T
    diagonal = np.asarray(off.sum(axis=1)).reshape(-1) + ANCHOR
    matrix = sparse.diags(diagonal) - off
    solve = _two_level(matrix, diagonal, charts.node_chart)
    step = difference.reshape(-1, 3) * weight[:, None]
    corrections = np.zeros((count, 3))
    for channel in range(3):
        right = np.bincount(a, step[:, channel], count) - np.bincount(b, step[:, channel], count)
        corrections[:, channel], _ = linalg.cg(matrix, right, rtol=1e-3, maxiter=300, M=solve)
    return corrections


def _two_level(matrix: Any, diagonal: Floats, chart: Ints) -> Any:
    """Preconditioner: each node by itself, plus an exact solution for whole charts.

    A chart floats as a whole on a few seams; without the second level CG takes hundreds of steps to
    find that out.
    """
    count, charts = len(diagonal), int(chart.max()) + 1
    prolong = sparse.csr_matrix((np.ones(count), (np.arange(count), chart)), shape=(count, charts))
    coarse = linalg.splu((prolong.T @ matrix @ prolong).tocsc())

    def apply(residual: Floats) -> Floats:
        whole: Floats = coarse.solve(np.bincount(chart, residual, charts))
        return residual / diagonal + whole[chart]

    return linalg.LinearOperator(matrix.shape, apply, dtype=np.float64)


def side_lengths(xy: Floats, nodes: Ints) -> Floats:
    """Compute the lengths of seam edges in both of their charts.

    Parameters
    ----------
    xy : ndarray of float64, shape (N, 2)
        Places of the nodes in texels.
    nodes : ndarray of int32, shape (E, 2, 2)
        See `Seams`.

    Returns
    -------
    ndarray of float64, shape (E, 2)
        In texels.
    """
    along = xy[nodes[:, :, 1]] - xy[nodes[:, :, 0]]
    lengths: Floats = np.sqrt(along[..., 0] * along[..., 0] + along[..., 1] * along[..., 1])
    return lengths


@_compiled
def _add_differences(
    atlas: NDArray[np.int16],
    xy: Floats,
    nodes: Ints,
    counts: NDArray[np.int64],
    colors: Floats,
    difference: Floats,
) -> None:
    for e in range(nodes.shape[0]):
        samples = counts[e]
        total = 0.0
        for n in range(samples):
            t = (n + 0.5) / samples
            for side in range(2):
                p, q = nodes[e, side, 0], nodes[e, side, 1]
                x, y = xy[p, 0] * (1 - t) + xy[q, 0] * t, xy[p, 1] * (1 - t) + xy[q, 1] * t
                lookup(atlas, x, y, colors, side)
            for channel in range(3):
                step = colors[1, channel] - colors[0, channel]
                difference[e, 0, channel] += (1 - t) * step
                difference[e, 1, channel] += t * step
            total += t
        # t is symmetric, so both ends have the same sum of weights.
        for end in range(2):
            for channel in range(3):
                difference[e, end, channel] /= total

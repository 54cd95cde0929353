"""Global seam levelling: corrections, smooth over the charts, that make charts from different photos meet.

The first correction of Waechter et al. 2014 ("Let There Be Color!", section 4); the second is in
`recon3d.texture.blending`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from recon3d.kernels import kernel
from recon3d.texture.atlas import Atlas
from recon3d.texture.charts import Charts
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


@dataclass(frozen=True, eq=False)
class Sampling:
    """Points along the seams at which colours are compared: two for each texel of the finer side.

    Parameters
    ----------
    seams : Seams
    lengths : ndarray of float64, shape (E, 2)
        Of the seam edges in both of their charts, in texels.
    starts : ndarray of int64, shape (E + 1,)
        First point of each edge.
    """

    seams: Seams
    lengths: Floats
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, seams: Seams, node_xy: Floats) -> Sampling:
        """Choose the points.

        Parameters
        ----------
        seams : Seams
        node_xy : ndarray of float64, shape (N, 2)
            Place of each node in its page, in texels.

        Returns
        -------
        Sampling
        """
        along = node_xy[seams.nodes[:, :, 1]] - node_xy[seams.nodes[:, :, 0]]
        lengths = np.sqrt(along[..., 0] * along[..., 0] + along[..., 1] * along[..., 1])
        counts = np.maximum(np.ceil(2 * lengths.max(axis=1)).astype(np.int64), 2)
        return cls(seams, lengths, np.append(0, np.cumsum(counts)))

    def sides_in(self, nodes: range) -> NDArray[np.int64]:
        """Find which sides of which edges lie in a page.

        Parameters
        ----------
        nodes : range
            The page's.

        Returns
        -------
        ndarray of int64, shape (K, 2)
            Edges and sides, in ascending order.
        """
        node = self.seams.nodes[:, :, 0]
        return np.argwhere((node >= nodes.start) & (node < nodes.stop))

    def colors(self, atlas: Atlas, node_xy: Floats, nodes: range) -> NDArray[np.int16]:
        """Look up what a page has at the points.

        Parameters
        ----------
        atlas : Atlas
            The page's.
        node_xy : ndarray of float64, shape (n, 2)
            Of the page's nodes.
        nodes : range
            Their numbers.

        Returns
        -------
        ndarray of int16, shape (M, 3)
            In atlas units, side by side in the order of `sides_in`.
        """
        sides = self.sides_in(nodes)
        counts = np.diff(self.starts)[sides[:, 0]]
        colors = np.empty((int(counts.sum()), 3), np.int16)
        ends = self.seams.nodes[sides[:, 0], sides[:, 1]] - nodes.start
        _look_up(atlas.color, node_xy, ends, counts, np.empty((1, 3)), colors)
        return colors

    def together(self, nodes: Sequence[range], colors: Sequence[NDArray[np.int16]]) -> NDArray[np.int16]:
        """Put together what all pages have.

        Parameters
        ----------
        nodes : sequence of range
            Of each page.
        colors : sequence of ndarray of int16, shape (M, 3)
            Of each page, from `colors`.

        Returns
        -------
        ndarray of int16, shape (T, 2, 3)
            Of each point on both sides.
        """
        both = np.empty((int(self.starts[-1]), 2, 3), np.int16)
        counts = np.diff(self.starts)
        for numbers, part in zip(nodes, colors, strict=True):
            sides = self.sides_in(numbers)
            count = counts[sides[:, 0]]
            first = np.cumsum(count) - count
            point = np.arange(len(part)) + np.repeat(self.starts[sides[:, 0]] - first, count)
            both[point, np.repeat(sides[:, 1], count)] = part
        return both


def seam_differences(sampling: Sampling, colors: NDArray[np.int16]) -> tuple[Floats, Floats]:
    """Colour of side 1 minus colour of side 0 at both ends of each seam edge.

    Each end takes the mean along the edge, with weights that fall linearly towards the other end,
    so that noise and small displacements of the photos average out.

    Parameters
    ----------
    sampling : Sampling
    colors : ndarray of int16, shape (T, 2, 3)
        Of its points.

    Returns
    -------
    difference : ndarray of float64, shape (E, 2, 3)
        In gray levels.
    length : ndarray of float64, shape (E,)
        Length of the edge in texels, the mean of both sides.
    """
    difference = np.zeros((len(sampling.seams), 2, 3))
    _add_differences(colors, sampling.starts, difference)
    return difference / UNIT, sampling.lengths.mean(axis=1)


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


@_compiled
def _look_up(
    atlas: NDArray[np.int16],
    xy: Floats,
    ends: Ints,
    counts: NDArray[np.int64],
    color: Floats,
    colors: NDArray[np.int16],
) -> None:
    position = 0
    for k in range(ends.shape[0]):
        p, q = ends[k, 0], ends[k, 1]
        for n in range(counts[k]):
            t = (n + 0.5) / counts[k]
            lookup(atlas, xy[p, 0] * (1 - t) + xy[q, 0] * t, xy[p, 1] * (1 - t) + xy[q, 1] * t, color, 0)
            for channel in range(3):
                colors[position, channel] = np.int16(round(color[0, channel]))
            position += 1


@_compiled
def _add_differences(colors: NDArray[np.int16], starts: NDArray[np.int64], difference: Floats) -> None:
    for e in range(starts.shape[0] - 1):
        count = starts[e + 1] - starts[e]
        total = 0.0
        for n in range(count):
            t = (n + 0.5) / count
            point = starts[e] + n
            for channel in range(3):
                step = np.float64(colors[point, 1, channel]) - np.float64(colors[point, 0, channel])
                difference[e, 0, channel] += (1 - t) * step
                difference[e, 1, channel] += t * step
            total += t
        # t is symmetric, so both ends have the same sum of weights.
        for end in range(2):
            for channel in range(3):
                difference[e, end, channel] /= total

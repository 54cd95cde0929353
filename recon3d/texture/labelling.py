"""Which photo paints which face: a Markov random field on the faces' graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from recon3d.kernels import kernel
from recon3d.surface.normals import face_areas
from recon3d.texture.face_visibility import Candidates
from recon3d.texture.message_passing import trw_s
from recon3d.texture.topology import FacePairs, pair_lengths
from recon3d.types import Floats, Floats32, Ints, Mesh

#: Cost of a pixel of seam, in pixels of surface painted from a photo of no quality.
SEAM_COST = 5.0
#: Sweeps of message passing; the energy falls by less than 0.1 % after so many.
SWEEPS = 8
#: Charts smaller than this many pixels join a neighbour where its photo shows them.
MIN_CHART_PIXELS = 100.0

_compiled = kernel(_nrt=False)


def choose_views(
    mesh: Mesh,
    pairs: FacePairs,
    candidates: Candidates,
    *,
    seam_cost: float = SEAM_COST,
    sweeps: int = SWEEPS,
) -> Ints:
    """Choose the view that paints each face.

    The energy is measured in photo pixels, so that it does not depend on how finely the surface
    is triangulated: each face costs its pixels times (1 - quality / best quality of the face),
    each edge between two views costs its length in pixels times `seam_cost` (Potts model; Lempitsky
    & Ivanov 2007, "Seamless Mosaicing of Image-Based Texture Maps"). It is minimized by sequential
    tree-reweighted message passing (TRW-S; Kolmogorov 2006, "Convergent Tree-Reweighted Message
    Passing for Energy Minimization"), with each face's own short list of labels.

    Parameters
    ----------
    mesh : Mesh
    pairs : FacePairs
    candidates : Candidates
    seam_cost : float
    sweeps : int

    Returns
    -------
    ndarray of int32, shape (F,)
        The view of each face; -1 for faces that no view sees.
    """
    data = data_costs(candidates)
    length = pair_pixels(mesh, pairs, candidates.pixels)
    seen = candidates.counts > 0
    linked = seen[pairs.faces].all(axis=1)
    linked_pairs = pairs.faces[linked]
    weight: Floats32 = (seam_cost * length[linked]).astype(np.float32)
    # Neighbours close in the order make long chains, along which messages travel in one sweep.
    graph = _graph(linked_pairs, len(mesh.faces))
    rank = np.empty(len(mesh.faces), np.int32)
    rank[csgraph.reverse_cuthill_mckee(graph, symmetric_mode=True)] = np.arange(len(rank), dtype=np.int32)
    choice = trw_s(data, candidates.view, linked_pairs, weight, rank, sweeps)
    labels = np.where(seen, np.take_along_axis(candidates.view, choice[:, None], axis=1)[:, 0], -1)
    return merge_small_charts(labels.astype(np.int32), candidates, linked_pairs, weight)


def data_costs(candidates: Candidates) -> Floats32:
    """Compute the cost of painting each face from each of its candidates.

    Parameters
    ----------
    candidates : Candidates

    Returns
    -------
    ndarray of float32, shape (F, K)
    """
    best = np.maximum(candidates.quality.max(axis=1, keepdims=True), 1e-12)
    costs: Floats32 = (candidates.pixels[:, None] * (1.0 - candidates.quality / best)).astype(np.float32)
    return costs


def chosen_quality(candidates: Candidates, labels: Ints) -> Floats32:
    """Look up the quality of each face in its view, relative to its best view.

    Parameters
    ----------
    candidates : Candidates
    labels : ndarray of int32, shape (F,)
        View of each face; -1 for none.

    Returns
    -------
    ndarray of float32, shape (F,)
        0 for faces without a view.
    """
    chosen = np.where(candidates.view == labels[:, None], candidates.quality, 0).max(axis=1)
    chosen[labels < 0] = 0
    quality: Floats32 = chosen / np.maximum(candidates.quality.max(axis=1), 1e-12)
    return quality


def pair_pixels(mesh: Mesh, pairs: FacePairs, pixels: Floats32) -> Floats:
    """Compute the length of the edge that each pair of faces shares, in pixels of the photos.

    Parameters
    ----------
    mesh : Mesh
    pairs : FacePairs
    pixels : ndarray of float32, shape (F,)
        Area of each face in its best photo, in pixels.

    Returns
    -------
    ndarray of float64, shape (E,)
    """
    scale = np.sqrt(pixels / np.maximum(face_areas(mesh.vertices, mesh.faces), 1e-300))
    # Slivers of no area would make infinitely costly edges.
    scale = np.minimum(scale, 4 * np.median(scale[pixels > 0]) if np.any(pixels > 0) else 0.0)
    lengths: Floats = pair_lengths(mesh.vertices, mesh.faces, pairs) * scale[pairs.faces].mean(axis=1)
    return lengths


def energy(labels: Ints, data: Floats32, candidates: Candidates, pairs: Ints, weight: Floats32) -> float:
    """Compute the energy of a labelling, which `choose_views` minimizes.

    Parameters
    ----------
    labels : ndarray of int32, shape (F,)
        View of each face; -1 for none.
    data : ndarray of float32, shape (F, K)
        See `data_costs`.
    candidates : Candidates
    pairs : ndarray of int32, shape (E, 2)
        Faces that share an edge.
    weight : ndarray of float32, shape (E,)
        Cost of different views on both sides.

    Returns
    -------
    float
    """
    seen = np.flatnonzero(labels >= 0)
    place = np.argmax(candidates.view[seen] == labels[seen, None], axis=1)
    cut = labels[pairs[:, 0]] != labels[pairs[:, 1]]
    return float(data[seen, place].sum(dtype=np.float64) + weight[cut].sum(dtype=np.float64))


def connected_faces(labels: Ints, pairs: Ints) -> tuple[int, Ints]:
    """Number the connected sets of faces of one label.

    Parameters
    ----------
    labels : ndarray of int32, shape (F,)
        View of each face; -1 for none.
    pairs : ndarray of int32, shape (E, 2)
        Faces that share an edge.

    Returns
    -------
    int
        How many there are; faces with label -1 are in none.
    ndarray of int32, shape (F,)
        Number of each face's set, or -1.
    """
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    _, component = csgraph.connected_components(_graph(pairs[same], len(labels)), directed=False)
    seen = labels >= 0
    numbers = np.full(len(labels), -1, np.int32)
    kept, numbers[seen] = np.unique(component[seen], return_inverse=True)
    return len(kept), numbers


def merge_small_charts(
    labels: Ints,
    candidates: Candidates,
    pairs: Ints,
    weight: Floats32,
    min_pixels: float = MIN_CHART_PIXELS,
) -> Ints:
    """Give small charts the view of the neighbour with the longest common seam that sees them completely.

    Parameters
    ----------
    labels : ndarray of int32, shape (F,)
        View of each face; -1 for none.
    candidates : Candidates
    pairs : ndarray of int32, shape (E, 2)
        Faces that share an edge.
    weight : ndarray of float32, shape (E,)
        Weight of each edge in a seam.
    min_pixels : float
        Charts with a smaller area in their photo are small.

    Returns
    -------
    ndarray of int32, shape (F,)
        The new labels.
    """
    labels = labels.copy()
    for _ in range(3):
        count, chart = connected_faces(labels, pairs)
        size = np.bincount(chart[chart >= 0], candidates.pixels[chart >= 0], count)
        cut = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]
        cut_weight = weight[labels[pairs[:, 0]] != labels[pairs[:, 1]]]
        both = np.concatenate([cut, cut[:, ::-1]])
        both_weight = np.concatenate([cut_weight, cut_weight])
        small = size[chart[both[:, 0]]] < min_pixels
        both, both_weight = both[small], both_weight[small]
        if not len(both):
            break
        # Length of the seam between each small chart and each view around it.
        views = int(labels.max()) + 1
        key, inverse = np.unique(
            chart[both[:, 0]].astype(np.int64) * views + labels[both[:, 1]], return_inverse=True
        )
        length = np.bincount(inverse, both_weight)
        order = np.lexsort((key, -length, key // views))
        wanted = _merge_targets(key[order] // views, (key[order] % views).astype(np.int32))
        faces = np.flatnonzero((chart >= 0) & (size[chart] < min_pixels))
        members = faces[np.argsort(chart[faces], kind="stable")]
        changed = _merge(labels, chart, members, wanted[0], wanted[1], wanted[2], candidates.view)
        if not changed:
            break
    return labels


def _merge_targets(chart: NDArray[np.int64], view: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64], Ints]:
    """Charts, where each one's views start, and the views."""
    charts, starts = np.unique(chart, return_index=True)
    return charts, np.append(starts, len(chart)).astype(np.int64), view


def _graph(pairs: Ints, count: int) -> Any:
    ones = np.ones(2 * len(pairs), np.int8)
    rows = np.concatenate([pairs[:, 0], pairs[:, 1]])
    columns = np.concatenate([pairs[:, 1], pairs[:, 0]])
    return sparse.csr_matrix((ones, (rows, columns)), shape=(count, count))


@_compiled
def _has(view: Ints, f: int, label: int) -> bool:
    for k in range(view.shape[1]):
        if view[f, k] == label:
            return True
        if view[f, k] < 0:
            return False
    return False


@_compiled
def _merge(
    labels: Ints,
    chart: Ints,
    members: NDArray[np.int64],
    charts: NDArray[np.int64],
    starts: NDArray[np.int64],
    views: Ints,
    view: Ints,
) -> int:
    changed = 0
    start = 0
    position = 0
    while start < members.shape[0]:
        number = chart[members[start]]
        end = start
        while end < members.shape[0] and chart[members[end]] == number:
            end += 1
        while position < charts.shape[0] and charts[position] < number:
            position += 1
        if position < charts.shape[0] and charts[position] == number:
            for n in range(starts[position], starts[position + 1]):
                fits = True
                for m in range(start, end):
                    if not _has(view, members[m], views[n]):
                        fits = False
                        break
                if fits:
                    for m in range(start, end):
                        labels[members[m]] = views[n]
                    changed += 1
                    break
        start = end
    return changed

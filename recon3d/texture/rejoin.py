"""Joining of faces that `recon3d.texture.refine` split, once it is known which photo paints what."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recon3d.texture.face_visibility import Candidates
from recon3d.texture.labelling import SEAM_COST, data_costs
from recon3d.texture.refine import Splits
from recon3d.types import Floats, Floats32, Ints, Mesh

#: Cost of a pixel that is painted from its neighbours although a photo shows it.
_UNSEEN_COST = 10.0
#: Steps of the search for the smallest cost that is enough.
_STEPS = 14
#: It ends with this share of the faces that are allowed.
_CLOSE = 0.995


@dataclass(frozen=True, eq=False)
class Labelled:
    """A mesh and the view that paints each face.

    Parameters
    ----------
    mesh : Mesh
    labels : ndarray of int32, shape (F,)
        -1 for faces that no view paints.
    quality : ndarray of float32, shape (F,)
        Quality of each face in its view, relative to its best view; 0 without a view.
    """

    mesh: Mesh
    labels: Ints
    quality: Floats32


def rejoin(mesh: Mesh, splits: Splits, labels: Ints, candidates: Candidates, limit: int) -> Labelled:
    """Undo the splits that the labels do not need, and as many others as it takes.

    Halves of one view are joined. While there are too many faces, halves of different views are
    joined too, where the loss of quality is smallest: both are then painted from one of the two
    views, from another one that sees both, or as the last resort from none. A split is undone on
    both sides of its edge or not at all, so that no cracks appear.

    Parameters
    ----------
    mesh : Mesh
        From `recon3d.texture.refine.split_large_faces`.
    splits : Splits
    labels : ndarray of int32, shape (F,)
        View of each face; -1 for none.
    candidates : Candidates
    limit : int
        Faces that are allowed; fewer than before the split are never reached.

    Returns
    -------
    Labelled
    """
    start = _State.of(mesh, labels, candidates)
    best = _undone(start, splits, 0.0)
    if best.count > limit:
        least, most = 0.0, float(_UNSEEN_COST * candidates.pixels.sum(dtype=np.float64)) + 1.0
        best = _undone(start, splits, most)
        for _ in range(_STEPS):
            if best.count >= _CLOSE * limit:
                break
            # Costs span many orders of magnitude.
            middle = np.sqrt(max(least, 1e-2) * most)
            tried = _undone(start, splits, middle)
            if tried.count <= limit:
                best, most = tried, middle
            else:
                least = middle
    return best.labelled(mesh)


@dataclass(frozen=True, eq=False)
class _State:
    """Faces, their labels, and what their candidates cost."""

    faces: Ints
    alive: NDArray[np.bool_]
    labels: Ints
    view: Ints
    cost: Floats32
    pixels: Floats32

    @classmethod
    def of(cls, mesh: Mesh, labels: Ints, candidates: Candidates) -> _State:
        alive = np.ones(len(labels), bool)
        return cls(mesh.faces, alive, labels, candidates.view, data_costs(candidates), candidates.pixels)

    def copy(self) -> _State:
        return _State(*(getattr(self, name).copy() for name in self.__dataclass_fields__))

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self.alive))

    def labelled(self, mesh: Mesh) -> Labelled:
        faces, labels = self.faces[self.alive], self.labels[self.alive]
        cost = _cost_of(self.view[self.alive], self.cost[self.alive], labels)
        quality = np.where(labels >= 0, 1.0 - cost / np.maximum(self.pixels[self.alive], 1e-6), 0.0)
        used, numbers = np.unique(faces, return_inverse=True)
        joined = replace(
            mesh,
            vertices=mesh.vertices[used],
            faces=numbers.reshape(-1, 3).astype(np.int32),
            colors=None if mesh.colors is None else mesh.colors[used],
            normals=None if mesh.normals is None else mesh.normals[used],
            guessed=None if mesh.guessed is None else mesh.guessed[used],
        )
        return Labelled(joined, labels, np.clip(quality, 0, 1).astype(np.float32))


def _undone(start: _State, splits: Splits, most: float) -> _State:
    """Undo all splits that cost at most so much, the latest first."""
    state = start.copy()
    divided = np.zeros(len(state.alive), bool)
    for number in range(len(splits.rounds) - 2, -1, -1):
        part = slice(splits.rounds[number], splits.rounds[number + 1])
        first, second, before = splits.first[part], splits.second[part], splits.before[part]
        edges, edge = np.unique(splits.edge[part], return_inverse=True)
        whole = ~divided[first] & ~divided[second]
        view, cost, label, loss = _joined(state, first, second)
        of_edge = np.bincount(edge, np.where(whole, loss, np.inf), len(edges))
        undo = (of_edge <= most)[edge]
        kept, gone = first[undo], second[undo]
        state.faces[kept], state.labels[kept] = before[undo], label[undo]
        state.view[kept], state.cost[kept] = view[undo], cost[undo]
        state.pixels[kept] += state.pixels[gone]
        state.alive[gone] = False
        divided[first[~undo]] = True
    return state


def _joined(state: _State, first: Ints, second: Ints) -> tuple[Ints, Floats32, Ints, Floats]:
    """Candidates of pairs of faces as one face, their costs, the best label, and what it loses."""
    view, other = state.view[first], state.view[second]
    match = (view[:, :, None] == other[:, None, :]) & (view[:, :, None] >= 0)
    common = match.any(axis=2)
    cost = state.cost[first] + np.take_along_axis(state.cost[second], match.argmax(axis=2), axis=1)
    one, two = state.labels[first], state.labels[second]
    now = _cost_of(view, state.cost[first], one) + _cost_of(other, state.cost[second], two)
    # A third view makes seams around the face that were not there.
    pixels = state.pixels[first] + state.pixels[second]
    own = (view == one[:, None]) | (view == two[:, None])
    total = np.where(own, cost, cost + SEAM_COST * 3 * np.sqrt(pixels)[:, None])
    total = np.where(common, total, np.inf)
    best = total.argmin(axis=1)[:, None]
    lowest = np.take_along_axis(total, best, axis=1)[:, 0]
    unseen = _UNSEEN_COST * pixels
    label = np.where(lowest <= unseen, np.take_along_axis(view, best, axis=1)[:, 0], -1)
    loss = np.maximum(np.minimum(lowest, unseen) - now, 0.0)
    same = one == two
    label, loss = np.where(same, one, label), np.where(same, 0.0, loss)
    # Unused places come last.
    order = np.argsort(~common, axis=1, kind="stable")
    view = np.take_along_axis(np.where(common, view, -1), order, axis=1)
    cost = np.take_along_axis(np.where(common, cost, 0), order, axis=1)
    return view, cost.astype(np.float32), label.astype(np.int32), loss


def _cost_of(view: Ints, cost: Floats32, label: Ints) -> Floats:
    chosen = (view == label[:, None]) & (label >= 0)[:, None]
    costs: Floats = np.where(chosen, cost, 0).sum(axis=1, dtype=np.float64)
    return costs

"""Two surfaces that end at the same plane, made one.

Both were cut off there, where they nearly agree. The borders of one get the vertices of the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.surface.cleaning import make_manifold
from recon3d.threads import ALONE, Threads
from recon3d.types import Floats, Mesh

#: Vertices of the other border that are looked at for each: that of a thin wall's other side may be nearer.
_CANDIDATES = 8
#: Vertices of one border between neighbours of the other, at most; and vertices by which a border may turn
#: back.
_BETWEEN, _RETURN = 12, 4


def stitch(
    below: Mesh,
    above: Mesh,
    axis: int,
    at: float,
    reach: float,
    threads: Threads = ALONE,
    *,
    later: Sequence[tuple[int, float]] = (),
) -> Mesh:
    """Join two surfaces along a plane.

    Parameters
    ----------
    below, above : Mesh
        From `clip`, with or without marks of guesses.
    axis : int
        Of the coordinate that is the same all over the plane.
    at : float
        That coordinate.
    reach : float
        Vertices of both that are further from each other are not joined.
    threads : Threads, optional
    later : sequence of (int, float), optional
        Axes and coordinates of planes along which the result is joined to others: what ends there still does.

    Returns
    -------
    Mesh
        Without colours and normals.
    """
    seam, other = _Border.of(below, axis, at, later), _Border.of(above, axis, at, later)
    after = seam.order()
    partners = _without_returns(seam.partners(other, reach), other, after)
    number = len(below.vertices) + np.arange(len(above.vertices))
    number[other.vertices] = np.where(partners >= 0, partners, number[other.vertices])
    faces = number[above.faces]
    split = _split_edges(faces, other, number, after)
    vertices = np.concatenate([below.vertices, above.vertices])
    used = np.unique(partners[partners >= 0])
    vertices[used] = seam.midway(used, other)
    marks = None
    if below.guessed is not None and above.guessed is not None:
        marks = np.concatenate([below.guessed, above.guessed])
    whole = Mesh(vertices, np.concatenate([below.faces, split]).astype(np.int32), guessed=marks)
    return make_manifold(whole, threads)


@dataclass(frozen=True, eq=False)
class _Border:
    """Where a surface ends at the plane.

    Parameters
    ----------
    vertices : ndarray of int64, shape (B,)
        Vertices there, in ascending order.
    edges : ndarray of int64, shape (E, 2)
        From one to the next, with the surface on the left, seen from outside.
    rows : ndarray of int64, shape (E,)
        Their faces.
    places, along : ndarray of float64, shape (B, 3)
        Where the vertices are, and the unit vector in which the border goes on there.
    corners : ndarray of bool, shape (B, L)
        Whether they lie on each of the planes that come later, too.
    """

    vertices: NDArray[np.int64]
    edges: NDArray[np.int64]
    rows: NDArray[np.int64]
    places: Floats
    along: Floats
    corners: NDArray[np.bool_]

    @classmethod
    def of(cls, mesh: Mesh, axis: int, at: float, later: Sequence[tuple[int, float]]) -> _Border:
        on = mesh.vertices[:, axis] == at
        rows, corners = np.nonzero(on[mesh.faces] & on[np.roll(mesh.faces, -1, axis=1)])
        edges = np.stack([mesh.faces[rows, corners], mesh.faces[rows, (corners + 1) % 3]], axis=1).astype(
            np.int64
        )
        _, inverse, counts = np.unique(
            np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True
        )
        single = counts[inverse.ravel()] == 1
        rows, edges = rows[single], edges[single]
        vertices, ends = np.unique(edges, return_inverse=True)
        steps = mesh.vertices[edges[:, 1]] - mesh.vertices[edges[:, 0]]
        along = np.zeros((len(vertices), 3))
        for end in ends.reshape(-1, 2).T:
            np.add.at(along, end, steps)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-300)
        places = mesh.vertices[vertices]
        ends_later = np.zeros((len(vertices), len(later)), bool)
        for column, (side, place) in enumerate(later):
            ends_later[:, column] = places[:, side] == place
        return cls(vertices, edges, rows, places, along, ends_later)

    def alike(self, other: _Border) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Rows of the other border that lie on the same later planes, and the rows here that do, too."""
        kinds, kind = np.unique(other.corners, axis=0, return_inverse=True)
        for number, planes in enumerate(kinds):
            here = np.flatnonzero(self.corners[:, planes].all(axis=1))
            if len(here):
                yield np.flatnonzero(kind.ravel() == number), here

    def order(self) -> dict[int, int]:
        """The vertex that follows each."""
        return dict(zip(self.edges[:, 0].tolist(), self.edges[:, 1].tolist(), strict=True))

    def partners(self, other: _Border, reach: float) -> NDArray[np.int64]:
        """Of each vertex of the other border, the nearest vertex here that it can become, or -1."""
        found = np.full(len(other.vertices), -1, np.int64)
        for there, here in self.alike(other):
            count = min(_CANDIDATES, len(here))
            places = other.places[there]
            away, near = cKDTree(self.places[here]).query(places, k=count, distance_upper_bound=reach)
            away, near = away.reshape(-1, count), near.reshape(-1, count)
            for column in range(count - 1, -1, -1):
                rows = np.flatnonzero(np.isfinite(away[:, column]))
                nearest, rows = here[near[rows, column]], there[rows]
                # Borders that belong together go opposite ways.
                fits = np.einsum("nc,nc->n", self.along[nearest], other.along[rows]) < 0
                found[rows[fits]] = self.vertices[nearest[fits]]
        return found

    def midway(self, vertices: NDArray[np.int64], other: _Border) -> Floats:
        """Of some vertices here, the places halfway to the other border."""
        halfway: Floats = self.places.copy()
        for here, there in other.alike(self):
            step = other.places[there][cKDTree(other.places[there]).query(self.places[here])[1]]
            step -= self.places[here]
            if not self.corners[here[0]].any():
                # Across the border only: along it, the other's vertices lie anywhere.
                along = self.along[here]
                step -= np.einsum("nc,nc->n", step, along)[:, None] * along
            halfway[here] += step / 2
        return halfway[np.searchsorted(self.vertices, vertices)]


def _without_returns(
    partners: NDArray[np.int64], border: _Border, after: dict[int, int]
) -> NDArray[np.int64]:
    """Let no vertex of a border become one that lies before that of the vertex before it.

    Borders that wind a little would fold over where nearest vertices take turns.
    """
    new = dict(zip(border.vertices.tolist(), partners.tolist(), strict=True))
    corners = set(border.vertices[border.corners.any(axis=1)].tolist())
    follows = border.order()
    starts = sorted(follows.keys() - set(follows.values())) + sorted(follows)
    done: set[int] = set()
    for start in starts:
        at = start
        while at in follows and at not in done:
            done.add(at)
            then = follows[at]
            # The borders go opposite ways, so the next one should lie before.
            free = then not in done and then not in corners
            if free and new[at] >= 0 and _comes_soon(after, new[at], new[then]):
                new[then] = new[at]
            at = then
    return np.array([new[vertex] for vertex in border.vertices.tolist()], np.int64)


def _comes_soon(after: dict[int, int], start: int, end: int) -> bool:
    """Tell whether a vertex is one of the next few of a border."""
    at = start
    for _ in range(_RETURN):
        if at not in after:
            return False
        at = after[at]
        if at == end:
            return True
    return False


def _split_edges(
    faces: NDArray[np.int64], border: _Border, number: NDArray[np.int64], after: dict[int, int]
) -> NDArray[np.int64]:
    """Give faces along a border all vertices that the other has between those which they got."""
    pieces = {row: [tuple(faces[row].tolist())] for row in border.rows.tolist()}
    for row, (first, last) in zip(border.rows.tolist(), number[border.edges].tolist(), strict=True):
        between = _walk(after, last, first)
        if between:
            pieces[row] = list(_fans(pieces[row], first, last, between[::-1]))
    whole = np.ones(len(faces), bool)
    whole[border.rows] = False
    split = [piece for parts in pieces.values() for piece in parts]
    return np.concatenate([faces[whole], np.array(split, np.int64).reshape(-1, 3)])


def _walk(after: dict[int, int], start: int, end: int) -> list[int]:
    """The vertices between two of a border; none if the second does not follow the first soon."""
    between: list[int] = []
    at = after.get(start, end)
    while at != end:
        between.append(at)
        if len(between) > _BETWEEN or at not in after:
            return []
        at = after[at]
    return between


def _fans(
    triangles: list[tuple[int, ...]], first: int, last: int, between: list[int]
) -> Iterator[tuple[int, ...]]:
    """Split the triangle that has an edge at vertices on it."""
    for triangle in triangles:
        corner = next((k for k in range(3) if (triangle[k], triangle[(k + 1) % 3]) == (first, last)), None)
        if corner is None:
            yield triangle
        else:
            opposite = triangle[(corner + 2) % 3]
            yield from ((one, two, opposite) for one, two in pairwise([first, *between, last]))

"""Two surfaces that end at the same plane, made one.

Both were cut off there, where they nearly agree. The borders of one get the vertices of the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.surface.cleaning import make_manifold
from recon3d.surface.threads import ALONE, Threads
from recon3d.types import Floats, Mesh

#: Vertices of the other border that are looked at for each: that of a thin wall's other side may be nearer.
_CANDIDATES = 8
#: Vertices of one border between neighbours of the other, at most; and vertices by which a border may turn
#: back.
_BETWEEN, _RETURN = 12, 4


def stitch(below: Mesh, above: Mesh, axis: int, at: float, reach: float, threads: Threads = ALONE) -> Mesh:
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

    Returns
    -------
    Mesh
        Without colours and normals.
    """
    seam, other = _Border.of(below, axis, at), _Border.of(above, axis, at)
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
    """

    vertices: NDArray[np.int64]
    edges: NDArray[np.int64]
    rows: NDArray[np.int64]
    places: Floats
    along: Floats

    @classmethod
    def of(cls, mesh: Mesh, axis: int, at: float) -> _Border:
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
        return cls(vertices, edges, rows, mesh.vertices[vertices], along)

    def order(self) -> dict[int, int]:
        """The vertex that follows each."""
        return dict(zip(self.edges[:, 0].tolist(), self.edges[:, 1].tolist(), strict=True))

    def partners(self, other: _Border, reach: float) -> NDArray[np.int64]:
        """Of each vertex of the other border, the nearest vertex here that it can become, or -1."""
        found = np.full(len(other.vertices), -1, np.int64)
        if not len(self.vertices):
            return found
        count = min(_CANDIDATES, len(self.vertices))
        away, near = cKDTree(self.places).query(other.places, k=count, distance_upper_bound=reach)
        away, near = away.reshape(-1, count), near.reshape(-1, count)
        for column in range(count - 1, -1, -1):
            rows = np.flatnonzero(np.isfinite(away[:, column]))
            here = near[rows, column]
            # Borders that belong together go opposite ways.
            fits = np.einsum("nc,nc->n", self.along[here], other.along[rows]) < 0
            found[rows[fits]] = self.vertices[here[fits]]
        return found

    def midway(self, vertices: NDArray[np.int64], other: _Border) -> Floats:
        """Of some vertices here, the places halfway to the other border."""
        rows = np.searchsorted(self.vertices, vertices)
        here, along = self.places[rows], self.along[rows]
        nearest = other.places[cKDTree(other.places).query(here)[1]]
        # Across the border only: along it, the other's vertices lie anywhere.
        step = nearest - here
        step -= np.einsum("nc,nc->n", step, along)[:, None] * along
        halfway: Floats = here + step / 2
        return halfway


def _without_returns(
    partners: NDArray[np.int64], border: _Border, after: dict[int, int]
) -> NDArray[np.int64]:
    """Let no vertex of a border become one that lies before that of the vertex before it.

    Borders that wind a little would fold over where nearest vertices take turns.
    """
    new = dict(zip(border.vertices.tolist(), partners.tolist(), strict=True))
    follows = border.order()
    starts = sorted(follows.keys() - set(follows.values())) + sorted(follows)
    done: set[int] = set()
    for start in starts:
        at = start
        while at in follows and at not in done:
            done.add(at)
            then = follows[at]
            # The borders go opposite ways, so the next one should lie before.
            if then not in done and new[at] >= 0 and _comes_soon(after, new[at], new[then]):
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

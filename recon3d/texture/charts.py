"""Charts: connected faces painted from one photo, and their places in the atlas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import OptionError
from recon3d.texture.cells import Cells, pair_up
from recon3d.texture.footprints import chart_shapes, owners
from recon3d.texture.labelling import connected_faces
from recon3d.texture.packing import MULTIPLE, given_square, smallest_square
from recon3d.texture.shapes import BLOCK, MIRROR_X, MIRROR_Y, SWAP, Shapes, join, rectangle
from recon3d.texture.topology import FacePairs
from recon3d.types import Floats, Ints, Mesh, View

#: Texels around a chart that are its own: lookups in the first mip level reach half a block beyond it.
_PADDING = BLOCK / 2
#: Blocks around all cells.
_FRAME = 1
#: Side in texels of a cell of faces that no photo sees.
CELL = 2

#: Scales of photos that are tried when the largest atlas is too small, and how much of its side is enough.
_TRIES, _FULL = 6, 0.985
_LEAST_SCALE = 0.01
#: After a try that did not fit, the next is this much smaller than it promises to need.
_SMALLER = 0.99


@dataclass(frozen=True, eq=False)
class Charts:
    """Faces grouped into charts, and their corners.

    A node is a vertex in a chart: it has one place in the atlas and one colour correction.

    Parameters
    ----------
    labels : ndarray of int32, shape (F,)
        View that paints each face; -1 for none.
    face_chart : ndarray of int32, shape (F,)
        Chart of each face; -1 for faces without a view.
    chart_view : ndarray of int32, shape (C,)
    node_vertex, node_chart : ndarray of int32, shape (N,)
    face_nodes : ndarray of int32, shape (F, 3)
        Node of each corner; -1 for faces without a view.
    xy : ndarray of float64, shape (N, 2)
        Pixel of each node in its chart's photo.
    depth : ndarray of float64, shape (N,)
        Depth of each node there.
    cells : Cells
        Of the faces without a view.
    """

    labels: Ints
    face_chart: Ints
    chart_view: Ints
    node_vertex: Ints
    node_chart: Ints
    face_nodes: Ints
    xy: Floats
    depth: Floats
    cells: Cells

    def __len__(self) -> int:
        return len(self.chart_view)

    @cached_property
    def painted_nodes(self) -> tuple[Ints, NDArray[np.int64]]:
        """Nodes of the painted faces, chart by chart, and where each chart's begin: shape (C + 1,)."""
        order = np.argsort(self.face_chart, kind="stable")
        starts = np.searchsorted(self.face_chart, np.arange(len(self) + 1), sorter=order)
        return self.face_nodes[order[starts[0] :]], starts - starts[0]


@dataclass(frozen=True, eq=False)
class Layout:
    """Places in the atlas.

    Parameters
    ----------
    size : int
        Side of the square atlas.
    image_sizes : ndarray of int32, shape (views, 2)
        Width and height to which each photo is scaled; a texel is a pixel of the scaled photo.
    source : ndarray of int32, shape (C, 2)
        Column and row of each chart's first texel in its scaled photo; may lie outside by the padding.
    target : ndarray of int32, shape (C, 2)
        Column and row of each chart's first texel in the atlas.
    turns : ndarray of int32, shape (C,)
        How each chart is turned in the atlas: see `recon3d.texture.shapes.turned`.
    extent : ndarray of int32, shape (C, 2)
        Width and height of each chart in the atlas.
    shapes : Shapes
        What each chart occupies of its width and height in the atlas, in blocks; then all cells.
    photo_xy : ndarray of float64, shape (N, 2)
        Place of each node in its scaled photo.
    node_xy : ndarray of float64, shape (N, 2)
        Place of each node in the atlas, in texels from its upper left corner.
    cells : ndarray of int32, shape (Q, 2)
        First texel of each cell, in the order of the charts' cells.
    cell : int
        Side of a cell.
    owner : ndarray of int32, shape (size // 2, size // 2)
        Chart of each block of texels, one more for all cells, -1 for none.
    """

    size: int
    image_sizes: Ints
    source: Ints
    target: Ints
    turns: Ints
    extent: Ints
    shapes: Shapes
    photo_xy: Floats
    node_xy: Floats
    cells: Ints
    cell: int
    owner: Ints


def build_charts(
    mesh: Mesh, pairs: FacePairs, labels: Ints, views: Sequence[View], parts: Ints | None = None
) -> Charts:
    """Group the faces and project them into their photos.

    Parameters
    ----------
    mesh : Mesh
    pairs : FacePairs
    labels : ndarray of int32, shape (F,)
    views : sequence of View
        With pinhole cameras.
    parts : ndarray of int32, shape (F,), optional
        Faces of different numbers are not in one chart; -1 for faces without a view.

    Returns
    -------
    Charts
    """
    count, face_chart = connected_faces(labels if parts is None else parts, pairs.faces)
    chart_view = np.zeros(count, np.int32)
    seen = np.flatnonzero(face_chart >= 0)
    chart_view[face_chart[seen]] = labels[seen]
    key = face_chart[seen, None].astype(np.int64) * len(mesh.vertices) + mesh.faces[seen]
    nodes, inverse = np.unique(key, return_inverse=True)
    node_chart = (nodes // len(mesh.vertices)).astype(np.int32)
    node_vertex = (nodes % len(mesh.vertices)).astype(np.int32)
    face_nodes = np.full((len(mesh.faces), 3), -1, np.int32)
    face_nodes[seen] = inverse.reshape(-1, 3)
    xy, depth = np.zeros((len(nodes), 2)), np.ones(len(nodes))
    view_of = chart_view[node_chart]
    order = np.argsort(view_of, kind="stable")
    bounds = np.searchsorted(view_of[order], np.arange(len(views) + 1))
    for index, view in enumerate(views):
        mine = order[bounds[index] : bounds[index + 1]]
        q = mesh.vertices[node_vertex[mine]] @ view.projection[:, :3].T + view.projection[:, 3]
        xy[mine], depth[mine] = q[:, :2] / q[:, 2:], q[:, 2]
    cells = pair_up(np.flatnonzero(face_chart < 0), pairs, len(mesh.faces))
    return Charts(labels, face_chart, chart_view, node_vertex, node_chart, face_nodes, xy, depth, cells)


def lay_out(charts: Charts, views: Sequence[View], max_size: int) -> Layout:
    """Place the charts in the smallest atlas that takes them at the photos' own resolution.

    When the largest atlas is too small, all photos are scaled down by the same factor.

    Parameters
    ----------
    charts : Charts
    views : sequence of View
    max_size : int
        Side of the largest atlas; sides are multiples of 16.

    Returns
    -------
    Layout

    Raises
    ------
    OptionError
        The charts do not fit at any resolution.
    """
    largest = max_size // (BLOCK * MULTIPLE) * BLOCK * MULTIPLE
    layout, needed = _try(charts, views, 1.0, largest)
    if layout is not None:
        return layout
    best, low, high, scale = None, 0.0, 1.0, 1.0
    for _ in range(_TRIES):
        # The last try tells how much is left, or about how much is too much.
        scale *= largest / needed * (_SMALLER if layout is None else 1.0)
        if not low < scale < high:
            scale = (low + high) / 2
        layout, needed = _try(charts, views, scale, largest)
        if layout is None:
            high = scale
        else:
            low, best = scale, layout
            if needed >= _FULL * largest:
                break
    while best is None and scale > _LEAST_SCALE:
        scale *= 0.7
        best, _ = _try(charts, views, scale, largest)
    if best is None:
        raise OptionError(
            f"{len(charts)} charts do not fit into a texture of {max_size} x {max_size} texels.",
            "Raise texturing.texture_size, or lower mesh_generation.max_faces.",
        )
    return best


def _try(charts: Charts, views: Sequence[View], scale: float, largest: int) -> tuple[Layout | None, float]:
    """Layout at one scale, or None where it does not fit, and about the side that it needs."""
    full = np.array([(v.camera.width, v.camera.height) for v in views], np.int32).reshape(-1, 2)
    image_sizes = np.maximum(np.rint(full * scale), 1).astype(np.int32)
    node, seen = charts.node_chart, charts.face_chart >= 0
    xy = charts.xy * (image_sizes / full)[charts.chart_view[node]]
    faces = charts.face_nodes[seen], charts.face_chart[seen]
    source, everything = chart_shapes(xy, node, *faces, _PADDING)
    cells = charts.cells.count
    cell = CELL if cells * CELL * CELL <= largest * largest / 4 else 1
    columns = min(max(1, int(np.ceil(np.sqrt(cells)))), (largest - 2 * _FRAME * BLOCK) // cell)
    if cells:
        sides = (-(-n * cell // BLOCK) + 2 * _FRAME for n in (columns, -(-cells // columns)))
        everything = join(everything, rectangle(*sides))
    # Photos that are scaled down fill the largest atlas.
    fit = smallest_square if scale == 1 else given_square
    packing, needed = fit(everything, largest // BLOCK)
    if packing is None:
        return None, needed * BLOCK
    shapes, turns = packing.charts, packing.turns[: len(charts)]
    target, extent = packing.positions[: len(charts)] * BLOCK, shapes.extents()[: len(charts)] * BLOCK
    index = np.arange(cells)
    place = np.stack([index % columns, index // columns], axis=1) * cell
    if cells:
        if packing.turns[-1] & SWAP:
            place = place[:, ::-1]
        place = place + (packing.positions[-1] + _FRAME) * BLOCK
    layout = Layout(
        packing.side * BLOCK,
        image_sizes,
        source,
        target,
        turns,
        extent,
        shapes,
        xy,
        target[node] + _turned_places(xy - source[node], turns[node], extent[node]),
        place.astype(np.int32),
        cell,
        owners(packing.positions, shapes.columns, shapes.runs, shapes.low, shapes.high, packing.side),
    )
    return layout, needed * BLOCK


def _turned_places(place: Floats, turns: Ints, extent: Ints) -> Floats:
    """Places in charts, turned as their charts are; `extent` is that of the turned charts."""
    swap = (turns & SWAP > 0)[:, None]
    whole = np.where(swap, extent[:, ::-1], extent)
    mirror = np.stack([turns & MIRROR_X, turns & MIRROR_Y], axis=1) > 0
    place = np.where(mirror, whole - place, place)
    return np.where(swap, place[:, ::-1], place)

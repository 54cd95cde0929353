"""Charts: connected faces painted from one photo, and their places in the atlas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recon3d.errors import OptionError
from recon3d.texture.footprints import chart_shapes, owners
from recon3d.texture.labelling import connected_faces
from recon3d.texture.packing import BLOCK, MULTIPLE, Shapes, join, rectangle, smallest_square
from recon3d.texture.topology import FacePairs
from recon3d.types import Floats, Ints, Mesh, View

#: Blocks around a chart that are its own: lookups in the first mip level reach half a block beyond it.
_PADDING = 0.5
#: Blocks around all cells.
_FRAME = 1
#: Side in texels of the cell of a face that no photo sees.
CELL = 4

#: Scales of photos that are tried when the largest atlas is too small, and how full it shall be.
_TRIES, _FULL = 10, 0.985
_LEAST_SCALE = 0.01


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
    """

    labels: Ints
    face_chart: Ints
    chart_view: Ints
    node_vertex: Ints
    node_chart: Ints
    face_nodes: Ints
    xy: Floats
    depth: Floats

    def __len__(self) -> int:
        return len(self.chart_view)


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
    extent : ndarray of int32, shape (C, 2)
        Width and height of each chart.
    shapes : Shapes
        What each chart occupies of its width and height, in blocks.
    node_xy : ndarray of float64, shape (N, 2)
        Place of each node in the atlas, in texels from its upper left corner.
    cells : ndarray of int32, shape (U, 2)
        First texel of the cell of each face without a view, in the order of the faces.
    cell : int
        Side of a cell.
    owner : ndarray of int32, shape (size // 2, size // 2)
        Chart of each block of texels, one more for all cells, -1 for none.
    """

    size: int
    image_sizes: Ints
    source: Ints
    target: Ints
    extent: Ints
    shapes: Shapes
    node_xy: Floats
    cells: Ints
    cell: int
    owner: Ints


def build_charts(mesh: Mesh, pairs: FacePairs, labels: Ints, views: Sequence[View]) -> Charts:
    """Group the faces and project them into their photos.

    Parameters
    ----------
    mesh : Mesh
    pairs : FacePairs
    labels : ndarray of int32, shape (F,)
    views : sequence of View
        With pinhole cameras.

    Returns
    -------
    Charts
    """
    count, face_chart = connected_faces(labels, pairs.faces)
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
    return Charts(labels, face_chart, chart_view, node_vertex, node_chart, face_nodes, xy, depth)


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
    layout, area = _try(charts, views, 1.0, largest)
    if layout is not None:
        return layout
    best, low, high = None, 0.0, 1.0
    scale = min(0.95, 0.9 * largest / np.sqrt(area))
    for _ in range(_TRIES):
        layout, area = _try(charts, views, scale, largest)
        if layout is None:
            high = scale
        else:
            low, best = scale, layout
            if layout.size >= _FULL * largest:
                break
        # A layout tells how much is left; a failure only that this was too large.
        scale = scale * largest / layout.size if layout is not None else 0.97 * scale
        if not low < scale < high:
            scale = (low + high) / 2
    while best is None and scale > _LEAST_SCALE:
        scale *= 0.7
        best, _ = _try(charts, views, scale, largest)
    if best is None:
        raise OptionError(
            f"{len(charts)} charts do not fit into a texture of {max_size} x {max_size} texels.",
            "Raise texturing.texture_size, or lower mesh_generation.max_faces.",
        )
    return best


def _try(charts: Charts, views: Sequence[View], scale: float, largest: int) -> tuple[Layout | None, int]:
    """Layout at one scale, or None where it does not fit, and the texels that it takes."""
    full = np.array([(v.camera.width, v.camera.height) for v in views], np.int32).reshape(-1, 2)
    image_sizes = np.maximum(np.rint(full * scale), 1).astype(np.int32)
    view_of = charts.chart_view[charts.node_chart]
    xy = charts.xy * (image_sizes / full)[view_of]
    grid = xy / BLOCK
    low = np.full((len(charts), 2), np.inf)
    high = np.full((len(charts), 2), -np.inf)
    np.minimum.at(low, charts.node_chart, grid)
    np.maximum.at(high, charts.node_chart, grid)
    source = np.floor(low - _PADDING).astype(np.int32)
    extent = np.ceil(high + _PADDING).astype(np.int32) - source
    # A chart of a single place on the blocks' lines.
    extent = np.maximum(extent, 1)
    seen = charts.face_chart >= 0
    faces = charts.face_nodes[seen]
    shapes = chart_shapes(grid, faces, charts.face_chart[seen], source, extent, _PADDING)
    unseen = int(np.count_nonzero(~seen))
    cell = CELL if unseen * CELL * CELL <= largest * largest / 4 else 1
    columns = min(max(1, int(np.ceil(np.sqrt(unseen)))), (largest - 2 * _FRAME * BLOCK) // cell)
    block = rectangle(*(-(-n * cell // BLOCK) + 2 * _FRAME for n in (columns, -(-unseen // columns))))
    everything = join(shapes, block) if unseen else shapes
    taken = everything.area * BLOCK * BLOCK
    found = smallest_square(everything, largest // BLOCK)
    if found is None:
        return None, taken
    side, positions = found
    index = np.arange(unseen)
    first = (positions[-1] + _FRAME) * BLOCK if unseen else np.zeros(2, np.int32)
    cells = np.stack([index % columns, index // columns], axis=1) * cell + first
    s = everything
    owner = owners(positions, s.columns, s.runs, s.low, s.high, side)
    source, target = source * BLOCK, positions[: len(charts)] * BLOCK
    layout = Layout(
        side * BLOCK,
        image_sizes,
        source,
        target,
        extent * BLOCK,
        shapes,
        xy + (target - source)[charts.node_chart],
        cells.astype(np.int32),
        cell,
        owner,
    )
    return layout, taken

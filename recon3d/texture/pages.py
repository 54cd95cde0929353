"""Pages: an atlas of several squares, each of which is laid out, painted and finished by itself.

One square would take few texels of a large surface, and memory for all of them. Charts are numbered page by
page, so that those of a page, and their nodes, are a range. Charts of a page lie near each other: few photos
paint it, and few seams lead to another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recon3d.texture.cells import Cells
from recon3d.texture.charts import CELL, Charts, Layout
from recon3d.texture.seams import Seams
from recon3d.types import Floats, Ints

#: Share of a page's texels that faces usually take.
_FILL = 0.66
#: Charts longer than this share of a page's side are cut: a page with one such chart would be half empty.
_LONGEST = 0.4


@dataclass(frozen=True, eq=False)
class Plan:
    """Which page has which charts.

    Parameters
    ----------
    charts : Charts
        Numbered page by page.
    starts : ndarray of int64, shape (P + 1,)
        First chart of each page.
    seams : Seams
    """

    charts: Charts
    starts: NDArray[np.int64]
    seams: Seams

    @property
    def pages(self) -> int:
        """How many there are."""
        return len(self.starts) - 1

    @cached_property
    def node_starts(self) -> NDArray[np.int64]:
        """First node of each page: shape (P + 1,)."""
        return np.searchsorted(self.charts.node_chart, self.starts)

    def nodes(self, page: int) -> range:
        """Numbers of a page's nodes.

        Parameters
        ----------
        page : int

        Returns
        -------
        range
        """
        return range(int(self.node_starts[page]), int(self.node_starts[page + 1]))

    def views(self, page: int) -> Ints:
        """Numbers of the views that paint something in a page.

        Parameters
        ----------
        page : int

        Returns
        -------
        ndarray of int32, shape (V,)
        """
        return np.unique(self.charts.chart_view[self.starts[page] : self.starts[page + 1]])

    def charts_of(self, page: int) -> Charts:
        """The charts of a page, numbered by themselves; the last page has all cells.

        Parameters
        ----------
        page : int

        Returns
        -------
        Charts
        """
        if self.pages == 1:
            return self.charts
        whole = self.charts
        chart, node = (slice(*at[page : page + 2]) for at in (self.starts, self.node_starts))
        inside = (whole.face_chart >= chart.start) & (whole.face_chart < chart.stop)
        cells = whole.cells
        if page < self.pages - 1:
            cells = Cells(0, np.zeros(0, np.int32), np.zeros((0, 3), np.int32))
        return Charts(
            whole.labels,
            np.where(inside, whole.face_chart - np.int32(chart.start), np.int32(-1)),
            whole.chart_view[chart],
            whole.node_vertex[node],
            whole.node_chart[node] - np.int32(chart.start),
            np.where(inside[:, None], whole.face_nodes - np.int32(node.start), np.int32(-1)),
            whole.xy[node],
            whole.depth[node],
            cells,
        )


@dataclass(frozen=True, eq=False)
class Page:
    """One square of an atlas.

    Parameters
    ----------
    charts : Charts
        From `Plan.charts_of`.
    layout : Layout
    """

    charts: Charts
    layout: Layout

    def blocks(self, view: int) -> tuple[NDArray[np.int64], ...]:
        """Rows and columns of the blocks of texels that a view paints.

        Parameters
        ----------
        view : int

        Returns
        -------
        tuple of ndarray of int64, shape (N,)
        """
        order, starts = self._by_view
        return np.divmod(order[starts[view] : starts[view + 1]], self.layout.owner.shape[1])

    @cached_property
    def _by_view(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Blocks, sorted by the view that paints them, and where those of each view begin."""
        # Blocks of cells have the number after all charts'; those of nobody have -1.
        view = np.append(self.charts.chart_view, [-1, -1])
        count = int(view.max()) + 1
        painting = view.astype(np.int16 if count < 1 << 15 else np.int32)[self.layout.owner.reshape(-1)]
        order = np.argsort(painting, kind="stable")
        return order, np.searchsorted(painting, np.arange(count + 1), sorter=order)


def pages_needed(charts: Charts, side: int) -> int:
    """Compute how many pages charts need at the photos' own resolution.

    Parameters
    ----------
    charts : Charts
    side : int
        Largest side of a page in texels.

    Returns
    -------
    int
    """
    texels = _areas(charts).sum() / _FILL + _cell_texels(charts)
    return max(1, int(np.ceil(texels / (side * side))))


def _cell_texels(charts: Charts) -> int:
    return charts.cells.count * CELL * CELL


def parts_of_charts(charts: Charts, side: int) -> Ints | None:
    """Cut the charts that are long for a page, along squares of their photos.

    Parameters
    ----------
    charts : Charts
    side : int
        Largest side of a page in texels.

    Returns
    -------
    ndarray of int32, shape (F,), or None
        Number of each face's part, -1 for faces without a view; None where nothing is cut.
    """
    count, step = len(charts), _LONGEST * side
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, charts.node_chart, charts.xy)
    np.maximum.at(high, charts.node_chart, charts.xy)
    cells = np.maximum(np.ceil((high - low) / step), 1).astype(np.int64)
    if (cells == 1).all():
        return None
    seen = np.flatnonzero(charts.face_chart >= 0)
    chart = charts.face_chart[seen]
    middle = charts.xy[charts.face_nodes[seen]].mean(axis=1)
    # Parts of a chart are about as large as each other.
    place = np.floor((middle - low[chart]) / (high - low)[chart] * cells[chart]).astype(np.int64)
    place = np.clip(np.nan_to_num(place), 0, cells[chart] - 1)
    first = np.cumsum(np.append(0, cells.prod(axis=1)))
    parts = np.full(len(charts.face_chart), -1, np.int32)
    parts[seen] = first[chart] + place[:, 1] * cells[chart, 0] + place[:, 0]
    return parts


def in_pages(charts: Charts, vertices: Floats, side: int, most: int) -> tuple[Charts, NDArray[np.int64]]:
    """Give charts to as many pages as they need at the photos' own resolution.

    They are halved across their widest extent, again and again, so that pages have about as many texels.

    Parameters
    ----------
    charts : Charts
    vertices : ndarray of float64, shape (V, 3)
        Of the mesh.
    side : int
        Largest side of a page in texels.
    most : int
        Pages at most.

    Returns
    -------
    charts : Charts
        Numbered page by page.
    starts : ndarray of int64, shape (P + 1,)
        First chart of each page.
    """
    count = len(charts)
    pages = min(most, count, pages_needed(charts, side)) if count else 1
    if pages == 1:
        return charts, np.array([0, count], np.int64)
    middle: Floats = np.zeros((count, 3))
    for k in range(3):
        middle[:, k] = np.bincount(charts.node_chart, vertices[charts.node_vertex, k], count)
    middle /= np.bincount(charts.node_chart, minlength=count)[:, None]
    page = np.zeros(count, np.int64)
    area = _areas(charts) / _FILL
    _halve(middle, area, np.arange(count), page, 0, pages, _cell_texels(charts))
    order = np.argsort(page, kind="stable")
    return _in_order(charts, order), np.searchsorted(page[order], np.arange(pages + 1))


def _areas(charts: Charts) -> Floats:
    """Texels of each chart's faces at the photos' own resolution."""
    seen = charts.face_chart >= 0
    a, b, c = (charts.xy[charts.face_nodes[seen, k]] for k in range(3))
    u, v = b - a, c - a
    doubled = np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    return np.asarray(np.bincount(charts.face_chart[seen], doubled / 2, len(charts)), np.float64)


def _halve(
    middle: Floats,
    area: Floats,
    charts: NDArray[np.int64],
    page: NDArray[np.int64],
    first: int,
    pages: int,
    last: float,
) -> None:
    """Number the pages of some charts from `first` on. The last one has so many texels of cells, too."""
    if pages == 1:
        page[charts] = first
        return
    lower = pages // 2
    axis = int(np.ptp(middle[charts], axis=0).argmax())
    order = charts[np.argsort(middle[charts, axis], kind="stable")]
    sums = np.cumsum(area[order])
    cut = int(np.searchsorted(sums, (sums[-1] + last) * lower / pages)) + 1
    # Each page has a chart.
    cut = min(max(cut, lower), len(order) - (pages - lower))
    _halve(middle, area, order[:cut], page, first, lower, 0)
    _halve(middle, area, order[cut:], page, first + lower, pages - lower, last)


def _in_order(charts: Charts, order: NDArray[np.int64]) -> Charts:
    """The charts in another order, and their nodes with them."""
    number = np.empty(len(order), np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    nodes = np.argsort(number[charts.node_chart], kind="stable")
    node = np.empty(len(nodes), np.int32)
    node[nodes] = np.arange(len(nodes), dtype=np.int32)
    seen = charts.face_chart >= 0
    face_chart, face_nodes = charts.face_chart.copy(), charts.face_nodes.copy()
    face_chart[seen], face_nodes[seen] = number[face_chart[seen]], node[face_nodes[seen]]
    return replace(
        charts,
        face_chart=face_chart,
        chart_view=charts.chart_view[order],
        node_vertex=charts.node_vertex[nodes],
        node_chart=number[charts.node_chart][nodes],
        face_nodes=face_nodes,
        xy=charts.xy[nodes],
        depth=charts.depth[nodes],
    )

from __future__ import annotations

import numpy as np
import pytest

from recon3d.errors import OptionError
from recon3d.texture.charts import Charts, build_charts, lay_out
from recon3d.texture.footprints import chart_shapes
from recon3d.texture.packing import MULTIPLE, given_square, pack, smallest_square
from recon3d.texture.shapes import BLOCK, Shapes, exchanged, join, rectangle, turned
from recon3d.texture.topology import face_pairs
from recon3d.types import Mesh, View
from tests.synthetic.box import box_mesh, photograph, rate, ring


def columns(widths: np.ndarray, heights: np.ndarray) -> Shapes:
    parts = [rectangle(int(w), int(h)) for w, h in zip(widths, heights, strict=True)]
    joined = parts[0]
    for part in parts[1:]:
        joined = join(joined, part)
    return joined


def occupancy(charts: Shapes, positions: np.ndarray, width: int, height: int) -> np.ndarray:
    """How many charts claim each block; raises where one leaves the strip."""
    count = np.zeros((height, width), int)
    for n, (x, y) in enumerate(positions):
        for i, place in enumerate(range(charts.columns[n], charts.columns[n + 1])):
            assert 0 <= x + i < width
            for run in range(charts.runs[place], charts.runs[place + 1]):
                assert 0 <= y + charts.low[run] < y + charts.high[run] <= height
                count[y + charts.low[run] : y + charts.high[run], x + i] += 1
    return count


def packed(charts: Shapes, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, int]:
    """How often each block is taken, how charts are turned, and how many columns they use."""
    other, squares = exchanged(charts)
    positions, turns, used = pack(charts, other, squares, rows, columns)
    if used > columns:
        return np.zeros((rows, columns), int), turns, used
    return occupancy(turned(charts, other, turns), positions, columns, rows), turns, used


def test_rectangles_fill_a_square_without_overlap() -> None:
    rng = np.random.default_rng(0)
    charts = columns(rng.integers(3, 40, 400), rng.integers(3, 40, 400))
    packing, side = smallest_square(charts, 1024)
    assert packing is not None
    assert packing.side == side
    assert side % MULTIPLE == 0
    count = occupancy(packing.charts, packing.positions, side, side)
    assert count.max() == 1
    assert count.mean() > 0.9


def test_triangles_lean_into_each_other() -> None:
    # 32 right triangles in a square that holds 16 of their rectangles.
    slope = np.arange(1, 33, dtype=np.int32)
    one, runs = np.array([0, 32]), np.arange(33)
    # Both 33 high, or one kind would be placed before the other.
    lower = Shapes(one, runs, np.zeros(32, np.int32), np.append(slope[:-1], 33).astype(np.int32))
    upper = Shapes(one, runs, np.minimum(slope, 31), np.full(32, 33, np.int32))
    charts = join(lower, upper)
    for _ in range(4):
        charts = join(charts, charts)
    count, _, used = packed(charts, 164, 160)
    assert used <= 160
    assert count.max() == 1


def test_small_charts_fill_the_holes_of_large_ones() -> None:
    # A frame of 100 x 100 texels with a hole of 80 x 80, and 64 squares that fill it.
    low = np.concatenate([np.zeros(10), np.tile([0, 90], 80), np.zeros(10)]).astype(np.int32)
    high = np.concatenate([np.full(10, 100), np.tile([10, 100], 80), np.full(10, 100)]).astype(np.int32)
    runs = np.cumsum([0] + [1] * 10 + [2] * 80 + [1] * 10)
    charts = Shapes(np.array([0, 100]), runs, low, high)
    for _ in range(64):
        charts = join(charts, rectangle(10, 10))
    count, _, used = packed(charts, 100, 100)
    assert used == 100
    assert (count == 1).all()


def test_long_charts_are_turned_where_they_fit() -> None:
    # Posts and beams, eight blocks by sixty: only beams fit into sixteen rows.
    charts = columns(np.array([60, 8, 60, 8]), np.array([8, 60, 8, 60]))
    count, turns, used = packed(charts, 16, 120)
    assert used == 120
    assert count.max() == 1
    assert (turns != 0).tolist() == [False, True, False, True]


def test_what_does_not_fit_is_refused() -> None:
    assert packed(columns(np.array([10]), np.array([5])), 8, 8)[2] > 8
    assert packed(columns(np.array([5]), np.array([10])), 8, 8)[2] > 8
    assert packed(columns(np.full(5, 4), np.full(5, 4)), 8, 8)[2] > 8
    assert packed(columns(np.full(4, 4), np.full(4, 4)), 8, 8)[2] == 8
    packing, needed = smallest_square(columns(np.full(5, 16), np.full(5, 16)), 32)
    assert packing is None
    assert 32 < needed <= 48
    assert given_square(columns(np.array([60]), np.array([4])), 48)[1] == 60


def test_a_given_square_tells_how_much_of_it_is_needed() -> None:
    charts = columns(np.full(9, 16), np.full(9, 16))
    for side, fits in ((40, False), (48, True), (64, True)):
        packing, needed = given_square(charts, side)
        assert (packing is not None) == fits
        if packing is not None:
            assert packing.side == side
            assert needed <= side
            assert occupancy(packing.charts, packing.positions, side, side).max() == 1
        else:
            assert needed > side


def box_charts(steps: int = 8) -> tuple[Mesh, list[View], Charts]:
    mesh, views = box_mesh(steps), ring(6)
    candidates = rate(mesh, views, [photograph(mesh, v) for v in views]).candidates()
    best = candidates.quality.argmax(axis=1)
    labels = np.where(candidates.counts > 0, candidates.view[np.arange(len(mesh)), best], -1)
    return mesh, views, build_charts(mesh, face_pairs(mesh.faces), labels.astype(np.int32), views)


def test_charts_project_into_their_photos() -> None:
    mesh, views, charts = box_charts()
    seen = charts.face_chart >= 0
    np.testing.assert_array_equal(seen, charts.labels >= 0)
    np.testing.assert_array_equal(charts.chart_view[charts.face_chart[seen]], charts.labels[seen])
    nodes = charts.face_nodes[seen]
    np.testing.assert_array_equal(charts.node_vertex[nodes], mesh.faces[seen])
    assert (charts.node_chart[nodes] == charts.face_chart[seen][:, None]).all()
    for node in range(0, len(charts.node_vertex), 17):
        view = views[charts.chart_view[charts.node_chart[node]]]
        R, t = view.cam_from_world[:3, :3], view.cam_from_world[:3, 3]
        expected = view.camera.project(R @ mesh.vertices[charts.node_vertex[node]] + t)
        np.testing.assert_allclose(charts.xy[node], expected)


@pytest.mark.parametrize("max_size", [4096, 400, 256])
def test_layout_keeps_charts_apart_and_scales_them_when_it_must(max_size: int) -> None:
    _, views, charts = box_charts()
    layout = lay_out(charts, views, max_size)
    assert layout.size <= max_size
    assert layout.size % (BLOCK * MULTIPLE) == 0
    scale = layout.image_sizes[0, 0] / views[0].camera.width
    assert scale == 1 if max_size == 4096 else scale < 1
    side = layout.size // BLOCK
    assert (layout.target % BLOCK == 0).all()
    count = occupancy(layout.shapes, layout.target // BLOCK, side, side).repeat(BLOCK, 0).repeat(BLOCK, 1)
    assert max_size == 4096 or layout.size > 0.9 * max_size
    for x, y in layout.cells:
        count[y : y + layout.cell, x : x + layout.cell] += 1
    assert count.max() == 1
    assert len(layout.cells) == charts.cells.count
    # Texels and pixels of the photo are the same grid, moved by whole texels and turned.
    np.testing.assert_allclose(layout.photo_xy, charts.xy * scale, rtol=0.01)
    local = layout.node_xy - layout.target[charts.node_chart]
    turns = layout.turns[charts.node_chart]
    whole = layout.extent[charts.node_chart]
    left, right = np.stack([local[:, 1], whole[:, 0] - local[:, 0]], 1), whole - local
    back = np.stack([whole[:, 1] - local[:, 1], local[:, 0]], 1)
    # A mirror in x and then an exchange turn by 90 degrees one way, a mirror in y the other.
    unturned = np.choose(turns[:, None], [local, *[np.nan * local] * 2, right, local, back, left, local])
    shift = layout.source[charts.node_chart]
    np.testing.assert_allclose(unturned + shift, layout.photo_xy)
    assert len(np.unique(layout.turns)) > 1
    # Everything within half a block of a face is its chart's own.
    ends = layout.node_xy
    for reach in (-BLOCK / 2, BLOCK / 2 - 1e-6):
        for axis in range(2):
            place = ends.copy()
            place[:, axis] += reach
            x, y = np.floor(place).astype(int).T
            assert (count[y, x] == 1).all()


def test_a_chart_claims_the_blocks_that_its_faces_reach_and_no_others() -> None:
    rng = np.random.default_rng(4)
    xy = np.concatenate([rng.uniform(20, 60, (12, 2)), [[25.2, 30.4], [25.2, 30.4], [26.1, 30.4]]])
    faces = np.arange(15, dtype=np.int32).reshape(5, 3)
    source, shapes = chart_shapes(xy, np.zeros(15, np.int32), faces, np.zeros(5, np.int32), 1.0)
    claimed = occupancy(shapes, np.zeros((1, 2), int), *shapes.extents()[0])
    assert claimed.max() == 1
    # Where points of the faces lie; the last face has no area.
    weights = rng.dirichlet([0.6, 0.6, 0.6], (5, 40_000))
    points = np.einsum("fnk,fkc->nfc", weights, xy[faces]).reshape(-1, 2) - source[0]
    reach = np.zeros(claimed.shape, np.uint8)
    for step in ([-1, -1], [-1, 1], [1, -1], [1, 1]):
        x, y = np.floor((points + step) / BLOCK).astype(int).T
        reach[y, x] = 1
    assert not (reach & (claimed == 0)).any()
    assert np.count_nonzero(claimed) - np.count_nonzero(reach) < 0.01 * claimed.size


def test_a_texture_that_is_too_small_is_an_option_error() -> None:
    _, views, charts = box_charts()
    with pytest.raises(OptionError, match="do not fit into a texture of 16 x 16") as error:
        lay_out(charts, views, 16)
    assert "texture_size" in error.value.hint

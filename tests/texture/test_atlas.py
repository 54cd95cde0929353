from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from recon3d.texture.atlas import Atlas, cell_corners
from recon3d.texture.cells import pair_up
from recon3d.texture.charts import lay_out
from recon3d.texture.shapes import MIRROR_X, MIRROR_Y, SWAP, TURNS, exchanged, turned
from recon3d.texture.texels import INSIDE, OUTSIDE, RIM, UNIT
from recon3d.texture.topology import face_pairs
from tests.texture.test_charts import box_charts
from tests.texture.test_seams import HEIGHT, WIDTH, two_charts


def test_paint_copies_pixels_with_a_gain() -> None:
    charts, layout, _, _ = two_charts()
    photo = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    atlas = Atlas.empty(layout.size)
    atlas.paint(photo, charts, layout, 1, np.array([1.0, 0.5, 1.5]))
    x, y = layout.target[1]
    copied = atlas.color[y : y + HEIGHT, x : x + WIDTH] / UNIT
    np.testing.assert_allclose(copied, photo * np.array([1.0, 0.5, 1.5]), atol=0.5 / UNIT)
    atlas.color[y : y + HEIGHT, x : x + WIDTH] = 0
    assert not atlas.color.any()


def test_corrections_are_interpolated_over_faces_and_kept_on_the_rim() -> None:
    charts, layout, _, _ = two_charts()
    atlas = Atlas.empty(layout.size)
    offsets = layout.node_xy @ np.array([[1.0, 0, 0.5], [0, 2.0, 0.5]])
    atlas.correct(charts, layout, offsets)
    rows, columns = np.nonzero(atlas.mask == INSIDE)
    assert len(rows) == 2 * 18 * 34
    centers = np.stack([columns, rows], 1) + 0.5
    expected = centers @ np.array([[1.0, 0, 0.5], [0, 2.0, 0.5]])
    np.testing.assert_allclose(atlas.color[rows, columns] / UNIT, expected, atol=1 / UNIT)
    # A rim one texel wide around both, with the border's values.
    assert np.count_nonzero(atlas.mask == RIM) == 2 * (20 * 36 - 18 * 34)
    row, column = layout.target[0][1] + 2, layout.target[0][0] + 12
    assert atlas.mask[row, column] == RIM
    assert atlas.mask[row - 1, column] == OUTSIDE
    np.testing.assert_allclose(atlas.color[row, column, 1] / UNIT, 2.0 * (row + 1), atol=1 / UNIT)


def test_sample_is_bilinear() -> None:
    atlas = Atlas.empty(8)
    y, x = np.mgrid[:8, :8]
    atlas.color[...] = ((3 * x + 5 * y) * UNIT)[..., None]
    at = np.array([[0.5, 0.5], [3.25, 4.75], [7.5, 7.5], [-3.0, 2.5]])
    expected = 3 * np.clip(at[:, 0] - 0.5, 0, 7) + 5 * np.clip(at[:, 1] - 0.5, 0, 7)
    np.testing.assert_allclose(atlas.sample(at)[:, 0], expected)


@pytest.mark.parametrize("cell", [2, 1])
def test_cells_show_their_corners_colours(cell: int) -> None:
    """A fan of five faces: two pairs that share an edge each, and one face alone."""
    fan = np.array([[0, 1, 2], [2, 3, 0], [0, 3, 4], [4, 5, 0], [5, 6, 0]], np.int32)
    cells = pair_up(np.arange(5), face_pairs(fan), 5)
    assert (cells.count, sorted(np.bincount(cells.cell))) == (3, [1, 2, 2])
    charts, layout, atlas, _ = two_charts()
    charts = replace(charts, cells=cells)
    layout = replace(layout, cell=cell, cells=np.array([[26, 50], [28, 50], [26, 52]], np.int32))
    colors = np.random.default_rng(0).uniform(90, 160, (7, 3))[fan]
    before = np.count_nonzero(atlas.mask == INSIDE)
    atlas.fill_cells(charts, layout, colors)
    assert np.count_nonzero(atlas.mask == INSIDE) == before + (4 + 4 + 3 if cell == 2 else 3)
    place = cell_corners(charts, layout)
    if cell == 1:
        np.testing.assert_array_equal(place, (layout.cells[cells.cell] + 0.5)[:, None].repeat(3, 1))
        shown = atlas.sample(place[:, 0])
        for number in range(3):
            mine = fan[cells.cell == number]
            np.testing.assert_allclose(
                shown[cells.cell == number],
                np.broadcast_to(_vertex_mean(mine, colors[cells.cell == number]), (len(mine), 3)),
                atol=1 / UNIT,
            )
        return
    alone = np.bincount(cells.cell)[cells.cell] == 1
    # All faces keep their sense, as those of charts do.
    side, other = place[:, 1] - place[:, 0], place[:, 2] - place[:, 0]
    assert (side[:, 0] * other[:, 1] - side[:, 1] * other[:, 0] == 1).all()
    for face in range(5):
        np.testing.assert_allclose(atlas.sample(place[face]), colors[face], atol=1 / UNIT)
        # Along two edges at least, colours run evenly; along a diagonal, both its faces show the same.
        middles = (place[face] + np.roll(place[face], -1, axis=0)) / 2
        even = np.abs(atlas.sample(middles) - (colors[face] + np.roll(colors[face], -1, axis=0)) / 2)
        assert np.count_nonzero(even.max(axis=1) <= 1 / UNIT) >= (3 if alone[face] else 2)


def _vertex_mean(faces: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Mean of the colours of the vertices of one or two faces."""
    _, first = np.unique(faces, return_index=True)
    return np.asarray(colors.reshape(-1, 3)[first].mean(axis=0))


@pytest.mark.parametrize("turn", TURNS.tolist())
def test_turned_charts_are_painted_turned(turn: int) -> None:
    charts, layout, _, _ = two_charts()
    extent = layout.extent[:, ::-1] if turn & SWAP else layout.extent
    shapes = turned(layout.shapes, exchanged(layout.shapes)[0], np.full(2, turn, np.int32))
    target = np.array([[2, 4], [2, 44] if turn & SWAP else [34, 10]], np.int32)
    layout = replace(
        layout, size=96, turns=np.full(2, turn, np.int32), extent=extent, shapes=shapes, target=target
    )
    photo = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    atlas = Atlas.empty(layout.size)
    atlas.paint(photo, charts, layout, 1, np.ones(3))
    (x, y), (width, height) = target[1], extent[1]
    quarters = {0: 0, MIRROR_X | MIRROR_Y: 2, MIRROR_X | SWAP: 1}.get(turn, 3)
    np.testing.assert_array_equal(
        atlas.color[y : y + height, x : x + width] // UNIT, np.rot90(photo, quarters)
    )


def test_gaps_take_the_colours_around_them() -> None:
    charts, layout, atlas, _ = two_charts()
    atlas.correct(charts, layout, np.zeros((len(charts.node_vertex), 3)))
    texture = atlas.finish(layout)
    assert texture.shape == (layout.size, layout.size, 3)
    assert texture.min() >= 99
    assert texture.max() <= 109
    inside = atlas.mask != OUTSIDE
    np.testing.assert_array_equal(texture[inside], np.rint(atlas.color[inside] / UNIT).astype(np.uint8))
    left = layout.target[0]
    assert (texture[left[1], left[0] : left[0] + 10] == 100).all()


def test_values_beyond_black_and_white_are_clipped_at_the_end() -> None:
    charts, layout, atlas, _ = two_charts()
    offsets = np.where(charts.node_chart == 0, 300.0, -300.0)[:, None] * np.ones(3)
    atlas.correct(charts, layout, offsets)
    texture = atlas.finish(layout)
    assert sorted(np.unique(texture[atlas.mask != OUTSIDE])) == [0, 255]


def test_charts_keep_their_colours_in_mip_maps() -> None:
    """Each view has one colour; four texels become one, and are interpolated at the charts' borders."""
    _, views, charts = box_charts()
    layout = lay_out(charts, views, 4096)
    colors = np.random.default_rng(0).integers(0, 256, (len(views), 3), np.uint8)
    atlas = Atlas.empty(layout.size)
    for index, view in enumerate(views):
        photo = np.full((view.camera.height, view.camera.width, 3), colors[index], np.uint8)
        atlas.paint(photo, charts, layout, index, np.ones(3))
    atlas.outline(charts, layout)
    texture = atlas.finish(layout).astype(np.float32)
    small = cv2.resize(texture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert len(np.unique(layout.turns)) > 1
    corners = charts.face_nodes[charts.face_chart >= 0]
    # Corners of faces, and places along their edges: nothing of a face is nearer to another chart.
    ends, others = corners, np.roll(corners, -1, axis=1)
    for share in (0.0, 0.25, 0.5):
        places = (1 - share) * layout.node_xy[ends] + share * layout.node_xy[others]
        for level, scale in ((texture, 1), (small, 2)):
            x, y = (places.reshape(-1, 2) / scale - 0.5).astype(np.float32).T
            shown = cv2.remap(
                level, x[:, None], y[:, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )[:, 0]
            expected = colors[charts.chart_view[charts.node_chart[ends.ravel()]]]
            assert np.abs(shown - expected).max() <= 1

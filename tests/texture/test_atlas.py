from __future__ import annotations

import cv2
import numpy as np

from recon3d.texture.atlas import Atlas, cell_corners, cell_weights
from recon3d.texture.charts import lay_out
from recon3d.texture.texels import INSIDE, OUTSIDE, RIM, UNIT
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


def test_cells_show_their_corners_colours() -> None:
    weights = cell_weights(4)
    np.testing.assert_allclose(weights.sum(axis=-1), 1)
    np.testing.assert_allclose([weights[0, 0], weights[0, 3], weights[3, 0]], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(weights[3, 3], [0, 0.5, 0.5])
    np.testing.assert_allclose(cell_weights(1), np.full((1, 1, 3), 1 / 3))
    _, layout, atlas, _ = two_charts()
    layout = type(layout)(**{**vars(layout), "cells": np.array([[26, 50], [30, 50]], np.int32)})
    colors = np.random.default_rng(0).uniform(0, 255, (2, 3, 3))
    atlas.fill_cells(layout, colors)
    for face, corners in enumerate(cell_corners(layout)):
        np.testing.assert_allclose(atlas.sample(corners), colors[face], atol=1 / UNIT)
        middle = corners.mean(axis=0, keepdims=True)
        np.testing.assert_allclose(atlas.sample(middle)[0], colors[face].mean(axis=0), atol=8)


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
    x, y = (layout.node_xy / 2 - 0.5).astype(np.float32).T
    shown = cv2.remap(small, x[:, None], y[:, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    expected = colors[charts.chart_view[charts.node_chart]]
    assert np.abs(shown - expected).max() <= 1

from __future__ import annotations

import numpy as np
import pytest

from recon3d.texture.atlas import Atlas
from recon3d.texture.blending import blend_seams
from recon3d.texture.cells import pair_up
from recon3d.texture.charts import Charts, Layout
from recon3d.texture.pages import Page
from recon3d.texture.seams import (
    ANCHOR,
    GLOBAL_STEP,
    SMOOTHNESS,
    Sampling,
    Seams,
    find_seams,
    global_corrections,
    seam_differences,
)
from recon3d.texture.shapes import BLOCK, join, rectangle
from recon3d.texture.texels import INSIDE, UNIT
from recon3d.texture.topology import face_pairs

SIZE, HEIGHT, WIDTH = 64, 40, 24


def two_charts(rows: int = 10) -> tuple[Charts, Layout, Atlas, Seams]:
    """A strip of quads, its left half painted by view 0, its right half by a brighter view 1."""
    y, x = np.mgrid[: rows + 1, :3]
    index = np.arange(3 * (rows + 1)).reshape(rows + 1, 3)
    faces, labels = [], []
    for side in range(2):
        a, b = index[:-1, side], index[:-1, side + 1]
        c, d = index[1:, side + 1], index[1:, side]
        faces += [np.stack([a, b, c], 1), np.stack([a, c, d], 1)]
        labels += [side] * (2 * rows)
    triangles, label = np.concatenate(faces).astype(np.int32), np.array(labels, np.int32)
    nodes, face_nodes = np.unique(label[:, None] * 1000 + triangles, return_inverse=True)
    vertex, chart = (nodes % 1000).astype(np.int32), (nodes // 1000).astype(np.int32)
    xy = np.stack([3.3 + (x.ravel()[vertex] - chart) * 17.4, 3 + y.ravel()[vertex] * 34.0 / rows], 1)
    target = np.array([[2, 4], [34, 10]], np.int32)
    extent = np.array([[WIDTH, HEIGHT]] * 2, np.int32)
    charts = Charts(
        label,
        label,
        np.array([0, 1], np.int32),
        vertex,
        chart,
        face_nodes.reshape(-1, 3).astype(np.int32),
        xy,
        np.ones(len(xy)),
        pair_up(np.zeros(0, np.int64), face_pairs(triangles), len(triangles)),
    )
    owner = np.full((SIZE // BLOCK, SIZE // BLOCK), -1, np.int32)
    for number, (x, y) in enumerate(target // BLOCK):
        owner[y : y + HEIGHT // BLOCK, x : x + WIDTH // BLOCK] = number
    layout = Layout(
        SIZE,
        extent,
        np.zeros((2, 2), np.int32),
        target,
        np.zeros(2, np.int32),
        extent,
        join(*[rectangle(WIDTH // BLOCK, HEIGHT // BLOCK)] * 2),
        xy,
        xy + target[chart],
        np.zeros((0, 2), np.int32),
        2,
        owner,
    )
    atlas = Atlas.empty(SIZE)
    photo = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    for view in range(2):
        atlas.paint(photo + np.uint8(8 * view), charts, layout, view, np.ones(3))
    atlas.outline(charts, layout)
    return charts, layout, atlas, find_seams(charts, face_pairs(triangles), np.ones(len(label), np.float32))


def steps(layout: Layout, atlas: Atlas, seams: Seams) -> tuple[np.ndarray, np.ndarray]:
    """Differences along the seams, and their lengths."""
    sampling, points = points_of(layout, atlas, seams)
    return seam_differences(sampling, points)


def points_of(layout: Layout, atlas: Atlas, seams: Seams) -> tuple[Sampling, np.ndarray]:
    nodes, sampling = range(len(layout.node_xy)), Sampling.of(seams, layout.node_xy)
    return sampling, sampling.together([nodes], [sampling.colors(atlas, layout.node_xy, nodes)])


def blend(charts: Charts, layout: Layout, atlas: Atlas, seams: Seams, **more: int) -> None:
    nothing = np.zeros((len(layout.node_xy), 3))
    sampling, points = points_of(layout, atlas, seams)
    blend_seams(atlas, Page(charts, layout), range(len(nothing)), sampling, points, nothing, **more)


def test_the_seam_and_its_step_are_found() -> None:
    charts, layout, atlas, seams = two_charts()
    assert len(seams) == 10
    for edge in seams.nodes:
        np.testing.assert_array_equal(charts.node_vertex[edge[0]], charts.node_vertex[edge[1]])
        assert (charts.node_chart[edge[0]] != charts.node_chart[edge[1]]).all()
    difference, length = steps(layout, atlas, seams)
    sign = np.where(charts.node_chart[seams.nodes[:, 0, 0]] == 0, 1, -1)
    np.testing.assert_allclose(difference, 8.0 * sign[:, None, None] * np.ones((10, 2, 3)))
    np.testing.assert_allclose(length, 3.4)


def test_global_corrections_equal_dense_least_squares() -> None:
    charts, layout, atlas, seams = two_charts()
    atlas.color[:34, :, 0] += 7 * UNIT  # a step that varies along the seam
    seams.trust[:4, 0] = 0.3
    difference, length = steps(layout, atlas, seams)
    count = len(charts.node_vertex)
    rows, right = [], []

    def equation(entries: dict[int, float], weight: float, value: np.ndarray | float) -> None:
        row = np.zeros(count)
        for node, factor in entries.items():
            row[node] = factor * np.sqrt(weight)
        rows.append(row)
        right.append(np.broadcast_to(np.sqrt(weight) * np.asarray(value), 3))

    for e in range(len(seams)):
        for end in range(2):
            step = difference[e, end]
            weight = np.clip(length[e] / length.mean(), 0.1, 4) / (1 + (step**2).sum() / GLOBAL_STEP**2)
            weight *= seams.trust[e].min()
            equation({seams.nodes[e, 0, end]: 1, seams.nodes[e, 1, end]: -1}, weight, step)
    for face in charts.face_nodes:
        for k in range(3):
            equation({face[k]: 1, face[(k + 1) % 3]: -1}, SMOOTHNESS / 2, 0.0)
    for node in range(count):
        equation({node: 1}, ANCHOR, 0.0)
    expected = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    got = global_corrections(charts, seams, difference, length)
    np.testing.assert_allclose(got, expected, atol=0.05)
    assert np.abs(expected).max() > 3


def test_both_corrections_close_the_seam() -> None:
    charts, layout, atlas, seams = two_charts()
    sampling, points = points_of(layout, atlas, seams)
    offsets = global_corrections(charts, seams, *seam_differences(sampling, points))
    atlas.correct(charts, layout, offsets)
    after_global = np.abs(steps(layout, atlas, seams)[0]).max()
    assert after_global < 4
    # The points are those before the correction.
    blend_seams(atlas, Page(charts, layout), range(len(offsets)), sampling, points, offsets)
    assert np.abs(steps(layout, atlas, seams)[0]).max() < min(1.0, after_global)


def test_without_seams_nothing_changes() -> None:
    charts, layout, atlas, seams = two_charts()
    nothing = type(seams)(np.zeros((0, 2, 2), np.int32), np.zeros((0, 2)))
    corrections = global_corrections(charts, nothing, np.zeros((0, 2, 3)), np.zeros(0))
    np.testing.assert_array_equal(corrections, 0)
    before = atlas.color.copy()
    blend(charts, layout, atlas, nothing)
    np.testing.assert_array_equal(atlas.color, before)


@pytest.mark.parametrize("strip", [6, 12])
def test_the_membrane_solves_laplace(strip: int) -> None:
    charts, layout, atlas, seams = two_charts()
    before = atlas.color.copy()
    blend(charts, layout, atlas, seams, strip=strip)
    change = (atlas.color - before).astype(float)[..., 0] / UNIT
    left, top = layout.target[0]
    inside = atlas.mask[top : top + HEIGHT, left : left + WIDTH] == INSIDE
    profile = change[top + 20, left : left + WIDTH]
    # The last texel of chart 0 is on the seam; from there the change falls linearly to zero.
    last = 3 + 18 - 1
    assert inside[20, last]
    assert not inside[20, last + 1]
    fade = profile[last - strip : last + 1]
    np.testing.assert_allclose(fade, fade[-1] * np.arange(strip + 1) / strip, atol=0.1)
    assert 3 < fade[-1] < 4.1
    np.testing.assert_array_equal(profile[: last - strip], 0)


def test_a_step_that_no_exposure_makes_is_not_spread() -> None:
    charts, layout, atlas, seams = two_charts()
    left, top = layout.target[1]
    atlas.color[top : top + HEIGHT, left : left + WIDTH] = 250 * UNIT
    before = atlas.color.copy()
    blend(charts, layout, atlas, seams)
    assert np.abs(atlas.color - before).max() < 8 * UNIT


def test_the_better_photo_stays_as_it_is() -> None:
    charts, layout, atlas, seams = two_charts()
    seams.trust[:, 0] = 1e-3
    worse = charts.node_chart[seams.nodes[0, 0, 0]]
    before = atlas.color.copy()
    blend(charts, layout, atlas, seams)
    change = np.abs(atlas.color - before).max(axis=2)
    for chart in range(2):
        x, y = layout.target[chart]
        largest = change[y : y + HEIGHT, x : x + WIDTH].max() / UNIT
        assert largest > 5 if chart == worse else largest < 0.1

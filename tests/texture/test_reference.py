"""The compiled kernels of texturing against their readable twins, and packing for any charts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon3d.texture import blending, packing, reference
from recon3d.texture.footprints import chart_shapes
from recon3d.texture.message_passing import trw_s
from recon3d.texture.shapes import (
    BLOCK,
    MIRROR_X,
    MIRROR_Y,
    SWAP,
    TURNS,
    Shapes,
    exchanged,
    turned,
)
from recon3d.texture.texels import INSIDE
from tests.texture.test_charts import occupancy


@st.composite
def charts(draw: st.DrawFn) -> Shapes:
    """Charts of any outline, with holes and with gaps; like all charts, each begins in its first row."""
    column = st.lists(st.integers(1, 6), min_size=2, max_size=4)
    shapes = draw(st.lists(st.lists(column, min_size=1, max_size=9), min_size=1, max_size=8))
    columns, runs, low, high = [0], [0], [], []
    for shape in shapes:
        first = min(steps[0] for steps in shape)
        for steps in shape:
            ends = np.cumsum(steps[: len(steps) // 2 * 2])
            low += list(ends[::2] - first)
            high += list(ends[1::2] - first + 1)
            runs.append(len(low))
        columns.append(len(runs) - 1)
    rows = np.array(low, np.int32), np.array(high, np.int32)
    return Shapes(np.array(columns, np.int64), np.array(runs, np.int64), *rows)


@given(charts(), st.integers(4, 140), st.integers(4, 60))
@settings(max_examples=60)
def test_packed_charts_lie_inside_and_apart_as_the_twin_has_it(
    shapes: Shapes, rows: int, columns: int
) -> None:
    other, squares = exchanged(shapes)
    positions, turns, used = packing.pack(shapes, other, squares, rows, columns)
    twin, twin_turns, twin_used = reference.pack(shapes, rows, columns)
    assert used == twin_used
    if used <= columns:
        assert occupancy(turned(shapes, other, turns), positions, columns, rows).max() == 1
        np.testing.assert_array_equal(positions, twin)
        np.testing.assert_array_equal(turns, twin_turns)


@pytest.mark.parametrize("squares", [1, 3, 7])
def test_many_charts_of_all_sizes_are_packed_as_the_twin_has_it(
    squares: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_SQUARES", squares)
    rng = np.random.default_rng(2)
    shapes = triangles(rng, 70)
    assert not np.minimum.reduceat(shapes.low, shapes.runs[shapes.columns[:-1]]).any()
    other, inner = exchanged(shapes)
    positions, turns, used = packing.pack(shapes, other, inner, 150, 400)
    twin, twin_turns, twin_used = reference.pack(shapes, 150, 400)
    assert used == twin_used <= 400
    np.testing.assert_array_equal(positions, twin)
    np.testing.assert_array_equal(turns, twin_turns)
    assert set(turns) == set(TURNS)
    assert occupancy(turned(shapes, other, turns), positions, 400, 150).max() == 1


def triangles(rng: np.random.Generator, count: int) -> Shapes:
    """The footprints of single faces, of a few texels up to some hundred."""
    size = np.geomspace(3, 120, count)[:, None, None]
    xy = (rng.uniform(0, 1, (count, 3, 2)) * size).reshape(-1, 2)
    chart = np.arange(count, dtype=np.int32)
    return chart_shapes(xy, chart.repeat(3), np.arange(3 * count, dtype=np.int32).reshape(-1, 3), chart, 1)[1]


@given(charts(), st.sampled_from(TURNS.tolist()))
@settings(max_examples=30)
def test_turned_charts_are_what_turned_pictures_of_them_are(shapes: Shapes, turn: int) -> None:
    other, squares = exchanged(shapes)
    made = turned(shapes, other, np.full(len(shapes), turn, np.int32))
    quarters = {0: 0, MIRROR_X | MIRROR_Y: 2, MIRROR_X | SWAP: 1}
    for number in range(len(shapes)):
        stamp = reference.stamp_of(shapes, number)
        expected = np.rot90(stamp, quarters.get(turn, 3))
        np.testing.assert_array_equal(reference.turned_stamp(stamp, turn), expected)
        found = reference.stamp_of(made, number)
        np.testing.assert_array_equal(found, expected[: len(found)])
        # A chart ends with its last block.
        assert not expected[len(found) :].any()
        size, left, top = squares[number]
        side = 1 << size
        assert stamp[top : top + side, left : left + side].sum() == side * side
        assert not any(
            stamp[y : y + 2 * side, x : x + 2 * side].sum() == 4 * side * side
            for y in range(len(stamp) - 2 * side + 1)
            for x in range(stamp.shape[1] - 2 * side + 1)
        )


@pytest.mark.parametrize("seed", range(3))
def test_charts_have_the_grid_that_needs_the_fewest_blocks(seed: int) -> None:
    shapes = triangles(np.random.default_rng(seed), 20)
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 1, (20, 3, 2)) * np.geomspace(3, 120, 20)[:, None, None]
    for number in range(20):
        fewest = min(
            np.count_nonzero(reference.footprint(corners[number], np.array([x, y]), 1.0))
            for x in range(BLOCK)
            for y in range(BLOCK)
        )
        assert np.count_nonzero(reference.stamp_of(shapes, number)) == fewest


@pytest.mark.parametrize("seed", range(4))
def test_message_passing_is_as_the_twin_has_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, views, size = 24, 6, 4
    view = np.full((count, size), -1, np.int32)
    for f in range(count):
        number = 0 if f == 5 else rng.integers(1, size + 1)
        view[f, :number] = np.sort(rng.choice(views, number, replace=False))
    data = rng.uniform(0, 1, (count, size)).astype(np.float32)
    every = [(a, b) for a in range(count) for b in range(a + 1, count)]
    chosen = rng.choice(len(every), 50, replace=False)
    pairs = np.array([every[n] for n in chosen], np.int32)
    pairs = pairs[(view[pairs, 0] >= 0).all(axis=1)]
    weight = rng.uniform(0.05, 0.5, len(pairs)).astype(np.float32)
    rank = rng.permutation(count).astype(np.int32)
    found = trw_s(data, view, pairs, weight, rank, 10)
    np.testing.assert_array_equal(found, reference.trw_s(data, view, pairs, weight, rank, 10))


@pytest.mark.parametrize("strip", [4, 10])
def test_the_membrane_is_as_the_twin_has_it(strip: int) -> None:
    rng = np.random.default_rng(1)
    height, width = 30, 40
    y, x = np.mgrid[:height, :width]
    inside = (x - 20) ** 2 / 19**2 + (y - 15) ** 2 / 14**2 < 1
    seam = inside & (np.abs(x - 12 - 3 * np.sin(y / 4)) < 0.6)
    offset = np.where(seam, 900 + 200 * np.sin(y / 5) + rng.normal(0, 20, seam.shape), 0.0)
    texel = np.flatnonzero(seam).astype(np.int32)
    atlas = np.zeros((height, width, 3), np.int16)
    blending._membranes(
        atlas,
        np.where(inside, INSIDE, 0).astype(np.uint8),
        np.zeros((height // 2, width // 2), np.int32),
        np.array([[0, 0]], np.int32),
        np.array([[width, height]], np.int32),
        np.array([0, len(texel)]),
        texel,
        np.repeat(offset.ravel()[texel, None], 3, axis=1).astype(np.float32),
        strip,
    )
    twin = reference.membrane(inside, seam, offset, strip)
    # The kernel stops after a fixed number of sweeps, close to the solution.
    np.testing.assert_allclose(atlas[..., 1], twin, atol=0.03 * offset.max())
    assert (atlas[~inside] == 0).all()

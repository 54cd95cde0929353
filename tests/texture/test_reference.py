"""The compiled kernels of texturing against their readable twins, and packing for any charts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon3d.texture import blending, packing, reference
from recon3d.texture.message_passing import trw_s
from recon3d.texture.packing import Shapes
from recon3d.texture.texels import INSIDE
from tests.texture.test_charts import occupancy


@st.composite
def charts(draw: st.DrawFn) -> Shapes:
    """Charts of any outline, with holes and with gaps."""
    column = st.lists(st.integers(1, 6), min_size=2, max_size=4)
    shapes = draw(st.lists(st.lists(column, min_size=1, max_size=9), min_size=1, max_size=8))
    columns, runs, low, high = [0], [0], [], []
    for shape in shapes:
        for steps in shape:
            ends = np.cumsum(steps[: len(steps) // 2 * 2])
            low += list(ends[::2] - 1)
            high += list(ends[1::2])
            runs.append(len(low))
        columns.append(len(runs) - 1)
    rows = np.array(low, np.int32), np.array(high, np.int32)
    return Shapes(np.array(columns, np.int64), np.array(runs, np.int64), *rows)


@given(charts(), st.integers(4, 40), st.integers(4, 60))
@settings(max_examples=60)
def test_packed_charts_lie_inside_and_apart_as_the_twin_has_it(
    shapes: Shapes, width: int, height: int
) -> None:
    positions, rows = packing.pack(shapes, width, height)
    twin, twin_rows = reference.pack(shapes, width, height)
    assert rows == twin_rows
    if rows <= height:
        assert occupancy(shapes, positions, width, height).max() == 1
        np.testing.assert_array_equal(positions, twin)


def test_packing_in_steps_is_as_the_twin_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_PLACES", 24)
    rng = np.random.default_rng(2)
    parts = [packing.rectangle(*(int(n) for n in rng.integers(3, 20, 2))) for _ in range(30)]
    joined = parts[0]
    for part in parts[1:]:
        joined = packing.join(joined, part)
    positions, rows = packing.pack(joined, 48, 200)
    twin, twin_rows = reference.pack(joined, 48, 200, step=2)
    assert rows == twin_rows <= 200
    np.testing.assert_array_equal(positions, twin)
    assert occupancy(joined, positions, 48, 200).max() == 1


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

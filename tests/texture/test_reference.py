"""The compiled kernels of texturing against their readable twins, and packing for any charts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon3d.texture import blending, packing, reference
from recon3d.texture.message_passing import trw_s
from recon3d.texture.packing import Profiles
from recon3d.texture.texels import INSIDE
from tests.texture.test_charts import occupancy


@st.composite
def charts(draw: st.DrawFn) -> Profiles:
    """Charts of any outline whose columns are gapless."""
    column = st.tuples(st.integers(0, 9), st.integers(1, 9))
    shapes = draw(st.lists(st.lists(column, min_size=1, max_size=9), min_size=1, max_size=8))
    low = [np.array([a for a, _ in shape]) - min(a for a, _ in shape) for shape in shapes]
    high = [part + np.array([b for _, b in shape]) for part, shape in zip(low, shapes, strict=True)]
    starts = np.append(0, np.cumsum([len(shape) for shape in shapes]))
    return Profiles(
        starts.astype(np.int64), np.concatenate(low).astype(np.int32), np.concatenate(high).astype(np.int32)
    )


@given(charts(), st.integers(4, 60))
@settings(max_examples=60, deadline=None)
def test_packed_charts_lie_inside_and_apart_as_the_twin_has_it(shapes: Profiles, size: int) -> None:
    positions = packing.pack(shapes, size)
    twin = reference.pack(shapes, size)
    if positions is None:
        assert twin is None
        return
    assert occupancy(shapes, positions, size).max() == 1
    np.testing.assert_array_equal(positions, twin)


def test_packing_in_steps_is_as_the_twin_has_it() -> None:
    rng = np.random.default_rng(2)
    parts = [packing.rectangle(*(int(n) for n in rng.integers(3, 400, 2))) for _ in range(60)]
    joined = parts[0]
    for part in parts[1:]:
        joined = packing.join(joined, part)
    positions = packing.pack(joined, 4096)
    np.testing.assert_array_equal(positions, reference.pack(joined, 4096, step=2))
    assert positions is not None
    assert occupancy(joined, positions, 4096).max() == 1


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

"""A stable order of numbers."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.surface.ordering import stable_order


@pytest.mark.parametrize("most", [1, 40, 2**40, 2**62], ids=["equal", "few", "many", "too large"])
def test_equal_numbers_stay_in_their_order(most: int) -> None:
    keys = np.random.default_rng(0).integers(0, most, 5000)
    keys[::7] = keys[0]
    before = keys.copy()
    assert np.array_equal(stable_order(keys), np.argsort(keys, kind="stable"))
    assert np.array_equal(keys, before)


def test_no_numbers() -> None:
    assert stable_order(np.empty(0, np.int64)).tolist() == []

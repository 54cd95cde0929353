"""Lists of the views that see a point, written part by part."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon3d.io.point_visibility import read_visibility, write_visibility


def test_parts_become_one_list(tmp_path: Path) -> None:
    counts = [np.array([2, 1]), np.array([], np.int64), np.array([3])]
    indices = [np.array([0, 4, 1], np.int32), np.array([], np.int32), np.array([2, 3, 5], np.int32)]
    write_visibility(tmp_path / "v.npz", counts, indices, points=3, observations=6)
    starts, views = read_visibility(tmp_path / "v.npz")
    assert starts.tolist() == [0, 2, 3, 6]
    assert views.tolist() == [0, 4, 1, 2, 3, 5]
    assert (starts.dtype, views.dtype) == (np.int64, np.int32)

"""Images that were taken beside each other."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.matching.beside import beside_by_gps, beside_by_number
from recon3d.matching.gps import Position

#: Degrees of latitude in a metre.
_METRE = 1 / 111_320


def _grid(spacing: float, longitude: float = 0.0) -> list[Position | None]:
    """Positions of 5 rows of 6 photos."""
    return [
        (r * spacing * _METRE, longitude + c * spacing * _METRE, None) for r in range(5) for c in range(6)
    ]


@pytest.mark.parametrize("longitude", [7.0, 179.999])
def test_photos_of_a_grid_find_those_around_them(longitude: float) -> None:
    positions = _grid(30.0, longitude)
    # East of the date line, longitudes go on at -180.
    positions = [(p[0], (p[1] + 180) % 360 - 180, p[2]) for p in positions if p is not None]
    pairs = beside_by_gps(positions, 4)
    inner = 2 * 6 + 3
    around = {(min(inner, inner + d), max(inner, inner + d)) for d in (-6, -1, 1, 6)}
    assert around <= set(pairs)
    assert all(i < j for i, j in pairs)
    assert len(pairs) < 30 * 4
    steps = {(abs(i // 6 - j // 6), abs(i % 6 - j % 6)) for i, j in pairs}
    assert max(map(max, steps)) <= 2


def test_photos_without_a_position_are_left_to_the_others() -> None:
    positions = _grid(30.0)
    positions[7] = None
    pairs = beside_by_gps(positions, 4)
    assert pairs
    assert 7 not in np.ravel(pairs)
    assert beside_by_gps([None] * 5, 4) == []
    assert beside_by_gps([None, (1.0, 2.0, None)], 4) == []


def test_positions_closer_than_their_error_say_nothing() -> None:
    assert beside_by_gps(_grid(3.0), 4) == []
    assert beside_by_gps([(47.0, 8.0, 400.0)] * 30, 4) == []


def test_numbers_of_a_camera_follow_each_other() -> None:
    names = ["IMG_0009.jpg", "IMG_0011.JPG", "DSC0010.jpg", "IMG_0010.jpg", "front.jpg", "DSC0009.jpg"]
    assert beside_by_number(names, 1) == [(0, 3), (1, 3), (2, 5)]
    assert beside_by_number(names, 2) == [(0, 1), (0, 3), (1, 3), (2, 5)]
    assert beside_by_number(names, 0) == []

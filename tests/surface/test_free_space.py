"""Which places depth maps see through."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.surface import free_space
from recon3d.surface.free_space import (
    FreeSpace,
    SmallMap,
    count_empty,
    halvings,
    nearest_of_blocks,
    reduced_maps,
)
from recon3d.types import Camera
from tests.synthetic.shapes import looking

CAMERA = Camera("PINHOLE", 80, 60, (60.0, 60.0, 40.0, 30.0))


def _wall(*, hole: bool = False, bar: bool = False) -> list[tuple[np.ndarray, Camera, np.ndarray]]:
    """Three views of the plane z = 0 from z = 5; without depth in the middle, or with a bar at z = 2."""
    maps = []
    for x in (-0.5, 0.0, 0.5):
        view = looking(np.array([x, 0, 5.0]), np.array([x, 0, 0]), np.array([0, 1.0, 0]), "v", CAMERA)
        depth = np.full((60, 80), 5, np.float32)
        if hole:
            depth[20:40, 20:60] = 0
        if bar:
            column = int(40 + 60 * (0 - x) / 3)
            depth[:, column - 1 : column + 2] = 3
        maps.append((depth, CAMERA, view.cam_from_world))
    return maps


def _unreduced(maps: list[tuple[np.ndarray, Camera, np.ndarray]]) -> list[SmallMap]:
    return [SmallMap(depth, camera.K, pose) for depth, camera, pose in maps]


def _free(maps: list[tuple[np.ndarray, Camera, np.ndarray]]) -> FreeSpace:
    return FreeSpace(reduced_maps(maps))


def test_views_see_through_what_is_before_a_surface_and_say_nothing_behind_it() -> None:
    points = np.array([[0, 0, 1.0], [0, 0, 0.01], [0, 0, -1.0], [0, 0, 7.0], [50, 0, 1.0]])
    empty, solid = count_empty(points, np.full(5, 0.1), _unreduced(_wall()))
    assert empty.tolist() == [3, 0, 0, 0, 0]
    assert solid.tolist() == [0, 3, 0, 0, 0]


def test_missing_depths_have_no_vote() -> None:
    empty, solid = count_empty(np.array([[0, 0, 1.0]]), np.array([0.1]), _unreduced(_wall(hole=True)))
    assert empty.tolist() == solid.tolist() == [0]


def test_a_thin_bar_is_not_seen_through() -> None:
    points = np.column_stack([np.zeros(20), np.linspace(-1, 1, 20), np.full(20, 2.0)])
    assert not _free(_wall(bar=True))(points, 0.05).any()
    assert _free(_wall())(points, 0.05).all()


def test_two_views_are_needed() -> None:
    point = np.array([[0, 0, 1.0]])
    assert not _free(_wall()[:1])(point, 0.1).any()
    assert _free(_wall()[:2])(point, 0.1).all()


def test_maps_are_reduced_to_the_nearest_depth_of_mostly_known_blocks() -> None:
    depth = np.array([[3, 4, 0, 0], [5, 0, 0, 6]], np.float32)
    assert nearest_of_blocks(depth).tolist() == [[3, 0]]


def test_maps_of_many_views_are_kept_smaller_and_see_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_space, "_MOST_PIXELS", 2 * 40 * 30)
    times = halvings([camera for _, camera, _ in _wall()])
    assert times == 2
    points = np.array([[0, 0, 1.0], [0, 0, 0.01], [0, 0, -1.0]])
    maps = reduced_maps(_wall(), times)
    small = FreeSpace(maps)
    assert sum(small.depth.size for small in maps) <= 2 * 40 * 30
    assert small(points, 0.1).tolist() == _free(_wall()[:2])(points, 0.1).tolist() == [True, False, False]


def test_views_in_front_of_a_place_would_see_it_unless_something_is_nearer_or_measured_there() -> None:
    points = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, -1.0], [0, 0, 0.0], [1.8, 0, 0.5]])
    normals = np.array([[0, 0, 1.0], [0, 0, -1.0], [0, 0, 1.0], [0, 0, 1.0], [0, 0, 1.0]])
    unknown = _free(_wall(hole=True)).exposure(points, normals, 0.1)
    assert unknown.tolist() == [3, 0, 3, 3, 3]
    known = _free(_wall()).exposure(points, normals, 0.1)
    assert known.tolist() == [3, 0, 0, 0, 3]

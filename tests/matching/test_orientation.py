"""The world's up, middle and scale, where they are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recon3d.matching.orientation import camera_up, find_world, rotation_to_y, world_axis_up
from recon3d.types import Camera, Scene, SparsePoints
from tests.synthetic.shapes import looking, orbit_scene

UP = np.array([0.3, -0.8, 0.52]) / np.linalg.norm([0.3, -0.8, 0.52])


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def _plane_basis() -> tuple[np.ndarray, np.ndarray]:
    side = np.cross(UP, [1.0, 0, 0])
    side /= np.linalg.norm(side)
    return side, np.cross(UP, side)


def test_an_orbit_is_upright_by_its_cameras() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    scene = orbit_scene(20, points, UP)
    assert _angle(camera_up(scene), UP) < 1.5
    world = find_world(scene, [None] * 20, seed=0)
    assert _angle(world.rotation @ UP, np.array([0, 1.0, 0])) < 1.5
    assert world.unit == ""


@pytest.mark.parametrize("sides", [(1,), (-1,), (1, 1, -1)])
def test_cameras_on_their_sides_all_round_a_subject(sides: tuple[int, ...]) -> None:
    """As those of the temple of Middlebury: their images have nothing that points up."""
    scene = orbit_scene(18, np.random.default_rng(0).normal(size=(300, 3)), UP)
    lying = []
    for number, view in enumerate(scene):
        roll = np.eye(4)
        roll[:2, :2] = np.array([[0, 1], [-1, 0]]) * sides[number % len(sides)]
        lying.append(replace(view, cam_from_world=roll @ view.cam_from_world))
    turned = Scene(tuple(lying), scene.points)
    assert _angle(camera_up(turned), UP) < 4
    world = find_world(turned, [None] * 18, seed=0)
    assert world.notes[-1].startswith("The photos lie on their sides. ")
    # An arc may as well be a walk over something: there the images' upper edges count.
    arc = Scene(tuple(lying[:7]), scene.points)
    assert len(sides) > 1 or _angle(camera_up(arc), UP) > 60


def test_a_ground_plane_makes_it_exact() -> None:
    rng = np.random.default_rng(1)
    side, other = _plane_basis()
    flat = rng.uniform(-3, 3, (500, 2)) @ np.stack([side, other]) - 0.5 * UP
    scene = orbit_scene(12, np.concatenate([flat, rng.normal(0, 0.3, (300, 3))]), UP)
    world = find_world(scene, [None] * 12, seed=0)
    assert world.how == "up from the ground plane"
    assert _angle(world.rotation @ UP, np.array([0, 1.0, 0])) < 0.3


def test_cameras_that_all_look_the_same_way_level_with_a_wall() -> None:
    rng = np.random.default_rng(2)
    side, front = _plane_basis()
    wall = np.outer(rng.uniform(-4, 4, 600), side) + np.outer(rng.uniform(0, 3, 600), UP)
    camera = Camera("PINHOLE", 640, 480, (500.0, 500.0, 320.0, 240.0))
    views = tuple(
        # Pitched up, as one photographs a house.
        looking(x * side - 6 * front, x * side + 1.5 * UP, UP, f"{x}.jpg", camera)
        for x in np.linspace(-3, 3, 8)
    )
    starts = np.arange(601, dtype=np.int64) * 8
    tracks = np.tile(np.arange(8, dtype=np.int32), 600)
    points = SparsePoints(wall, np.zeros((600, 3), np.uint8), np.zeros(600), starts, tracks)
    world = find_world(Scene(views, points), [None] * 8, seed=0)
    assert "wall" in world.how
    assert _angle(world.rotation @ UP, np.array([0, 1.0, 0])) < 1.0


def test_the_middle_and_the_scale() -> None:
    points = np.random.default_rng(0).normal(size=(500, 3)) * 0.2
    scene = orbit_scene(10, points, UP)
    world = find_world(scene, [None] * 10, seed=0)
    moved = world.scale * points @ world.rotation.T + world.translation
    assert np.allclose(np.median(moved, axis=0), 0, atol=0.02)
    centers = np.array([v.center for v in scene])
    placed = world.scale * centers @ world.rotation.T + world.translation
    assert np.median(np.linalg.norm(placed, axis=1)) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(("noise", "unit"), [(0.5, "m"), (200.0, "")])
def test_gps_gives_metres_only_where_it_fits(noise: float, unit: str) -> None:
    rng = np.random.default_rng(0)
    scene = orbit_scene(15, rng.normal(size=(200, 3)), UP)
    side, other = _plane_basis()
    centers = np.array([v.center for v in scene])
    east, north, height = 20 * centers @ side, 20 * centers @ other, 20 * centers @ UP
    east, north, height = (v + rng.normal(0, noise, 15) for v in (east, north, height))
    earth = 6_378_137.0
    latitude = np.degrees(north / earth) + 47
    longitude = np.degrees(east / earth / np.cos(np.radians(47)))
    gps = list(zip(latitude.tolist(), longitude.tolist(), height.tolist(), strict=True))
    world = find_world(scene, gps, seed=0)
    assert world.unit == unit
    if unit:
        assert world.scale == pytest.approx(20, rel=0.03)
        assert _angle(world.rotation @ UP, np.array([0, 1.0, 0])) < 2


def test_a_repeated_gps_fix_says_nothing() -> None:
    scene = orbit_scene(10, np.random.default_rng(0).normal(size=(200, 3)), UP)
    world = find_world(scene, [(48.85, 2.35, 35.0)] * 10, seed=0)
    assert world.unit == ""
    assert world.scale > 0


def test_three_gps_positions_are_too_few() -> None:
    scene = orbit_scene(3, np.random.default_rng(0).normal(size=(200, 3)), UP)
    # Exact, and yet no evidence: three positions that are metres off fit nearly as well.
    side, other = _plane_basis()
    degrees = (
        30 / 111_319.49 * np.array([view.center for view in scene]) @ np.stack([side, other, UP], axis=1)
    )
    gps = [(47 + n, 8 + e / np.cos(np.radians(47)), 111_319.49 * u) for e, n, u in degrees.tolist()]
    assert find_world(scene, gps, seed=0).unit == ""


def test_rotation_to_y_is_a_rotation_even_upside_down() -> None:
    for up in (UP, np.array([0, -1.0, 0]), np.array([0, 1.0, 0])):
        rotation = rotation_to_y(up)
        assert np.allclose(rotation @ up, [0, 1, 0])
        assert np.allclose(rotation @ rotation.T, np.eye(3))
        assert np.linalg.det(rotation) == pytest.approx(1)


def _flown(count: int = 16) -> tuple[Scene, list[tuple[float, float, float | None]]]:
    """An orbit of 80 m radius and its exact GPS positions."""
    scene = orbit_scene(count, np.random.default_rng(0).normal(size=(200, 3)), UP)
    side, other = _plane_basis()
    metres = 20 * np.array([v.center for v in scene]) @ np.stack([side, other, UP], axis=1)
    latitude = np.degrees(metres[:, 1] / 6_378_137.0) + 47
    longitude = np.degrees(metres[:, 0] / 6_378_137.0 / np.cos(np.radians(47)))
    altitude = metres[:, 2] + 500
    return scene, list(zip(latitude.tolist(), longitude.tolist(), altitude.tolist(), strict=True))


def _assert_metric(scene: Scene, gps: list) -> tuple[str, ...]:
    world = find_world(scene, gps, seed=0)
    assert world.unit == "m"
    assert world.scale == pytest.approx(20, rel=1e-3)
    assert _angle(world.rotation @ UP, np.array([0, 1.0, 0])) < 0.1
    return world.notes


def test_all_good_positions_give_no_notes() -> None:
    assert _assert_metric(*_flown()) == ()


def test_a_missing_altitude_is_named_and_costs_nothing() -> None:
    scene, gps = _flown()
    gps[3] = (gps[3][0], gps[3][1], None)
    assert _assert_metric(scene, gps) == (
        "GPS positions without an altitude were not used for the scale: 003.jpg.",
    )


def test_an_altitude_of_zero_among_others_is_left_out() -> None:
    scene, gps = _flown()
    gps[3] = (gps[3][0], gps[3][1], 0.0)
    (note,) = _assert_metric(scene, gps)
    assert note.startswith("GPS positions that disagree with the others were left out: 003.jpg (5")


@pytest.mark.parametrize("wrong", [1, 4])
def test_positions_far_off_are_left_out_and_named(wrong: int) -> None:
    scene, gps = _flown()
    for k in range(wrong):
        gps[k] = (gps[k][0] + 100 * (k + 1) / 111_319.49, gps[k][1], gps[k][2])
    (note,) = _assert_metric(scene, gps)
    assert f"000.jpg ({100} m off)" in note
    assert f"The other {16 - wrong} are" in note


def test_positions_that_cannot_be_used_say_why() -> None:
    scene, gps = _flown()
    assert "all the same place" in find_world(scene, [gps[0]] * 16, 0).notes[0]
    assert "only 3 of 16 images" in find_world(scene, [*gps[:3], *[None] * 13], 0).notes[0]
    flat = [(latitude, longitude, None) for latitude, longitude, _ in gps]
    assert "only 0 have an altitude" in find_world(scene, flat, 0).notes[0]
    rng = np.random.default_rng(0)
    shuffled = [gps[k] for k in rng.permutation(16)]
    world = find_world(scene, shuffled, 0)
    assert world.unit == ""
    assert world.notes[0].startswith("The GPS positions could not be used: ")
    assert find_world(scene, [None] * 16, 0).notes == ()


@pytest.mark.parametrize("up", [[0, 0, 1], [0, -1, 0], [1, 0, 0]])
def test_up_of_a_given_world_is_the_axis_next_to_the_cameras_up(up: list) -> None:
    points = np.random.default_rng(0).normal(size=(100, 3))
    found = world_axis_up(orbit_scene(12, points, np.array(up, float)))
    assert found is not None
    np.testing.assert_array_equal(found, up)
    tilted = np.array([0, 1.0, 1.0]) / np.sqrt(2)
    assert world_axis_up(orbit_scene(12, points, tilted)) is None

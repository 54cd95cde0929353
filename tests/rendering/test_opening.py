"""The first view of models whose best side is known."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.rendering.framing import Opening, Photos
from recon3d.rendering.opening import find_opening, opening_of
from recon3d.types import Camera, Mesh, PointCloud, View
from tests.synthetic.shapes import looking

_UP = np.array([0.0, 1.0, 0.0])
_CAMERA = Camera("PINHOLE", 640, 480, (600.0, 600.0, 320.0, 240.0))


def _ring(count: int = 24, radius: float = 4.0, height: float = 1.2) -> list[View]:
    """Cameras around the origin; the first one looks along +x, so from -x."""
    views = []
    for i in range(count):
        angle = np.pi + 2 * np.pi * i / count
        center = np.array([radius * np.cos(angle), height, radius * np.sin(angle)])
        views.append(looking(center, np.zeros(3), _UP, f"{i}.jpg", _CAMERA))
    return views


def _statue(count: int = 20_000) -> PointCloud:
    """A ball of radius 0.5 on a ground of radius 3; the ball's side towards +z is lit."""
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(count, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    radius, angle = 3 * np.sqrt(rng.random(count)), 2 * np.pi * rng.random(count)
    ground = np.stack([radius * np.cos(angle), np.full(count, -0.5), radius * np.sin(angle)], axis=1)
    colors = np.full((2 * count, 3), 120, np.uint8)
    colors[:count] = np.where(ball[:, 2:] > 0, 220, 30)
    normals = np.concatenate([ball, np.tile(_UP, (count, 1))])
    return PointCloud(np.concatenate([0.5 * ball, ground]), normals.astype(np.float32), colors)


def _extent(opening: Opening, points: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest pixel of some points, in shares of the picture."""
    camera, pose = opening.camera(size)
    pixels = camera.project(points @ pose[:3, :3].T + pose[:3, 3]) / size
    return pixels.min(axis=0), pixels.max(axis=0)


def test_it_stands_where_a_photo_shows_the_lit_side() -> None:
    views = _ring()
    opening = opening_of(_statue(), Photos.of(views), _UP)
    assert opening.photo is not None
    toward = views[opening.photo].center / np.linalg.norm(views[opening.photo].center)
    assert toward @ [0, 0, 1] > 0.75
    assert opening.back @ toward > 0.99


@pytest.mark.parametrize("size", [(960, 720), (390, 844), (1600, 500)])
def test_the_subject_and_not_its_ground_fills_the_picture(size: tuple[int, int]) -> None:
    cloud = _statue()
    opening = opening_of(cloud, Photos.of(_ring()), _UP)
    low, high = _extent(opening, cloud.points[:20_000], size)
    assert low.min() >= 0
    assert high.max() <= 1
    across = 0 if size[0] < size[1] else 1
    assert 0.6 < high[across] - low[across] < 0.97
    assert abs((high + low)[across] / 2 - 0.5) < 0.06


def test_a_nose_is_not_cut_off_on_a_phone() -> None:
    rng = np.random.default_rng(2)
    head = rng.normal(size=(20_000, 3))
    head /= np.linalg.norm(head, axis=1, keepdims=True)
    # Less of the surface than an outline leaves out.
    nose = np.array([[1.0, 0, 0]]) + rng.uniform(0, 0.12, (60, 1)) * [1, 0, 0]
    points = np.concatenate([head * [1, 1.3, 1], nose])
    opening = find_opening(points, up=_UP)
    opening = Opening(opening.target, np.array([0.0, 0, 1]), opening.up, opening.frame)
    low, high = _extent(opening, points, (390, 844))
    assert low[0] >= 0
    assert high[0] <= 1


def test_what_lies_far_behind_does_not_make_it_small() -> None:
    cloud = _statue()
    far = np.random.default_rng(1).normal(size=(3000, 3)) + 40.0 * np.eye(3)[2]
    points = np.concatenate([cloud.points, far])
    opening = find_opening(points, photos=Photos.of(_ring()), up=_UP)
    assert opening.distance(4 / 3) < 12
    alone = find_opening(np.concatenate([cloud.points[:20_000], far[:100]]), up=_UP)
    low, high = _extent(alone, cloud.points[:20_000], (960, 720))
    assert high[1] - low[1] > 0.6


def test_an_upright_mesh_of_another_axis_stands_upright() -> None:
    cloud = _statue()
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # y to z
    poses = np.array([view.cam_from_world for view in _ring()])
    poses[:, :3, :3] = poses[:, :3, :3] @ turn.T
    photos = Photos.of(_ring())
    plain = find_opening(cloud.points, normals=cloud.normals, colors=cloud.colors, photos=photos, up=_UP)
    turned = find_opening(
        cloud.points @ turn.T,
        normals=cloud.normals @ turn.T,
        colors=cloud.colors,
        photos=Photos(poses, photos.tangents),
        up=turn @ _UP,
    )
    moved = plain.moved(1.0, turn, np.zeros(3))
    assert turned.back @ moved.back > 0.9
    assert turned.distance(1.5) == pytest.approx(moved.distance(1.5), rel=0.05)


def _room() -> tuple[np.ndarray, list[View]]:
    """Points on the walls of a room, and cameras that look around in it."""
    rng = np.random.default_rng(0)
    walls = rng.uniform(-2, 2, (8000, 3))
    axis = rng.integers(0, 3, 8000)
    walls[np.arange(8000), axis] = rng.choice([-2.0, 2.0], 8000)
    views = []
    for i in range(12):
        angle = 2 * np.pi * i / 12
        center = 0.3 * np.array([np.cos(angle), 0.0, np.sin(angle)])
        views.append(looking(center, 4 * center, _UP, f"{i}.jpg", _CAMERA))
    return walls, views


def test_a_landscape_below_the_sky_stands_in_the_middle_of_the_picture() -> None:
    walls, views = _room()
    land = walls[walls[:, 1] < -0.1]
    opening = find_opening(land, photos=Photos.of(views), up=_UP)
    assert opening.photo is not None
    camera, pose = opening.camera((400, 300))
    np.testing.assert_allclose(opening.eye(4 / 3), views[opening.photo].center, atol=1.0)
    seen = land @ pose[:3, :3].T + pose[:3, 3]
    pixels = camera.project(seen[seen[:, 2] > 0])
    rows = pixels[(np.abs(pixels - [200, 150]) <= [200, 150]).all(axis=1), 1]
    top, bottom = np.quantile(rows, [0.01, 0.99])
    assert top < 0.35 * 300  # in the photo it begins in the middle
    assert bottom > 0.8 * 300


def test_a_landscape_is_seen_from_above() -> None:
    """A flight along a valley, with the scene on all sides: not a strip in the middle of the picture."""
    rng = np.random.default_rng(0)
    land = np.stack([rng.uniform(-15, 15, 8000), np.zeros(8000), rng.uniform(-13, 13, 8000)], axis=1)
    land[:, 1] = 2 * np.sin(land[:, 0] / 4) + rng.normal(0, 0.3, 8000)
    views = [
        looking(np.array([x, 6.0, 0.0]), np.array([x + 6.0, 2.0, 0.0]), _UP, f"{x}.jpg", _CAMERA)
        for x in np.linspace(-12, 8, 20)
    ]
    opening = find_opening(land, photos=Photos.of(views), up=_UP)
    low, high = _extent(opening, opening.frame, (800, 600))  # what the photos show of it
    assert low.min() >= 0
    assert high.max() <= 1
    assert high[1] - low[1] > 0.6
    assert opening.back @ _UP == pytest.approx(np.sin(np.radians(40)))


def test_inside_a_room_it_stays_where_the_photo_was_taken() -> None:
    walls, views = _room()
    opening = find_opening(walls, photos=Photos.of(views), up=_UP)
    assert opening.photo is not None
    for aspect in (0.5, 2.0):
        np.testing.assert_allclose(opening.eye(aspect), views[opening.photo].center, atol=0.5)
        assert np.abs(opening.eye(aspect)).max() < 2


def test_flat_and_tiny_shapes_have_a_view() -> None:
    square = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    opening = opening_of(square)
    low, high = _extent(opening, square.vertices, (400, 300))
    assert low.min() >= 0
    assert high.max() <= 1
    assert high[1] - low[1] > 0.6
    assert opening.back[2] > 0.7  # its front
    sparse = np.concatenate([np.zeros((3, 3)), np.full((997, 3), 50.0)])  # photos show three points only
    assert np.isfinite(find_opening(sparse, photos=Photos.of(_ring())).eye(1.5)).all()
    for points in (np.zeros((1, 3)), np.zeros((5, 3)), np.array([[0.0, 0, 0], [0, 1, 0]])):
        assert np.isfinite(find_opening(points).eye(1.5)).all()
    assert np.isfinite(opening_of(Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))).eye(1.5)).all()

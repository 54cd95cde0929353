"""A surface that is wrong by some pixels is moved to where the photos agree."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from recon3d.surface.normals import face_geometry
from recon3d.surface.photo_kernels import render
from recon3d.surface.photo_terms import Photo, choose_pairs, shown_vertices
from recon3d.surface.refinement import Neighbors, roughness
from recon3d.threads import Threads
from recon3d.types import Camera, Floats, Mesh
from tests.surface.whole import refine
from tests.synthetic.shapes import grid_mesh, looking

CAMERA = Camera("PINHOLE", 240, 180, (260.0, 260.0, 120.0, 90.0))
#: Size of a pixel at the middle of the scene.
PIXEL = 3.0 / 260


def _height(x: Floats, z: Floats) -> Floats:
    return np.asarray(0.25 * np.exp(-3 * (x * x + z * z)))


def _brightness(x: Floats, z: Floats) -> Floats:
    waves = np.random.default_rng(3).normal(0, 9, (60, 2)), np.random.default_rng(4).uniform(0, 6, 60)
    total = sum(np.sin(a * x + b * z + c) for (a, b), c in zip(*waves, strict=True))
    return np.asarray(np.clip(128 + 9 * total, 0, 255))


def _poses() -> list[Floats]:
    up = np.array([0.0, 1.0, 0.0])
    places = [np.array([np.cos(t), 2.2, np.sin(t)]) * [1.7, 1, 1.7] for t in np.arange(8) * np.pi / 4]
    return [looking(place, np.zeros(3), up, "view", CAMERA).cam_from_world for place in places]


def _photo(pose: Floats) -> Photo:
    """What a camera sees of the hill, by steps along its rays."""
    K, R = CAMERA.K, pose[:3, :3]
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width] + 0.5
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], axis=-1) @ R
    center = -R.T @ pose[:3, 3]
    near, far = np.full(u.shape, 1.0), np.full(u.shape, 8.0)
    for _ in range(50):  # the hill is flat enough for a ray to pass it once
        middle = (near + far) / 2
        place = center + middle[..., None] * rays
        below = place[..., 1] < _height(place[..., 0], place[..., 2])
        near, far = np.where(below, near, middle), np.where(below, middle, far)
    place = center + near[..., None] * rays
    noise = np.random.default_rng(int(1000 * pose[0, 0]) % 997).normal(0, 2, u.shape)
    values = _brightness(place[..., 0], place[..., 2]) + noise
    return Photo(np.clip(np.round(values), 0, 255).astype(np.uint8), CAMERA, pose)


@pytest.fixture(scope="module")
def photos() -> list[Photo]:
    return [_photo(pose) for pose in _poses()]


@pytest.fixture(scope="module")
def wrong() -> Mesh:
    """The hill, a tenth too low."""
    sheet = grid_mesh(1.4, cells=90)
    x, z = sheet.vertices[:, 0], sheet.vertices[:, 2]
    return Mesh(np.stack([x, 0.9 * _height(x, z), z], axis=1), sheet.faces)


def _error(mesh: Mesh) -> float:
    """Of the height, where most photos look."""
    x, y, z = mesh.vertices.T
    inner = np.hypot(x, z) < 0.45
    return float(np.abs(y - _height(x, z))[inner].mean())


def test_a_hill_that_is_too_low_rises_to_where_photos_agree(photos: list[Photo], wrong: Mesh) -> None:
    refined = refine(wrong, photos, 240, PIXEL)
    assert _error(wrong) > 1.0 * PIXEL
    assert _error(refined) < 0.25 * _error(wrong)
    assert np.array_equal(refined.faces, wrong.faces)


def test_one_and_two_threads_give_the_same(photos: list[Photo], wrong: Mesh) -> None:
    with Threads(2) as threads:
        two = refine(wrong, photos, 240, PIXEL, threads)
    assert two.vertices.tobytes() == refine(wrong, photos, 240, PIXEL).vertices.tobytes()


def test_noise_of_compressed_photos_does_not_become_relief(photos: list[Photo], wrong: Mesh) -> None:
    """Such noise is alike in neighbouring pixels, so that it looks like what a relief does."""
    rng = np.random.default_rng(5)

    def spoilt(photo: Photo) -> Photo:
        noise = 10 * cv2.GaussianBlur(rng.normal(0, 1, photo.brightness.shape), (0, 0), 1.5)
        return replace(photo, brightness=np.clip(photo.brightness + noise, 0, 255).astype(np.uint8))

    refined = refine(wrong, [spoilt(photo) for photo in photos], 240, PIXEL)
    assert _error(refined) < 0.3 * _error(wrong)
    near = Neighbors.of(wrong)
    assert roughness(refined, near) - roughness(wrong, near) < 0.006


def test_pixels_that_do_not_count_say_nothing(photos: list[Photo], wrong: Mesh) -> None:
    """One half of each photo shows a passer-by; a mask leaves it out."""
    half = np.ones((CAMERA.height, CAMERA.width), bool)
    half[:, :110] = False
    painted = [
        replace(photo, brightness=np.where(half, photo.brightness, 255).astype(np.uint8)) for photo in photos
    ]
    masked = [replace(photo, counts=half) for photo in painted]
    garbage = [
        replace(photo, brightness=np.where(half, photo.brightness, 3).astype(np.uint8), counts=half)
        for photo in photos
    ]
    first, second = (refine(wrong, given, 240, PIXEL) for given in (masked, garbage))
    assert _error(first) < 0.6 * _error(wrong)
    assert np.abs(first.vertices - second.vertices).max() < 0.2 * PIXEL


def test_photos_without_contrast_or_partner_move_nothing(photos: list[Photo], wrong: Mesh) -> None:
    blank = [replace(photo, brightness=np.full_like(photo.brightness, 90)) for photo in photos]
    for given in (blank, photos[:1], []):
        assert np.abs(refine(wrong, given, 240, PIXEL).vertices - wrong.vertices).max() < 0.5 * PIXEL


def test_each_pair_of_photos_is_compared_once_and_no_more_than_a_place_needs(wrong: Mesh) -> None:
    up, many = np.array([0.0, 1.0, 0.0]), 48
    angles = np.arange(many) * 2 * np.pi / many
    places = [np.array([1.7 * np.cos(t), 2.2, 1.7 * np.sin(t)]) for t in angles]
    poses = [looking(place, np.zeros(3), up, "view", CAMERA).cam_from_world for place in places]
    blank = np.zeros((CAMERA.height, CAMERA.width), np.uint8)
    shown = [shown_vertices(wrong, Photo(blank, CAMERA, pose)) for pose in poses]
    partners = choose_pairs(wrong, poses, shown)
    pairs = [tuple(sorted((first, other))) for first, others in enumerate(partners) for other in others]
    assert len(pairs) == len(set(pairs))
    told = np.sum([shown[first] & shown[second] for first, second in pairs], axis=0)
    # Each place has enough, though the list of what the photos want is three times as long.
    assert np.percentile(told, 5) >= 12
    assert len(pairs) < 1.0 * many
    # The usual angle between two photos' rays is neither small nor large.
    rays = np.array(places) / np.linalg.norm(places, axis=1, keepdims=True)
    cosine = [float(rays[first] @ rays[second]) for first, second in pairs]
    assert 8 < np.degrees(np.arccos(np.median(cosine))) < 30
    # Work is shared: no photo has many more partners than the others.
    assert max(map(len, partners)) <= 3


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_faces_without_an_area_do_not_stop_the_fit(photos: list[Photo], wrong: Mesh, share: float) -> None:
    limit = np.quantile(wrong.vertices[:, 0], 1 - share)
    fallen = wrong.vertices[:, 0] >= limit
    mesh = replace(wrong, vertices=np.where(fallen[:, None], [limit, 0.1, 0.0], wrong.vertices))
    areas = face_geometry(mesh.vertices, mesh.faces)[1]
    assert np.median(areas) == 0
    assert (areas > 0).any() == (share < 1)
    with np.errstate(all="raise"):
        refined = refine(mesh, photos, 240, PIXEL)
    away = np.linalg.norm(refined.vertices - mesh.vertices, axis=1)
    assert away.max() <= 3.0 * PIXEL + 1e-9


def test_no_vertex_moves_further_than_some_pixels(photos: list[Photo], wrong: Mesh) -> None:
    shuffled = [
        replace(photo, cam_from_world=other.cam_from_world)
        for photo, other in zip(photos, photos[3:] + photos[:3], strict=True)
    ]
    away = np.linalg.norm(refine(wrong, shuffled, 240, PIXEL).vertices - wrong.vertices, axis=1)
    assert away.max() <= 3.0 * PIXEL + 1e-9


def test_scaling_keeps_the_mask_and_the_camera(photos: list[Photo]) -> None:
    counts = np.ones((CAMERA.height, CAMERA.width), bool)
    counts[:, :121] = False
    small = replace(photos[0], counts=counts).fitted(120)
    assert small.brightness.shape == (90, 120) == (small.camera.height, small.camera.width)
    assert small.counts is not None
    # The column that is partly left out is left out.
    assert not small.counts[:, :61].any()
    assert small.counts[:, 61:].all()
    assert np.isnan(small.values).sum() == np.count_nonzero(~small.counts)
    assert photos[0].fitted(999) is photos[0]


def test_rendering_agrees_with_rays(wrong: Mesh) -> None:
    import open3d as o3d

    pose = _poses()[2]
    photo = Photo(np.zeros((CAMERA.height, CAMERA.width), np.uint8), CAMERA, pose)
    inverse = np.zeros(photo.brightness.shape, np.float32)
    face = np.full(inverse.shape, -1, np.int32)
    render(photo.corners(wrong.vertices), wrong.faces, inverse, face)
    scene, tensor = o3d.t.geometry.RaycastingScene(), o3d.core.Tensor.from_numpy
    scene.add_triangles(tensor(wrong.vertices.astype(np.float32)), tensor(wrong.faces.astype(np.uint32)))
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width] + 0.5
    K, R = CAMERA.K, pose[:3, :3]
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], axis=-1) @ R
    given = np.concatenate([np.broadcast_to(photo.center, rays.shape), rays], axis=-1).astype(np.float32)
    hit = scene.cast_rays(tensor(given))
    depth, found = hit["t_hit"].numpy(), hit["primitive_ids"].numpy().astype(np.int64)
    both = np.isfinite(depth) & (face >= 0)
    assert both.sum() > 0.98 * np.isfinite(depth).sum()
    assert np.abs(1 / inverse[both] - depth[both]).max() < 1e-4
    assert (face[both] == found[both]).mean() > 0.98

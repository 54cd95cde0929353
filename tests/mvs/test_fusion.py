"""Filtering and fusing maps whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.mvs import reference
from recon3d.mvs.agreement import Tolerances, agreement
from recon3d.mvs.filtering import filtered
from recon3d.mvs.fusion import fuse_view
from recon3d.mvs.maps import PackedMap, depth_map_of, normals_of
from recon3d.mvs.normals import decode_normal, decode_normals, encode_normals
from recon3d.mvs.stereo import PlaneMap
from recon3d.types import DepthMap
from tests.synthetic.scenes import Plane, Sphere, arc, render

WALL = Plane(np.array([0.0, 0.0, -1.0]), -0.6)
TIGHT = Tolerances(0.5, 0.01, 30)
CLOSE = 0.2


@pytest.fixture(scope="module")
def pictures():
    return [render([Sphere(np.zeros(3), 0.55), WALL], view) for view in arc(4)]


def true_map(picture, scale=1.0):
    return PackedMap.of(
        DepthMap(
            picture.view.name,
            picture.view.camera,
            (scale * picture.depth).astype(np.float32),
            picture.normal.astype(np.float32),
            np.full(picture.depth.shape, 0.8, np.float32),
        )
    )


def others(pictures, scale=1.0):
    return [(true_map(p, scale), p.view.cam_from_world) for p in pictures]


def noisy_map(picture, seed):
    """A true map with errors about as large as the tolerances, and holes."""
    rng = np.random.default_rng(seed)
    shape = picture.depth.shape
    depth = picture.depth * (1 + rng.normal(0, 0.006, shape)) * (rng.random(shape) > 0.1)
    normal = picture.normal + rng.normal(0, 0.2, (*shape, 3))
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return PackedMap.of(
        DepthMap(
            picture.view.name,
            picture.view.camera,
            depth.astype(np.float32),
            normal.astype(np.float32),
            np.full(shape, 0.8, np.float32),
        )
    )


def of_twin(packed, pose):
    """A map as the twins take it."""
    K = packed.camera.K.copy()
    K[:2, 2] -= 0.5
    return packed.depth.astype(float), decode_normals(packed.normal).astype(float), K, pose


def twins_agreement(own, pose, neighbors, tolerances):
    depth, normal, K, _ = of_twin(own, pose)
    result = []
    for packed, other in neighbors:
        other_depth, other_normal, other_K, _ = of_twin(packed, other)
        relative = other @ np.linalg.inv(pose)
        forth = np.hstack(
            [other_K @ relative[:3, :3] @ np.linalg.inv(K), (other_K @ relative[:3, 3])[:, None]]
        )
        result.append(
            reference.agrees(
                *(depth, normal, other_depth, other_normal, forth, relative[:3, :3].T),
                *(tolerances.pixels, tolerances.depth, np.cos(np.radians(tolerances.degrees))),
            )
        )
    same, changes = zip(*result, strict=True)
    return np.array(same), np.array(changes)


@pytest.mark.parametrize("tolerances", [TIGHT, Tolerances(2.0, 0.01, 60), Tolerances(0.3, 0.02, 15)])
def test_agreement_is_that_of_the_twin(pictures, tolerances):
    (own, pose), *neighbors = [(noisy_map(p, i), p.view.cam_from_world) for i, p in enumerate(pictures)]
    bits = agreement(own, pose, neighbors, tolerances).views
    expected, _ = twins_agreement(own, pose, neighbors, tolerances)
    for j, twin in enumerate(expected):
        assert 0.02 < twin.mean() < 0.95
        assert (((bits >> j) & 1 > 0) != twin).mean() < 0.002


def test_means_are_those_of_the_twin(pictures):
    (own, pose), *neighbors = [(noisy_map(p, i), p.view.cam_from_world) for i, p in enumerate(pictures)]
    found = agreement(own, pose, neighbors, TIGHT, 0.2)
    agreeing = (found.views >> np.arange(3)[:, None, None]) & 1 > 0
    assert np.array_equal(found.close, agreement(own, pose, neighbors, Tolerances(0.2, 0.01, 30)).views)
    _, changes = twins_agreement(own, pose, neighbors, TIGHT)
    depth, normal, *_ = of_twin(own, pose)
    rows, columns = np.indices(depth.shape)
    normals = []
    for packed, other in neighbors:
        _, other_normal, K, _ = of_twin(packed, other)
        rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(K).T * depth[..., None]
        relative = other @ np.linalg.inv(pose)
        there = (rays @ relative[:3, :3].T + relative[:3, 3]) @ K.T
        uv = np.floor(there[..., :2] / np.maximum(there[..., 2:], 1e-6) + 0.5).astype(int)
        u, v = uv.transpose(2, 0, 1)
        height, width = depth.shape
        normals.append(other_normal[v.clip(0, height - 1), u.clip(0, width - 1)] @ relative[:3, :3])
    mean_depth, mean_normal = reference.averaged(depth, normal, agreeing, changes, np.array(normals))
    assert agreeing.mean() > 0.3
    # Where the other view's pixel is a close call, both may take different ones.
    assert (np.abs(found.depth - mean_depth) <= 1e-4 * depth).mean() > 0.99
    assert (np.abs(found.normal - mean_normal).max(axis=-1) < 1e-3)[depth > 0].mean() > 0.99
    assert not found.normal[depth == 0].any()


def test_filtering_averages_what_the_views_find(pictures):
    (own, pose), *neighbors = [(noisy_map(p, i), p.view.cam_from_world) for i, p in enumerate(pictures)]
    loose = Tolerances(3.0, 0.03, 60)
    made = filtered(
        own,
        pose,
        neighbors,
        min_views=4,
        tolerances=loose,
        close_pixels=0.0,
        min_region=1,
        rgb=pictures[0].rgb,
    )
    kept = made.depth > 0
    assert kept.mean() > 0.3
    truth = pictures[0].depth
    before, after = (np.std((m.depth - truth)[kept] / truth[kept]) for m in (own, made))
    # Four independent errors halve each other; that the neighbours' pixels lie beside ours adds a little.
    assert after < 0.65 * before
    cosine = [(decode_normals(m.normal) * pictures[0].normal).sum(-1)[kept] for m in (own, made)]
    assert np.mean(1 - cosine[1]) < 0.5 * np.mean(1 - cosine[0])


@pytest.mark.parametrize("rank", [0, 2, 9])
def test_fusion_is_that_of_the_twin(pictures, rank):
    (own, pose), *neighbors = [(noisy_map(p, i), p.view.cam_from_world) for i, p in enumerate(pictures)]
    rows, columns = np.indices(own.depth.shape)
    place = np.stack([rows, columns, np.zeros_like(rows)], axis=-1)
    assert place.max() < 256
    ranks = [1, 3, 4]
    made = fuse_view(own, pose, place.astype(np.uint8), rank, neighbors, ranks, min_views=2, tolerances=TIGHT)
    kept, points, normals = reference.fused(
        [of_twin(own, pose), *[of_twin(*neighbor) for neighbor in neighbors]],
        [rank, *ranks],
        (agreement(own, pose, neighbors, TIGHT).views >> np.arange(3)[:, None, None]) & 1 > 0,
        2,
    )
    written = np.zeros(kept.shape, bool)
    written[made.colors[:, 0], made.colors[:, 1]] = True
    assert kept.any()
    assert (written != kept).mean() < 0.001
    both = written & kept
    ours, twins = both[written], both[kept]
    # Where the other view's pixel is a close call, both may take different ones.
    near = np.abs(made.points[ours] - points[twins]).max(axis=1) < 1e-5
    assert near.mean() > 0.998
    assert np.abs(made.normals[ours] - normals[twins])[near].max() < 1e-3


def test_normals_survive_packing():
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(500, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals[0], normals[1], normals[2] = 0, (0, 0, -1), (1, 0, 0)
    codes = encode_normals(normals)
    assert decode_normals(codes) == pytest.approx(normals, abs=1e-4)
    assert np.array([decode_normal(*c) for c in codes[1:]]) == pytest.approx(normals[1:], abs=1e-4)


def test_normals_of_planes_face_the_camera(pictures):
    picture = pictures[0]
    rho = (1 / picture.depth).astype(np.float32)
    state = np.stack([rho, np.gradient(rho, axis=1), np.gradient(rho, axis=0)])
    cosine = (normals_of(state, picture.view.camera) * picture.normal).sum(-1)
    assert np.median(cosine) > 0.9999


def test_depth_map_of_drops_what_does_not_fit(pictures):
    state = np.stack([np.full((120, 160), 0.5), np.zeros((120, 160)), np.zeros((120, 160))])
    planes = PlaneMap.from_state(state)
    planes.cost[:] = 0.2
    planes.cost[:10] = 0.9
    made = depth_map_of("a", pictures[0].view.camera, planes, 0.8)
    assert (made.depth[:10] == 0).all()
    assert (made.normal[:10] == 0).all()
    assert made.depth[10:] == pytest.approx(2.0)
    assert made.confidence[10:] == pytest.approx(0.8)


def test_true_maps_agree_where_both_see_the_surface(pictures):
    own, pose = others(pictures[:1])[0]
    bits = agreement(own, pose, others(pictures[1:]), TIGHT).views
    expected = np.zeros(bits.shape, int)
    K = own.camera.K
    for picture in pictures[1:]:
        x, y = np.meshgrid(np.arange(160) + 0.5, np.arange(120) + 0.5)
        points = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(K).T * pictures[0].depth[..., None]
        move = picture.view.cam_from_world @ np.linalg.inv(pose)
        there = points @ move[:3, :3].T + move[:3, 3]
        uv = np.floor(there[..., :2] / there[..., 2:] @ np.diag([K[0, 0], K[1, 1]]) + K[:2, 2]).astype(int)
        inside = ((uv >= 0) & (uv < [160, 120])).all(-1)
        u, v = np.where(inside[..., None], uv, 0).transpose(2, 0, 1)
        expected += inside & (np.abs(picture.depth[v, u] - there[..., 2]) < 0.005 * there[..., 2])
    assert np.mean(np.bitwise_count(bits) == expected) > 0.9
    assert (np.bitwise_count(bits) <= 3).all()


def test_wrong_depths_and_islands_are_dropped(pictures):
    own = true_map(pictures[0])
    depth = own.depth.copy()
    depth[50:60, 70:80] *= 1.05
    depth[20:100, 118:120] = 0  # cuts a strip off
    damaged = PackedMap(own.name, own.camera, depth, own.normal, own.confidence)
    pose = pictures[0].view.cam_from_world
    result = filtered(
        damaged, pose, others(pictures[1:]), min_views=3, tolerances=TIGHT, close_pixels=CLOSE, min_region=30,
        rgb=pictures[0].rgb,
    )  # fmt: skip
    assert (result.depth[50:60, 70:80] == 0).all()
    assert (result.depth[30:45, 75:95] > 0).mean() > 0.9
    assert (result.confidence[result.depth == 0] == 0).all()
    assert (decode_normals(result.normal)[result.depth == 0] == 0).all()
    small = np.zeros_like(depth)
    small[58:62, 78:82] = own.depth[58:62, 78:82]
    alone = PackedMap(own.name, own.camera, small, own.normal, own.confidence)
    dropped = filtered(
        alone, pose, others(pictures[1:]), min_views=2, tolerances=TIGHT, close_pixels=CLOSE, min_region=30,
        rgb=pictures[0].rgb,
    )  # fmt: skip
    assert not dropped.depth.any()
    kept = filtered(
        alone, pose, others(pictures[1:]), min_views=2, tolerances=TIGHT, close_pixels=CLOSE, min_region=10,
        rgb=pictures[0].rgb,
    )  # fmt: skip
    assert kept.depth.any()


def fuse_all(pictures):
    made = []
    for i, picture in enumerate(pictures):
        rest = [j for j in range(len(pictures)) if j != i]
        made.append(
            fuse_view(
                true_map(picture), picture.view.cam_from_world, picture.rgb, i,
                others([pictures[j] for j in rest]), rest, min_views=2, tolerances=TIGHT,
            )
        )  # fmt: skip
    return made


def test_fused_points_lie_on_the_surface_once(pictures):
    parts = fuse_all(pictures)
    points = np.concatenate([p.points for p in parts])
    normals = np.concatenate([p.normals for p in parts])
    on_sphere = np.abs(np.linalg.norm(points, axis=1) - 0.55) < 0.005
    on_wall = np.abs(points[:, 2] - 0.6) < 0.005
    assert np.mean(on_sphere | on_wall) > 0.99
    assert np.linalg.norm(normals, axis=1) == pytest.approx(1, abs=1e-3)
    outward = points[on_sphere] / np.linalg.norm(points[on_sphere], axis=1, keepdims=True)
    assert np.median((outward * normals[on_sphere]).sum(1)) > 0.99
    # Each point once: far fewer than the pixels that see it, and everything is covered.
    pixels = sum(int((p.depth > 0).sum()) for p in pictures)
    assert 0.25 * pixels < len(points) < 0.65 * pixels


def test_visibility_and_colours_of_fused_points(pictures):
    fused = fuse_all(pictures)[0]
    assert (np.bitwise_count(fused.seen) >= 1).all()
    here = pictures[0].view
    cam = fused.points @ here.cam_from_world[:3, :3].T + here.cam_from_world[:3, 3]
    uv = np.floor(here.camera.project(cam)).astype(int)
    inside = ((uv >= 0) & (uv < [160, 120])).all(1)
    u, v = uv[inside].T
    difference = np.abs(pictures[0].rgb[v, u].astype(int) - fused.colors[inside]).max(axis=1)
    assert np.median(difference) < 4


def test_no_neighbours_no_points(pictures):
    own = true_map(pictures[0])
    pose = pictures[0].view.cam_from_world
    assert not agreement(own, pose, [], TIGHT).views.any()
    fused = fuse_view(own, pose, pictures[0].rgb, 0, [], [], min_views=2, tolerances=TIGHT)
    assert len(fused.points) == 0

"""Surfaces of known shapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recon3d.errors import ReconstructionError
from recon3d.surface import thinning
from recon3d.surface.cleaning import (
    make_manifold,
    remove_small_components,
)
from recon3d.surface.connectivity import faces_around_vertices
from recon3d.surface.cropping import cropped
from recon3d.surface.free_space import FreeSpace, reduced_maps
from recon3d.surface.normals import face_areas, face_geometry, usual_edge, vertex_normals
from recon3d.surface.refinement import Neighbors, roughness
from recon3d.surface.simplification import simplify, with_attributes
from recon3d.surface.smoothing import (
    Strength,
    average_normals,
    smooth_surface,
    strength_for,
    strength_for_fit,
)
from recon3d.surface.thinning import at_most, lonely, neighbors, noise_of, spacing_of, thinned
from recon3d.threads import ALONE, Threads
from recon3d.types import Camera, Mesh, PointCloud
from tests.benchmarks.surface_faults import border
from tests.surface.whole import surface_from_points
from tests.synthetic.shapes import grid_mesh, looking, sphere_cloud

CAMERA = Camera("PINHOLE", 120, 120, (600.0, 600.0, 60.0, 60.0))
Z = np.array([0, 0, 1.0])


def test_a_noisy_sphere_becomes_a_closed_sphere() -> None:
    mesh, _, facts = surface_from_points(sphere_cloud(20_000, noise=0.003))
    mesh = make_manifold(remove_small_components(mesh, 0.02))
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert np.abs(radius - 1).max() < 0.03
    assert np.abs(radius - 1).mean() < 0.003
    assert face_areas(mesh.vertices, mesh.faces).sum() == pytest.approx(4 * np.pi, rel=0.02)
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    outward = np.einsum("nc,nc->n", np.cross(b - a, c - a), a)
    assert (outward > 0).mean() > 0.999
    assert facts["octree_depth"] >= 6
    assert mesh.guessed is not None
    assert not mesh.guessed.any()


def test_an_open_surface_stays_open_and_strays_are_left_out() -> None:
    rng = np.random.default_rng(0)
    flat = np.column_stack(
        [rng.uniform(-1, 1, 20_000), rng.normal(0, 0.001, 20_000), rng.uniform(-1, 1, 20_000)]
    )
    strays = rng.uniform(-1, 1, (40, 3)) + np.array([0, 2, 0])
    up = np.tile(np.array([[0, 1, 0]], np.float32), (len(flat) + len(strays), 1))
    mesh, _, _ = surface_from_points(PointCloud(np.concatenate([flat, strays]), up))
    mesh = remove_small_components(mesh, 0.02)
    assert np.abs(mesh.vertices[:, 1]).max() < 0.02
    assert face_areas(mesh.vertices, mesh.faces).sum() == pytest.approx(4.0, rel=0.12)


def test_spacing_is_that_of_the_points() -> None:
    x, z = np.meshgrid(np.arange(60) * 0.1, np.arange(60) * 0.1)
    points = np.stack([x.ravel(), np.zeros(x.size), z.ravel()], axis=1)
    spacing = spacing_of(neighbors(points)[0])
    assert spacing.typical == pytest.approx(0.1, rel=0.15)
    stray = np.concatenate([points, [[3.0, 2.0, 3.0]]])
    distances, near = neighbors(stray)
    alone = lonely(spacing_of(distances), near)
    assert np.flatnonzero(alone).tolist() == [len(points)]


def test_thinned_points_are_the_means_of_voxels_for_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thinning, "_LEAST", 50)
    rng = np.random.default_rng(2)
    points = rng.uniform(-1, 1, (3000, 3))
    normals = rng.normal(size=(3000, 3)).astype(np.float32)
    cloud = PointCloud(points, normals, rng.integers(0, 256, (3000, 3)).astype(np.uint8))
    few, counts = thinned(cloud, 0.25)
    places = np.floor((points - points.min(axis=0)) / 0.25).astype(int)
    _, label, size = np.unique(places, axis=0, return_inverse=True, return_counts=True)
    assert counts.tolist() == size.tolist()
    assert few.normals is not None
    assert few.colors is not None
    for values, means in ((points, few.points), (cloud.colors, few.colors)):
        expected = np.stack([np.bincount(label.ravel(), column) / size for column in values.T], axis=1)
        assert np.abs(means - expected).max() <= (1e-12 if means is few.points else 0.5)
    assert np.allclose(np.linalg.norm(few.normals, axis=1), 1, atol=1e-6)
    with Threads(3) as threads:
        several, _ = thinned(cloud, 0.25, threads)
    for name in ("points", "normals", "colors"):
        assert getattr(several, name).tobytes() == getattr(few, name).tobytes()


def test_a_large_cloud_is_thinned_evenly_with_its_colours() -> None:
    cloud = sphere_cloud(60_000)
    dense = cloud.points[:, 1] > 0.5
    assert cloud.normals is not None
    assert cloud.colors is not None
    uneven = PointCloud(
        np.concatenate([cloud.points, cloud.points[dense] * 1.0001]),
        np.concatenate([cloud.normals, cloud.normals[dense]]),
        np.concatenate([cloud.colors, cloud.colors[dense]]),
    )
    few = at_most(uneven, 5000)
    assert 3000 < len(few) < 6500
    assert few.points[:, 1].mean() == pytest.approx(0, abs=0.03)
    assert few.colors is not None
    assert np.abs(few.colors - 127 * (few.points + 1)).max() < 3
    assert at_most(few, len(few)) is few


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ReconstructionError, match="too few"):
        surface_from_points(sphere_cloud(20))


def test_small_parts_go() -> None:
    sheet = grid_mesh(2.0, cells=20)
    crumb = grid_mesh(0.1, cells=1)
    both = Mesh(
        np.concatenate([sheet.vertices, crumb.vertices + np.array([0, 1, 0])]),
        np.concatenate([sheet.faces, crumb.faces + len(sheet.vertices)]),
    )
    assert len(remove_small_components(both, 0.02).faces) == len(sheet.faces)


def test_decimation_keeps_shape_and_colours_come_from_the_cloud() -> None:
    cloud = sphere_cloud(20_000)
    mesh, _, _ = surface_from_points(cloud)
    small = with_attributes(simplify(mesh, 2000), cloud)
    assert len(small.faces) <= 2000
    assert np.abs(np.linalg.norm(small.vertices, axis=1) - 1).max() < 0.03
    assert small.colors is not None
    expected = 127 * (small.vertices / np.linalg.norm(small.vertices, axis=1, keepdims=True) + 1)
    assert np.abs(small.colors - expected).max() < 12
    assert small.normals is not None
    assert (np.einsum("nc,nc->n", small.normals, small.vertices) > 0.9).all()


@pytest.mark.parametrize("faces", [40_000, 3000])
def test_the_cap_of_a_hole_stays_marked_through_all_later_steps(faces: int) -> None:
    cloud = sphere_cloud(20_000)
    hole = np.linalg.norm(cloud.points - [0, 1, 0], axis=1) < 0.3
    mesh, _, _ = surface_from_points(cloud.subset(~hole))
    mesh = make_manifold(remove_small_components(mesh, 0.02))
    mesh = cropped(mesh, ((-2, -0.5, -2), (2, 2, 2)))
    mesh = smooth_surface(mesh, strength=Strength(20, 5, 10))
    mesh = with_attributes(make_manifold(simplify(mesh, faces)), cloud)
    assert mesh.guessed is not None
    assert len(mesh.faces) <= faces
    away = np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 2]) * np.sign(mesh.vertices[:, 1])
    inside, rim = (away > 0) & (away < 0.15), (away >= 0.15) & (away < 0.36)
    assert inside.sum() > 5
    assert mesh.guessed[inside].all()
    assert not mesh.guessed[~inside & ~rim].any()


def test_decimation_by_parts_keeps_a_manifold_and_its_border_and_flattens_nothing() -> None:
    """Large enough for parts; a wave with a border, whose flat half needs few triangles."""
    sheet = grid_mesh(2.0, cells=370)
    x, _, z = sheet.vertices.T
    height = np.where(x > 0, 0.05 * np.sin(12 * x) ** 2, 0)
    wave = Mesh(np.column_stack([x, height, z]), sheet.faces, guessed=z > 0.5)
    found = []
    for count in (1, 3):
        with Threads(count) as threads:
            found.append(simplify(wave, 20_000, threads))
    small = found[0]
    assert np.array_equal(found[1].vertices, small.vertices)
    assert np.array_equal(found[1].faces, small.faces)
    assert len(small.faces) in (19_999, 20_000)
    edges = np.sort(np.concatenate([small.faces[:, [0, 1]], small.faces[:, [1, 2]], small.faces[:, [2, 0]]]))
    assert np.unique(edges, axis=0, return_counts=True)[1].max() == 2
    assert border(small).length == pytest.approx(border(wave).length, rel=0.01)
    x, y, z = small.vertices.T
    off = np.abs(y - np.where(x > 0, 0.05 * np.sin(12 * x) ** 2, 0))
    assert off.max() < 0.002
    assert small.guessed is not None
    assert small.guessed[z > 0.55].all()
    assert not small.guessed[z < 0.45].any()
    assert face_areas(small.vertices, small.faces).min() > 0


def test_crowded_edges_keep_two_faces_and_twins_go() -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -2, 0], [0, 0, 0.5]], float)
    faces = np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4], [2, 0, 1], [4, 4, 1]], np.int32)
    clean = make_manifold(Mesh(corners, faces))
    assert clean.faces.tolist() == [[0, 1, 2], [1, 0, 3]]
    assert len(clean.vertices) == 4


def test_the_same_points_give_the_same_mesh() -> None:
    first, _, _ = surface_from_points(sphere_cloud(5000))
    second, _, _ = surface_from_points(sphere_cloud(5000))
    assert np.array_equal(first.vertices, second.vertices)
    assert np.array_equal(first.faces, second.faces)


def test_gaps_are_closed_flat_and_larger_openings_are_not() -> None:
    """A wall with a window that nothing contradicts, in a ball that is open below."""
    cloud = sphere_cloud(40_000)
    window = np.linalg.norm(cloud.points - [0, 1, 0], axis=1) < 0.1
    below = cloud.points[:, 1] < -0.5
    mesh, _, _ = surface_from_points(cloud.subset(~window & ~below))
    rim = border(mesh)
    assert 0.8 * 2 * np.pi * 0.87 < rim.length < 1.7 * 2 * np.pi * 0.87
    assert border(mesh, ((-1, 0, -1), (1, 2, 1))).edges == 0
    assert mesh.guessed is not None
    patch = mesh.vertices[mesh.guessed]
    assert len(patch) > 10
    assert (np.linalg.norm(patch - [0, 1, 0], axis=1) < 0.13).all()
    assert (np.linalg.norm(patch, axis=1) < 1.003).all()
    assert (patch[:, 1] > 0.98).all()


def test_gaps_that_photos_see_through_stay_open() -> None:
    cloud = sphere_cloud(40_000)
    window = np.linalg.norm(cloud.points - [0, 1, 0], axis=1) < 0.1
    y, x = np.mgrid[-0.5:0.5:120j, -0.5:0.5:120j]
    depth = np.where(np.hypot(x, y) < 0.08, 6, 4).astype(np.float32)
    maps = [
        (depth, CAMERA, looking(np.array([side, 5, 0]), np.zeros(3), Z, "v", CAMERA).cam_from_world)
        for side in (0, 0.01)
    ]
    mesh, _, _ = surface_from_points(cloud.subset(~window), see_through=FreeSpace(reduced_maps(maps)))
    assert border(mesh).edges > 0
    assert mesh.guessed is not None
    assert mesh.guessed.sum() < 5


def test_noisy_points_are_smoothed_more_and_sharp_ones_no_more_than_before() -> None:
    noise = {}
    for sigma in (0.0, 0.01):
        cloud = sphere_cloud(5000, noise=sigma)
        noise[sigma] = noise_of(cloud, neighbors(cloud.points)[1])
    # Of the mean of eight, and of the point itself; on a ball, curvature adds a little.
    assert noise[0.01] == pytest.approx(0.01 * 0.6745 * np.sqrt(1 + 1 / 8), rel=0.1)
    assert noise[0.0] < 0.002
    assert strength_for(0.08) == Strength(12.0, 2, 4)
    assert strength_for(0.13) == Strength(21.0, 8, 14)
    assert strength_for(0.5) == Strength(30.0, 15, 25)


def test_what_a_fit_makes_rough_sets_how_much_is_smoothed() -> None:
    assert strength_for_fit(0.002, 3.0) is None
    assert strength_for_fit(0.0051, 4.0) == Strength(14.0, 8, 14)
    assert strength_for_fit(0.1, 3.2) == Strength(20.0, 15, 25)
    # Of edges of half as many pixels, noise covers four times as many faces.
    assert strength_for_fit(0.1, 1.6) == strength_for_fit(0.1, 0.1) == Strength(20.0, 60, 100)


@pytest.mark.parametrize(
    ("areas", "edge"),
    [
        ([2.0, 2.0, 8.0], 2.0),
        ([0.0, 2.0, 2.0], 2.0),
        ([0.0, 0.0, 0.0, 2.0, 8.0], 10**0.5),
        ([0.0, 0.0], 1.0),
        ([], 1.0),
        ([1e-300], 1e-12),
    ],
)
def test_the_usual_edge_is_one_that_can_be_divided_by(areas: list[float], edge: float) -> None:
    assert usual_edge(np.array(areas)) == pytest.approx(edge)


def test_normals_are_averaged_by_distance_angle_and_area() -> None:
    rng = np.random.default_rng(0)
    mesh = grid_mesh(1.0, cells=12)
    mesh = replace(mesh, vertices=1000 + mesh.vertices + rng.normal(0, 0.01, mesh.vertices.shape))
    normals, areas, centers = face_geometry(mesh.vertices, mesh.faces)
    lists = faces_around_vertices(mesh.faces, len(mesh.vertices))
    reach, angle = 2 * usual_edge(areas), 20.0
    found = average_normals(mesh.faces, lists, normals, areas, centers, reach, angle, 3)
    shared = (mesh.faces[:, None, :, None] == mesh.faces[None, :, None, :]).sum(axis=(2, 3))
    far = np.square(centers[:, None] - centers).sum(axis=2) / reach**2
    for _ in range(3):
        apart = np.square(normals[:, None] - normals).sum(axis=2) / (2 * np.sin(np.radians(angle) / 2)) ** 2
        weights = np.clip(1 - (far + apart) / 32, 0, None) ** 16  # about exp(-(far + apart) / 2)
        sums = (shared * areas * weights) @ normals
        normals = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    np.testing.assert_allclose(found, normals, atol=1e-4)


def test_normals_and_smoothing_do_not_depend_on_threads() -> None:
    mesh = grid_mesh(1.0, cells=120)
    rng = np.random.default_rng(0)
    mesh = replace(mesh, vertices=mesh.vertices + rng.normal(0, 0.003, mesh.vertices.shape))
    with Threads(3) as threads:
        np.testing.assert_array_equal(vertex_normals(mesh, threads), vertex_normals(mesh))
        whole, parts = (
            smooth_surface(mesh, strength=Strength(20.0, 3, 3), threads=some) for some in (ALONE, threads)
        )
    np.testing.assert_array_equal(whole.vertices, parts.vertices)


def test_roughness_is_the_noise_of_vertices_in_edges() -> None:
    flat = grid_mesh(1.0, cells=60)
    near = Neighbors.of(flat)
    assert roughness(flat, near) < 1e-9
    edge = np.sqrt(2 * np.median(face_areas(flat.vertices, flat.faces)))
    noise = np.random.default_rng(0).normal(0, 0.01 * edge, len(flat.vertices))
    rough = replace(flat, vertices=flat.vertices + noise[:, None] * [0, 1, 0])
    # The mean of six neighbours has a sixth of the variance; of a normal distribution, .6745 is the median.
    assert roughness(rough, near) == pytest.approx(0.01 * 0.6745 * np.sqrt(7 / 6), rel=0.05)


def test_smoothing_takes_noise_off_a_wall_and_keeps_its_edge() -> None:
    rng = np.random.default_rng(0)
    flat = grid_mesh(2.0, cells=40)
    roof = flat.vertices * 1.0
    roof[:, 1] = -np.abs(roof[:, 0])
    noisy = Mesh(roof + rng.normal(0, 0.004, roof.shape), flat.faces)
    smooth = smooth_surface(noisy, strength=Strength(20, 5, 10), farthest=0.02)
    inner = np.abs(roof).max(axis=1) < 0.9
    before = np.abs(noisy.vertices[:, 1] + np.abs(noisy.vertices[:, 0]))
    after = np.abs(smooth.vertices[:, 1] + np.abs(smooth.vertices[:, 0]))
    assert after[inner].mean() < 0.5 * before[inner].mean()
    edge = inner & (roof[:, 0] == 0)
    assert after[edge].max() < 0.02
    assert np.linalg.norm(smooth.vertices - noisy.vertices, axis=1).max() <= 0.02 + 1e-9

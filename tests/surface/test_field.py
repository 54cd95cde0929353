"""The field, its zero surface, and what is kept of it, against readable twins and known shapes."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.surface import field_kernels, point_kernels
from recon3d.surface.blocks import SIDE, Level
from recon3d.surface.isosurface import extract, triangles_of_cells
from recon3d.surface.poisson import Samples, Solver
from recon3d.surface.sorted_points import SortedPoints
from recon3d.threads import ALONE, Threads
from recon3d.types import Mesh
from tests.benchmarks.surface_faults import border
from tests.surface.whole import surface_from_points
from tests.synthetic.shapes import sphere_cloud


def _whole(size: int, cell: float = 1.0) -> Level:
    return Level.of(np.zeros(3), cell, size, np.arange(size**3, dtype=np.int64))


def _as_blocks(grid: np.ndarray) -> np.ndarray:
    size = len(grid) // SIDE
    parts = grid.reshape(size, SIDE, size, SIDE, size, SIDE).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(parts.reshape(-1, SIDE, SIDE, SIDE), np.float32)


def _as_grid(blocks: np.ndarray, size: int) -> np.ndarray:
    parts = blocks.reshape(size, size, size, SIDE, SIDE, SIDE).transpose(0, 3, 1, 4, 2, 5)
    return np.asarray(parts.reshape(size * SIDE, size * SIDE, size * SIDE))


def _splines(points: np.ndarray, side: int) -> np.ndarray:
    """Weight of each vertex at each point, by the definition of the spline."""
    t = np.abs(points[:, :, None] - np.arange(side))
    w = np.where(t <= 0.5, 0.75 - t * t, np.where(t < 1.5, 0.5 * (1.5 - t) ** 2, 0))
    return np.asarray(np.einsum("pi,pj,pk->pijk", w[:, 0], w[:, 1], w[:, 2]))


def _sorted(points: np.ndarray) -> SortedPoints:
    """In a grid of 16 vertices along a side, of which all blocks are stored."""
    return SortedPoints(points, np.zeros(3), 1.0, 4, ALONE)


def test_points_are_spread_and_sampled_by_splines() -> None:
    rng = np.random.default_rng(0)
    level, given = _whole(2), rng.uniform(0, 16, (300, 3))
    points = _sorted(given)
    first, block = points.blocks_of(level, 4)
    density, found = np.zeros((8, SIDE, SIDE, SIDE), np.float32), np.zeros(300, np.float32)
    grid = (level.blocks, level.around, density)
    point_kernels.gather_density(points.scaled, 1.0, first, *grid, *point_kernels.density_scratch(), 0, 8)
    splines = _splines(given[points.order], 16)
    assert np.allclose(_as_grid(density, 2), splines.sum(axis=0), atol=1e-5)
    point_kernels.sample(points.scaled, 1.0, block, *grid, found, *point_kernels.density_scratch(), 0, 300)
    assert np.allclose(found, np.einsum("pijk,ijk->p", splines, splines.sum(axis=0)), atol=1e-4)


def test_blocks_near_points_are_found_on_all_levels() -> None:
    rng = np.random.default_rng(4)
    given = rng.uniform(0, 16, (20, 3))
    points = _sorted(given)
    for number, cell in ((4, 1.0), (3, 2.0)):
        size = 2**number // SIDE
        reached = set()
        for point in given / cell:
            for place in np.ndindex(size, size, size):
                low, high = SIDE * np.array(place), SIDE * np.array(place) + SIDE
                if ((point + 3 >= low) & (point - 3 < high)).all():
                    reached.add((place[0] * size + place[1]) * size + place[2])
        assert points.touched(number, 3.0).tolist() == sorted(reached)
        level = points.level(number, points.touched(number, 3.0))
        first, block = points.blocks_of(level, number)
        assert np.array_equal(level.blocks[block], (given[points.order] / cell / SIDE).astype(int))
        assert (np.diff(first, axis=1).ravel() == np.bincount(block, minlength=len(first))).all()


def test_normals_become_the_divergence_of_their_spread_and_a_pull_to_their_planes() -> None:
    rng = np.random.default_rng(1)
    level, given = _whole(2), rng.uniform(0, 16, (60, 3))
    points = _sorted(given)
    normals = rng.normal(size=(60, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    areas, weights = (rng.uniform(0.5, 1, 60).astype(np.float32) for _ in range(2))
    areas[:5] = 0
    inherited = np.arange(60) % 2 == 0
    right, sparse, hold = (np.zeros((8, SIDE, SIDE, SIDE), np.float32) for _ in range(3))
    first, _ = points.blocks_of(level, 4)
    point_kernels.gather_normals(
        points.scaled, 1.0, normals, areas, weights, inherited, first, level.blocks, level.around, 6.0,
        right, sparse, hold, *point_kernels.normals_scratch(), 0, 8,
    )  # fmt: skip
    place = points.scaled
    expected = np.zeros((2, 16, 16, 16))
    for axis in range(3):
        half = np.eye(3)[axis] / 2
        # The vector field lives on edges: half a vertex ahead, and half a vertex behind.
        slope = _splines(place - half, 16) - _splines(place + half, 16)
        for total, chosen in zip(expected, (areas, areas * inherited), strict=True):
            total += np.einsum("p,pijk->ijk", chosen * normals[:, axis], slope)
    assert np.allclose(_as_grid(sparse, 2), expected[1], atol=1e-5)
    pulls = _splines(place, 16) * (areas * weights)[:, None, None, None]
    total = np.maximum(pulls.sum(axis=0), 1e-9)
    agreement = np.linalg.norm(np.einsum("pijk,pc->ijkc", pulls, normals), axis=-1) / total
    vertex = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"), axis=-1)
    ahead = np.einsum("pijkc,pc->pijk", vertex[None] - place[:, None, None, None], normals)
    ahead = (pulls * ahead).sum(axis=0) / total / np.maximum(agreement, 0.1)
    pull = 6.0 * np.minimum(total, 1) * agreement**2
    assert np.allclose(_as_grid(hold, 2), pull, atol=1e-3)
    target = np.vectorize(point_kernels.profile)(ahead)
    assert np.allclose(_as_grid(right, 2), expected[0] - pull * target, atol=1e-3)


def test_relaxing_solves_the_equation() -> None:
    rng = np.random.default_rng(2)
    level = _whole(2)
    right, hold = (rng.uniform(size=(8, SIDE, SIDE, SIDE)).astype(np.float32) for _ in range(2))
    values = np.zeros_like(right)
    for _ in range(100):
        given = (values, right, hold, level.around, np.arange(8))
        field_kernels.relax(*given, *field_kernels.relax_scratch(), 0, 8)
    grid = _as_grid(values, 2).astype(np.float64)
    padded = np.pad(grid, 1, mode="edge")
    near = sum(np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1] for axis in range(3) for shift in (-1, 1))
    left = near - 6 * grid - _as_grid(hold, 2) * grid
    assert np.abs(left - _as_grid(right, 2)).max() < 1e-4


def test_refining_interpolates_linearly() -> None:
    coarse, fine = _whole(1, 2.0), _whole(2, 1.0)
    place = np.stack(np.meshgrid(*[np.arange(8.0)] * 3, indexing="ij"), axis=-1)
    values = (place @ [1.0, 2.0, 3.0])[None].astype(np.float32)
    result = np.zeros((8, SIDE, SIDE, SIDE), np.float32)
    parents = coarse.find(fine.centers(np.arange(8)))
    given = (fine.blocks, parents, coarse.around, values, result)
    field_kernels.refine(*given, *field_kernels.refine_scratch(), 0, 8)
    grid = _as_grid(result, 2)
    twice = np.stack(np.meshgrid(*[np.arange(15.0) / 2] * 3, indexing="ij"), axis=-1)
    assert np.allclose(grid[:15, :15, :15], twice @ [1.0, 2.0, 3.0])


def test_the_field_across_a_plane_is_the_integral_of_the_spline() -> None:
    t = np.linspace(-2, 2, 41)
    fine = np.linspace(-2, 2, 40_001)
    spline = np.array([point_kernels.quadratic(x) for x in fine])
    integral = np.interp(t, fine, np.cumsum(spline) * 1e-4) - 0.5
    assert np.allclose([point_kernels.profile(x) for x in t], integral, atol=1e-3)


def test_cells_of_noise_give_a_closed_manifold() -> None:
    """Every case and every pair of neighbouring cases occurs; the outermost vertices are outside."""
    rng = np.random.default_rng(3)
    grid = rng.normal(size=(32, 32, 32))
    grid[[0, -1]] = grid[:, [0, -1]] = grid[:, :, [0, -1]] = 1
    mesh = extract(_whole(4), _as_blocks(grid))
    faces = mesh.faces
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed, counts = np.unique(edges, axis=0, return_counts=True)
    assert counts.max() == 1
    assert {tuple(edge) for edge in directed} == {(b, a) for a, b in directed}
    assert triangles_of_cells()[0].max() <= 12


def test_the_zero_surface_faces_outwards_and_lies_where_the_field_is_zero() -> None:
    place = np.stack(np.meshgrid(*[np.arange(32.0)] * 3, indexing="ij"), axis=-1) - 15.2
    mesh = extract(_whole(4, 0.5), _as_blocks(np.linalg.norm(place, axis=-1) - 9))
    offset = mesh.vertices - 7.6
    assert np.abs(np.linalg.norm(offset, axis=1) - 4.5).max() < 0.01
    a, b, c = (offset[mesh.faces[:, k]] for k in range(3))
    assert np.einsum("nc,nc->", np.cross(a, b), c) / 6 == pytest.approx(4 / 3 * np.pi * 4.5**3, rel=0.01)


def _solved(points: np.ndarray, normals: np.ndarray, cell: float, **how: object) -> Mesh:
    samples = Samples(points, normals.astype(np.float32), np.ones(len(points), np.float32))
    field = Solver(samples, cell, **how).field()  # type: ignore[arg-type]
    return extract(field.level, field.values)


def test_threads_change_no_byte() -> None:
    cloud = sphere_cloud(60_000, noise=0.003)
    assert cloud.normals is not None
    keep = cloud.points[:, 1] < 0.9
    found = []
    for count in (1, 2, 5):
        with Threads(count) as threads:
            found.append(surface_from_points(cloud.subset(keep), faces=40_000, threads=threads)[0])
    for mesh in found[1:]:
        assert np.array_equal(mesh.vertices, found[0].vertices)
        assert np.array_equal(mesh.faces, found[0].faces)


def test_a_sphere_with_noise_and_a_hole_is_closed_and_close() -> None:
    cloud = sphere_cloud(20_000, noise=0.003)
    assert cloud.normals is not None
    keep = cloud.points[:, 1] < 0.9
    mesh = _solved(cloud.points[keep], cloud.normals[keep], 0.04, gap=0.5)
    assert border(mesh).edges == 0
    error = np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1)
    assert error[mesh.vertices[:, 1] < 0.85].max() < 0.02
    assert error.max() < 0.2


def test_sparse_points_beside_dense_ones_give_one_surface() -> None:
    cloud = sphere_cloud(40_000)
    assert cloud.normals is not None
    keep = (cloud.points[:, 1] > 0) | (np.arange(len(cloud)) % 16 == 0)
    mesh = _solved(cloud.points[keep], cloud.normals[keep], 0.03, gap=0.3)
    assert border(mesh).edges == 0
    error = np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1)
    assert error[mesh.vertices[:, 1] > 0.2].max() < 0.01
    assert error.max() < 0.04


def test_space_that_is_seen_through_stays_outside() -> None:
    """Of two open cups that face each other, the gap between is closed unless photos see through it."""
    cloud = sphere_cloud(30_000)
    assert cloud.normals is not None
    keep = np.abs(cloud.points[:, 1]) > 0.5

    def see_through(points: np.ndarray, radius: float) -> np.ndarray:
        return np.abs(points[:, 1]) + radius < 0.5

    closed = _solved(cloud.points[keep], cloud.normals[keep], 0.03, gap=0.6)
    parted = _solved(cloud.points[keep], cloud.normals[keep], 0.03, gap=0.6, see_through=see_through)
    assert (np.abs(closed.vertices[:, 1]) < 0.05).sum() > 500
    assert (np.abs(parted.vertices[:, 1]) < 0.05).sum() == 0

from __future__ import annotations

import functools
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from recon3d.surface.normals import vertex_normals
from recon3d.surface.simplification import simplify
from recon3d.texture.fine_surface import FineSurface, look_up
from recon3d.texture.normal_map import FLAT, CoarseSurface, bake_rows
from recon3d.texture.tangents import vertex_tangents
from recon3d.types import Bytes, Floats, Mesh
from tests.synthetic.bumps import around, atlas_of, bumpy_sphere, true_normals
from tests.synthetic.shapes import grid_mesh
from tests.texture import normal_map_twin as twin


def fine_of(mesh: Mesh) -> FineSurface:
    return FineSurface.of(mesh, vertex_normals(mesh))


def plane(side: float = 1.0, mirrored: bool = False) -> CoarseSurface:
    """A square in z = 0 that looks along +z; the map lies along x and y, x turned when mirrored."""
    vertices = side * np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    normals = np.tile(np.float32([0, 0, 1]), (4, 1))
    uv = (vertices[:, :2] / side).astype(np.float32)
    if mirrored:
        uv[:, 0] = 1 - uv[:, 0]
    xy = np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1) * 16.0
    tangents = vertex_tangents(vertices, normals, uv, faces)
    owner = np.zeros((16, 16), np.int32)
    return CoarseSurface(vertices, normals, tangents, xy, faces, np.zeros(2, np.int32), owner, 0.3 * side)


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_faces_without_an_area_do_not_make_cells_without_a_size(share: float) -> None:
    sheet = grid_mesh(1.0, cells=20)
    limit = np.quantile(sheet.vertices[:, 0], 1 - share)
    flat = sheet.vertices.copy()
    flat[sheet.vertices[:, 0] >= limit, 0] = limit  # onto a line: no area, and as long as before
    fine = fine_of(replace(sheet, vertices=flat))
    assert 0.05 < fine.cell <= 2
    assert len(fine.items) < 20 * len(sheet.faces)


def tilted(x: float, y: float) -> Mesh:
    """A plane that rises by x along x and by y along y."""
    vertices = np.array([[-1.0, -1, 0], [2, -1, 0], [2, 2, 0], [-1, 2, 0]])
    vertices[:, 2] = x * (vertices[:, 0] - 0.5) + y * (vertices[:, 1] - 0.5)
    return Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32))


@pytest.mark.parametrize("mirrored", [False, True])
def test_red_is_along_u_and_green_up_in_the_picture(mirrored: bool) -> None:
    """A surface that rises to the right looks to the left; one that rises upwards looks down."""
    coarse, turned = plane(mirrored=mirrored), -1 if mirrored else 1
    to_the_right = bake_rows(coarse, fine_of(tilted(0.5, 0)), 0, 16).astype(int) - 127.5
    assert np.all(turned * to_the_right[..., 0] < -50)
    np.testing.assert_allclose(to_the_right[..., 1], 0.5)
    upwards = bake_rows(coarse, fine_of(tilted(0, 0.5)), 0, 16).astype(int) - 127.5
    np.testing.assert_allclose(upwards[..., 0], 0.5)
    assert np.all(upwards[..., 1] < -50)
    slope = np.degrees(np.arctan2(-upwards[..., 1], upwards[..., 2]))
    np.testing.assert_allclose(slope, np.degrees(np.arctan(0.5)), atol=0.4)


def test_the_map_is_flat_where_the_fine_surface_is_far_or_looks_away() -> None:
    coarse = plane()
    above = tilted(0.5, 0)
    above.vertices[:, 2] += 1.5
    assert np.all(bake_rows(coarse, fine_of(above), 0, 16) == FLAT)
    back = tilted(0.5, 0)
    assert np.all(bake_rows(coarse, fine_of(Mesh(back.vertices, back.faces[:, ::-1])), 0, 16) == FLAT)


def test_only_a_chart_s_own_texels_are_written() -> None:
    coarse = plane()
    coarse.owner[:, 8:] = -1
    coarse.owner[:8, :8] = 7
    made = bake_rows(coarse, fine_of(tilted(0.5, 0)), 0, 16)
    written = np.any(made != np.uint8(FLAT), axis=2)
    np.testing.assert_array_equal(written, coarse.owner == 0)


@functools.cache
def sphere(size: int, cells: int, faces: int) -> tuple[CoarseSurface, FineSurface]:
    mesh = bumpy_sphere(cells)
    coarse = simplify(mesh, faces)
    (surface,) = CoarseSurface.of_pages(coarse, *atlas_of(coarse, around(size), 4096))
    return surface, fine_of(mesh)


def baked(coarse: CoarseSurface, fine: FineSurface, parts: int = 1) -> Bytes:
    ends = [len(coarse.owner) * part // parts for part in range(parts + 1)]
    rows = [bake_rows(coarse, fine, a, b) for a, b in pairwise(ends)]
    return np.concatenate(rows)


def degrees(found: Floats, truth: Floats) -> Floats:
    return np.degrees(np.arccos(np.clip(np.einsum("nc,nc->n", found, truth), -1, 1)))


def mirrored(coarse: CoarseSurface) -> CoarseSurface:
    """The same with its map turned over."""
    size = len(coarse.owner)
    xy, owner = coarse.xy * [-1, 1] + [size, 0], np.ascontiguousarray(coarse.owner[:, ::-1])
    return replace(coarse, xy=xy, owner=owner, tangents=coarse.tangents * np.float32([-1, -1, -1, -1]))


def test_two_thousand_triangles_have_the_normals_of_two_hundred_thousand() -> None:
    coarse, fine = sphere(800, 132, 2000)
    assert len(fine.faces) > 200_000
    rng = np.random.default_rng(0)
    faces = coarse.faces[rng.integers(0, len(coarse.faces), 20_000)]
    weights = rng.dirichlet([1, 1, 1], len(faces))
    truth = true_normals(twin.unit(np.einsum("nk,nkc->nc", weights, coarse.vertices[faces])))
    # Without the map 11.4 degrees in the median, with it 0.3, and 0.6 in the worst hundredth.
    without = degrees(twin.coarse_frame(coarse, faces, weights)[:, 2], truth)
    assert np.median(without) > 10
    for side, target in ((1, coarse), (-1, mirrored(coarse))):
        assert set(target.tangents[faces[:, 0], 3]) == {side}
        frames = twin.coarse_frame(target, faces, weights)
        places = np.einsum("nk,nkc->nc", weights, target.xy[faces])
        errors = degrees(twin.read_normals(baked(target, fine), places, frames), truth)
        assert np.median(errors) < 0.5
        assert np.quantile(errors, 0.99) < 1


def test_parts_give_the_same_map_as_the_whole() -> None:
    coarse, fine = sphere(200, 40, 600)
    np.testing.assert_array_equal(baked(coarse, fine, 7), baked(coarse, fine))


def test_the_map_is_that_of_the_twin() -> None:
    coarse, fine = sphere(40, 9, 100)
    made, slow = baked(coarse, fine), twin.bake(coarse, fine)
    charts = coarse.owner >= 0
    # Rounding may decide between two faces, and between two values.
    away = np.abs(made.astype(int) - slow).max(axis=2)[charts]
    assert np.any(made != np.uint8(FLAT), axis=2)[charts].mean() > 0.5
    assert np.mean(away <= 1) > 0.995


def test_look_ups_are_those_of_the_twin() -> None:
    fine = fine_of(bumpy_sphere(9))
    rng = np.random.default_rng(1)
    weights, found = np.empty(3), np.empty((2, 3))
    rows = []
    for _ in range(150):
        normal = twin.unit(rng.normal(size=3))
        place = rng.uniform(0.8, 1.2) * twin.unit(normal + 0.4 * rng.normal(size=3))
        reach = rng.choice([0.05, 0.15, 0.5])
        table = fine.vertices, fine.normals, fine.faces, fine.cell, fine.starts, fine.items
        row = look_up(*table, *place, *normal, reach, weights, found)
        expected = twin.fine_normal(fine, place, normal, reach)
        rows.append(row)
        assert (row < 0) == (expected is None)
        if expected is not None:
            np.testing.assert_allclose(found[row], expected, atol=1e-6)
    # All three outcomes.
    assert {-1, 0, 1} == set(rows)


def test_tangents_are_those_of_the_twin() -> None:
    coarse, _ = sphere(40, 9, 100)
    uv = np.stack([coarse.xy[:, 0], -coarse.xy[:, 1]], axis=1).astype(np.float32)
    # Some charts mirrored, some not.
    uv[np.isin(np.arange(len(uv)), coarse.faces[coarse.chart % 2 == 0]), 0] *= -1
    # Without those of the faces that no photo sees, which have no chart.
    used = np.unique(coarse.faces)
    made = vertex_tangents(coarse.vertices, coarse.normals, uv, coarse.faces)
    expected = twin.tangents(coarse.vertices, coarse.normals, uv, coarse.faces)
    np.testing.assert_allclose(made[used], expected[used], atol=1e-5)
    assert set(made[used, 3]) == {-1, 1}


def test_tangents_are_unit_vectors_also_where_the_texture_has_no_area() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    normals = np.tile(np.float32([0, 0.6, 0.8]), (3, 1))
    made = vertex_tangents(vertices, normals, np.zeros((3, 2), np.float32), np.array([[0, 1, 2]]))
    np.testing.assert_allclose(np.linalg.norm(made[:, :3], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.einsum("nc,nc->n", made[:, :3], normals), 0, atol=1e-6)
    assert set(made[:, 3]) == {1}


def test_pages_of_a_map_are_those_of_the_whole() -> None:
    mesh = bumpy_sphere(24)
    coarse, views = simplify(mesh, 800), around(140)
    fine = fine_of(mesh)
    plan, layouts = atlas_of(coarse, views, 128, pages=4)
    assert plan.pages == 4
    surfaces = CoarseSurface.of_pages(coarse, plan, layouts)
    assert sum(len(surface.faces) for surface in surfaces) == np.count_nonzero(plan.charts.face_chart >= 0)
    for surface, layout in zip(surfaces, layouts, strict=True):
        made = bake_rows(surface, fine, 0, len(layout.owner))
        assert np.mean(np.any(made != np.uint8(FLAT), axis=2)) > 0.4
        # The twin is slow: some texels.
        rows, columns = np.nonzero(layout.owner >= 0)
        some = np.random.default_rng(0).choice(len(rows), 40, replace=False)
        owner = np.full_like(layout.owner, -1)
        owner[rows[some], columns[some]] = layout.owner[rows[some], columns[some]]
        alone = twin.bake(replace(surface, owner=owner), fine)
        assert np.any(alone[rows[some], columns[some]] != np.uint8(FLAT), axis=1).sum() > 30
        difference = made.astype(int)[rows[some], columns[some]] - alone[rows[some], columns[some]]
        assert np.abs(difference).max() <= 1

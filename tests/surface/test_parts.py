"""A scene shared among boxes, and surfaces cut off at planes and joined there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon3d.surface.clipping import clip
from recon3d.surface.connectivity import border_vertices
from recon3d.surface.normals import face_areas, usual_edge
from recon3d.surface.parting import part_space
from recon3d.surface.simplification import simplify
from recon3d.surface.stitching import stitch
from recon3d.types import Mesh
from tests.surface.whole import surface_from_points
from tests.synthetic.box import box_mesh, joined
from tests.synthetic.shapes import grid_mesh, sphere_cloud


@pytest.fixture(scope="module")
def sphere() -> Mesh:
    made, _, _ = surface_from_points(sphere_cloud(20_000), faces=20_000)
    return Mesh(made.vertices, made.faces, guessed=np.zeros(len(made.vertices), bool))


def _area(mesh: Mesh) -> float:
    return float(face_areas(mesh.vertices, mesh.faces).sum())


def _edge(mesh: Mesh) -> float:
    return usual_edge(face_areas(mesh.vertices, mesh.faces))


def _both(mesh: Mesh, axis: int, at: float) -> tuple[Mesh, Mesh]:
    return clip(mesh, axis, at, above=False), clip(mesh, axis, at, above=True)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(0, 1000))
def test_every_place_is_in_one_part(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(3000, 3)) * (3, 2, 1)
    parting = part_space(points, count, 0.05)
    elsewhere = rng.normal(size=(500, 3)) * 20
    for places in (points, elsewhere):
        inside = np.all((places[:, None] >= parting.low) & (places[:, None] < parting.high), axis=2)
        assert (inside.sum(axis=1) == 1).all()
    sizes = np.all((points[:, None] >= parting.low) & (points[:, None] < parting.high), axis=2).sum(axis=0)
    # Each of at most four cuts may be uneven by three tenths.
    assert sizes.min() >= 0.7**4 * len(points) / count - 4
    left = set(range(count))
    for seam in parting.seams:
        assert {seam.below, seam.above} <= left
        left.remove(seam.above)
    assert left == {0}


def test_planes_pass_beside_walls() -> None:
    """Two walls close to each other, and a floor: the middle of the points lies in a wall."""
    rng = np.random.default_rng(0)
    y, z = rng.random((2, 6000))
    floor = np.stack([4 * rng.random(2000), rng.random(2000), np.zeros(2000)], axis=1)
    walls = [np.stack([np.full(6000, x), y, z], axis=1) for x in (1.9, 2.1)]
    parting = part_space(np.concatenate([*walls, floor]), 2, 0.05)
    (seam,) = parting.seams
    assert seam.axis == 0
    assert min(abs(seam.at - 1.9), abs(seam.at - 2.1)) > 0.05


@pytest.mark.parametrize(("count", "margin"), [(8, 0.05), (12, 0.25), (16, 0.5), (32, 0.5)])
def test_planes_do_not_lie_in_the_ground(count: int, margin: float) -> None:
    """Also where parts are so small that all points are near to any plane."""
    rng = np.random.default_rng(0)
    ground, post = rng.random((8000, 3)), rng.random((3000, 3))
    ground[:, 1] = rng.normal(0, 0.001, 8000)
    post *= (0.3, 0.6, 0.3)
    for seam in part_space(np.concatenate([ground, post]), count, margin).seams:
        assert seam.axis != 1 or seam.at > 0.01


def test_parts_of_no_points_are_parts() -> None:
    parting = part_space(np.zeros((0, 3)), 3, 0.1)
    assert parting.low.shape == (3, 3)
    assert len(parting.seams) == 2


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("at", [0.0, 0.31, -0.77])
def test_a_sphere_is_cut_in_two(sphere: Mesh, axis: int, at: float) -> None:
    below, above = _both(sphere, axis, at)
    assert below.vertices[:, axis].max() == at
    assert above.vertices[:, axis].min() == at
    assert _area(below) + _area(above) == pytest.approx(_area(sphere), rel=1e-3)
    assert _area(above) == pytest.approx(2 * np.pi * (1 - at), rel=5e-3)
    for part in (below, above):
        rim = part.vertices[border_vertices(part.faces)]
        assert (rim[:, axis] == at).all()
        assert np.linalg.norm(rim, axis=1) == pytest.approx(1, abs=0.01)
    slivers = [
        (face_areas(part.vertices, part.faces) < 1e-3 * _edge(sphere) ** 2).sum() for part in (below, above)
    ]
    assert sum(slivers) <= (face_areas(sphere.vertices, sphere.faces) < 1e-3 * _edge(sphere) ** 2).sum() + 20


def test_triangles_at_the_plane_are_on_one_side() -> None:
    """A grid in the plane, one that ends at it, and one far away."""
    flat = grid_mesh(cells=4)
    for axis in range(3):
        mesh = replace(flat, vertices=np.roll(flat.vertices, axis + 1, axis=1))
        level = int(np.argmin(np.ptp(mesh.vertices, axis=0)))
        at = float(mesh.vertices[0, level])
        below, above = _both(mesh, level, at)
        assert (len(below.faces), len(above.faces)) == (len(mesh.faces), 0)
        side = (level + 1) % 3
        edge = float(mesh.vertices[:, side].max())
        below, above = _both(mesh, side, edge)
        assert (len(below.faces), len(above.faces)) == (len(mesh.faces), 0)
        below, above = _both(mesh, side, edge + 5)
        assert (len(below.faces), len(above.faces)) == (len(mesh.faces), 0)


def test_a_cut_edge_is_a_guess_if_both_ends_are(sphere: Mesh) -> None:
    guessed = sphere.vertices[:, 1] > 0
    part = clip(replace(sphere, guessed=guessed), 0, 0.2, above=True)
    assert part.guessed is not None
    edge = 3 * _edge(sphere)
    assert part.guessed[part.vertices[:, 1] > edge].all()
    assert not part.guessed[part.vertices[:, 1] < -edge].any()


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15])
def test_halves_become_one_closed_surface(sphere: Mesh, noise: float) -> None:
    """Also where both halves are a little different, and thinned with their borders held."""
    rng, edge = np.random.default_rng(0), _edge(sphere)
    halves = []
    for above in (False, True):
        moved = sphere.vertices + rng.normal(0, noise * edge, sphere.vertices.shape)
        half = clip(replace(sphere, vertices=moved), 0, 0.1, above=above)
        halves.append(simplify(half, len(half.faces) // 2, held=half.vertices[:, 0] == 0.1))
    for half in halves:
        near = np.abs(half.vertices[:, 0] - 0.1) < 1e-12
        half.vertices[near, 0] = 0.1
        assert near.sum() > 100
    whole = stitch(*halves, 0, 0.1, 2 * edge)
    # At 0.15 edges of noise, borders fold back here and there.
    assert len(border_vertices(whole.faces)) <= (0 if noise < 0.1 else 6)
    assert len(whole.faces) >= 0.98 * sum(len(half.faces) for half in halves)
    assert np.abs(np.linalg.norm(whole.vertices, axis=1) - 1).max() < 0.02 + 4 * noise * edge
    assert whole.guessed is not None
    assert len(whole.guessed) == len(whole.vertices)


@pytest.mark.parametrize(("size", "offset"), [(1, 0), (1, 1e6), (1e-6, 0), (1e-6, 1)])
def test_quarters_become_one_closed_surface(sphere: Mesh, size: float, offset: float) -> None:
    """Also where a third part meets the border of two, a little apart from each other."""
    rng, edge, middle = np.random.default_rng(0), _edge(sphere), np.array([1, -2, 3]) * offset
    across, *along = middle[0] + 0.1 * size, middle[1] - 0.2 * size, middle[1] + 0.3 * size
    halves = []
    for above, at in zip((False, True), along, strict=True):
        quarters = []
        for upper in (False, True):
            moved = sphere.vertices + rng.normal(0, 0.05 * edge, sphere.vertices.shape)
            half = clip(replace(sphere, vertices=moved * size + middle), 0, across, above=above)
            quarters.append(clip(half, 1, at, above=upper))
        reach = 2 * edge * size
        halves.append(stitch(*quarters, 1, at, reach, later=[(0, across)]))
        rim = halves[-1].vertices[border_vertices(halves[-1].faces)]
        assert (rim[:, 0] == across).all()
    whole = stitch(*halves, 0, across, 2 * edge * size)
    assert not len(border_vertices(whole.faces))
    assert np.linalg.norm((whole.vertices - middle) / size, axis=1) == pytest.approx(1, abs=0.03)


def test_the_sides_of_a_thin_wall_do_not_touch() -> None:
    """Two sheets that face away from each other, a fifth of an edge apart, cut across."""
    sheet = grid_mesh(cells=20)
    level = int(np.argmin(np.ptp(sheet.vertices, axis=0)))
    across = (level + 1) % 3
    apart = np.zeros(3)
    apart[level] = 0.2 * _edge(sheet)
    other = Mesh(sheet.vertices + apart, sheet.faces[:, ::-1].copy())
    wall = joined(sheet, other)
    below, above = _both(wall, across, 0.03)
    whole = stitch(below, above, across, 0.03, 2 * _edge(sheet))
    assert _area(whole) == pytest.approx(_area(wall), rel=1e-6)
    rim = whole.vertices[border_vertices(whole.faces)]
    assert not ((np.abs(rim[:, across] - 0.03) < 1e-9) & (np.abs(rim) < 0.9).all(axis=1)).any()


def test_what_is_far_apart_is_not_joined() -> None:
    box = box_mesh(6)
    below, above = _both(box, 0, 0.0)
    far = replace(above, vertices=above.vertices + np.array([0, 5, 0]))
    whole = stitch(below, far, 0, 0.0, 0.1)
    assert len(whole.faces) == len(below.faces) + len(above.faces)
    nothing = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    assert np.array_equal(stitch(below, nothing, 0, 0.0, 0.1).faces, below.faces)
    assert _area(stitch(nothing, above, 0, 0.0, 0.1)) == pytest.approx(_area(above))


def test_held_vertices_stay(sphere: Mesh) -> None:
    held = np.abs(sphere.vertices[:, 0]) < 0.05
    thinned = simplify(sphere, len(sphere.faces) // 4, held=held)
    assert len(thinned.faces) <= len(sphere.faces) // 4
    kept = np.abs(thinned.vertices[:, None] - sphere.vertices[held][::20]).max(axis=2).min(axis=0)
    assert kept.max() < 1e-12

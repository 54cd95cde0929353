"""The box of known colours, its texture in one page and in several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recon3d.errors import OptionError
from recon3d.texture.charts import Charts, build_charts
from recon3d.texture.grid import (
    face_pages,
    grid_of,
    in_grid,
    most_pages,
    page_coordinates,
    page_pictures,
    within_grid,
    within_page,
)
from recon3d.texture.pages import Plan, in_pages, parts_of_charts
from recon3d.texture.painting import TextureCounts
from recon3d.texture.seams import Sampling, find_seams
from recon3d.texture.topology import face_pairs
from recon3d.threads import Threads
from recon3d.types import Mesh, TexturedMesh, View
from tests.synthetic.box import box_mesh, photograph, rate, ring, true_color
from tests.synthetic.bumps import around, atlas_of, bumpy_sphere
from tests.texture.test_assemble import errors, exposures, lookup, random_weights
from tests.texture.whole import texture_mesh

SIDE = 208


@pytest.fixture(scope="module")
def setting() -> tuple[Mesh, list[View], list[np.ndarray]]:
    mesh, views = box_mesh(20), ring(10)
    return mesh, views, [photograph(mesh, v, g) for v, g in zip(views, exposures(10), strict=True)]


def painted(
    setting: tuple[Mesh, list[View], list[np.ndarray]], size: int, pages: int, threads: int = 1
) -> tuple[TexturedMesh, TextureCounts]:
    mesh, views, photos = setting
    candidates = rate(mesh, views, photos).candidates()
    with Threads(threads) as pool:
        given = (mesh, views, candidates, photos.__getitem__)
        return texture_mesh(*given, texture_size=size, pages=pages, threads=pool)


@pytest.fixture(scope="module")
def whole(setting: tuple[Mesh, list[View], list[np.ndarray]]) -> tuple[TexturedMesh, TextureCounts]:
    return painted(setting, 1024, 1)


@pytest.fixture(scope="module")
def paged(setting: tuple[Mesh, list[View], list[np.ndarray]]) -> tuple[TexturedMesh, TextureCounts]:
    return painted(setting, SIDE, 9)


def test_what_fits_has_one_page_however_many_there_may_be(
    setting: tuple[Mesh, list[View], list[np.ndarray]], whole: tuple[TexturedMesh, TextureCounts]
) -> None:
    more, counts = painted(setting, 1024, 9)
    assert (counts.pages, more.pages) == (1, (1, 1))
    np.testing.assert_array_equal(more.texture, whole[0].texture)
    np.testing.assert_array_equal(more.uv, whole[0].uv)


def test_several_pages_have_the_photos_resolution_where_one_has_not(
    setting: tuple[Mesh, list[View], list[np.ndarray]],
    whole: tuple[TexturedMesh, TextureCounts],
    paged: tuple[TexturedMesh, TextureCounts],
) -> None:
    one, few = painted(setting, SIDE, 1)
    textured, counts = paged
    assert whole[1].scale == 1
    assert few.pages == 1
    assert few.scale < 0.6
    assert 2 <= counts.pages <= 9
    assert counts.scale > 0.9
    assert counts.atlas_size == SIDE
    assert textured.pages == grid_of(counts.pages)
    assert textured.texture.shape == (SIDE * textured.pages[0], SIDE * textured.pages[1], 3)
    np.testing.assert_array_equal(textured.faces, whole[0].faces)
    # Charts that are long for a page are cut.
    assert counts.charts > whole[1].charts
    for name in ("faces_seen", "faces_unseen", "views_used", "outliers", "doubted"):
        assert getattr(counts, name) == getattr(whole[1], name)
    assert counts.filled > 0.4
    seen = rate(*setting).candidates().counts > 0
    small, split = (errors(made)[seen] for made in (one, textured))
    assert np.median(split) < np.median(small)


def test_no_face_lies_in_two_pages(paged: tuple[TexturedMesh, TextureCounts]) -> None:
    textured, counts = paged
    rows, columns = textured.pages
    corner = textured.uv[textured.face_uv].astype(float)
    column = np.floor(np.clip(corner[..., 0] * columns, 1e-6, columns - 1e-6))
    row = np.floor(np.clip((1 - corner[..., 1]) * rows, 1e-6, rows - 1e-6))
    assert (np.ptp(column, axis=1) == 0).all()
    assert (np.ptp(row, axis=1) == 0).all()
    page = face_pages(textured)
    np.testing.assert_array_equal(page, row[:, 0] * columns + column[:, 0])
    assert sorted(set(page.tolist())) == list(range(counts.pages))


def test_seams_between_pages_are_closed_as_those_within(
    setting: tuple[Mesh, list[View], list[np.ndarray]],
) -> None:
    textured, counts = painted(setting, 256, 9)
    # Of the same scale: at outlines, smaller photos mix in what is behind.
    single, one = painted(setting, 400, 1)
    assert counts.pages == 3
    assert one.scale == pytest.approx(counts.scale, abs=0.02)
    pairs, page = face_pairs(textured.faces), face_pages(textured)
    seen = (rate(*setting).candidates().counts[pairs.faces] > 0).all(axis=1)
    apart = seen & (page[pairs.faces[:, 0]] != page[pairs.faces[:, 1]])
    assert apart.sum() > 80

    def steps(mesh: TexturedMesh) -> np.ndarray:
        sides = []
        for side in range(2):
            faces, corners = pairs.faces[apart, side], pairs.corners[apart, side].astype(int)
            weights = np.zeros((len(faces), 3))
            np.put_along_axis(weights, corners, 0.5, axis=1)
            part = replace(mesh, faces=mesh.faces[faces], face_uv=mesh.face_uv[faces])
            sides.append(lookup(part, weights))
        np.testing.assert_allclose(sides[0][0], sides[1][0], atol=1e-9)
        return np.abs(sides[0][1] - sides[1][1]).max(axis=1)

    across, within = steps(textured), steps(single)
    # Photos differ by up to 30 % in exposure.
    assert np.median(across) < 1
    for share in (0.8, 0.9):
        assert np.quantile(across, share) < 1.3 * np.quantile(within, share) + 0.5


def test_pages_are_the_same_with_any_number_of_threads(
    setting: tuple[Mesh, list[View], list[np.ndarray]], paged: tuple[TexturedMesh, TextureCounts]
) -> None:
    again = painted(setting, SIDE, 9, threads=3)[0]
    np.testing.assert_array_equal(again.texture, paged[0].texture)


def test_unseen_faces_go_on_with_the_colours_around_in_the_last_page(
    setting: tuple[Mesh, list[View], list[np.ndarray]], paged: tuple[TexturedMesh, TextureCounts]
) -> None:
    textured = paged[0]
    unseen = rate(*setting).candidates().counts == 0
    assert unseen.sum() >= 800
    assert (face_pages(textured)[unseen] == paged[1].pages - 1).all()
    points, colors = lookup(textured, random_weights(len(textured)))
    edge = unseen & (points[:, 1] < -0.699) & (np.abs(points[:, 2]) > 0.57)
    assert np.median(errors(textured)[edge]) < 18
    assert true_color(points[edge]).std() > 5
    assert colors[edge].min() > 20


@pytest.mark.parametrize("pages", [2, 3, 5, 9])
def test_charts_are_renumbered_page_by_page_and_are_the_same_charts(pages: int) -> None:
    mesh, views = bumpy_sphere(24), around(200)
    single, _ = atlas_of(mesh, views, 4096)
    plan, _ = atlas_of(mesh, views, 112, pages=pages)
    assert plan.pages == pages
    before, after = single.charts, plan.charts
    assert plan.starts[0] == 0
    assert plan.starts[-1] == len(after)
    assert (np.diff(plan.starts) > 0).all()
    np.testing.assert_array_equal(np.diff(after.node_chart) >= 0, True)
    seen = before.face_chart >= 0
    np.testing.assert_array_equal(after.face_chart >= 0, seen)
    for name in ("xy", "depth", "node_vertex"):
        old, new = getattr(before, name), getattr(after, name)
        np.testing.assert_array_equal(new[after.face_nodes[seen]], old[before.face_nodes[seen]])
    pair = np.unique(np.stack([before.face_chart, after.face_chart], axis=1)[seen], axis=0)
    assert len(pair) == len(before)
    np.testing.assert_array_equal(before.chart_view[pair[:, 0]], after.chart_view[pair[:, 1]])
    assert sum(len(plan.views(page)) for page in range(plan.pages)) >= len(np.unique(after.chart_view))
    faces = 0
    for page in range(plan.pages):
        part = plan.charts_of(page)
        inside = part.face_chart >= 0
        faces += int(inside.sum())
        nodes = plan.nodes(page)
        assert len(nodes) == len(part.node_vertex)
        np.testing.assert_array_equal(part.face_nodes[inside] + nodes.start, after.face_nodes[inside])
        assert part.cells.count == (after.cells.count if page == plan.pages - 1 else 0)
    assert faces == seen.sum()


def test_sides_of_seams_come_together_from_the_pages() -> None:
    mesh, views = bumpy_sphere(16), around(150)
    plan, layouts = atlas_of(mesh, views, 128, pages=4)
    assert plan.pages == 4
    sampling = Sampling.of(plan.seams, np.concatenate([layout.node_xy for layout in layouts]))
    total = int(sampling.starts[-1])
    truth = np.random.default_rng(0).integers(-900, 900, (total, 2, 3)).astype(np.int16)
    parts = []
    for page in range(plan.pages):
        sides = sampling.sides_in(plan.nodes(page))
        colors = [truth[sampling.starts[e] : sampling.starts[e + 1], side] for e, side in sides]
        parts.append(np.concatenate(colors))
    nodes = [plan.nodes(page) for page in range(plan.pages)]
    np.testing.assert_array_equal(sampling.together(nodes, parts), truth)


def test_pages_that_are_too_small_say_what_to_change() -> None:
    mesh, views = box_mesh(20), ring(10)
    candidates = rate(mesh, views, [photograph(mesh, view) for view in views]).candidates()
    with pytest.raises(OptionError) as error:
        texture_mesh(
            mesh, views, candidates, lambda _: np.zeros((1, 1, 3), np.uint8), texture_size=16, pages=2
        )
    assert "texture_size" in error.value.hint


def test_more_pages_than_charts_are_not_made() -> None:
    mesh, views = box_mesh(4), ring(3)
    pairs = face_pairs(mesh.faces)
    labels = np.where(np.arange(len(mesh.faces)) < len(mesh.faces) // 2, 0, 1).astype(np.int32)
    charts = build_charts(mesh, pairs, labels, views)
    ordered, starts = in_pages(charts, mesh.vertices, 16, 64)
    assert len(starts) - 1 == len(charts) == 2
    plan = Plan(ordered, starts, find_seams(ordered, pairs, np.ones(len(labels), np.float32)))
    assert [len(plan.charts_of(page)) for page in range(2)] == [1, 1]


def test_long_charts_are_cut_along_squares_of_their_photo() -> None:
    mesh, views = bumpy_sphere(24), around(200)
    pairs, side = face_pairs(mesh.faces), 128
    plan, _ = atlas_of(mesh, views, 4096)
    labels = plan.charts.labels
    parts = parts_of_charts(plan.charts, side)
    assert parts is not None
    np.testing.assert_array_equal(parts >= 0, plan.charts.face_chart >= 0)
    cut = build_charts(mesh, pairs, labels, views, parts)
    assert len(cut) > len(plan.charts)
    seen = np.flatnonzero(cut.face_chart >= 0)
    np.testing.assert_array_equal(cut.chart_view[cut.face_chart[seen]], labels[seen])
    # Each part lies in one chart, and is about as long as it may be at most.
    whole = np.unique(np.stack([cut.face_chart, plan.charts.face_chart], axis=1)[seen], axis=0)
    assert len(whole) == len(cut)
    low, high = np.full((len(cut), 2), np.inf), np.full((len(cut), 2), -np.inf)
    np.minimum.at(low, cut.node_chart, cut.xy)
    np.maximum.at(high, cut.node_chart, cut.xy)
    assert (high - low).max() < 0.4 * side + 15
    assert parts_of_charts(plan.charts, 4096) is None


def test_the_page_of_the_cells_has_fewer_charts() -> None:
    mesh, views = bumpy_sphere(24), around(150)
    plan, _ = atlas_of(mesh, views, 4096)
    charts = plan.charts
    many = replace(charts, cells=replace(charts.cells, count=8000))
    side = 192
    _, plain = in_pages(charts, mesh.vertices, side, 3)
    ordered, starts = in_pages(many, mesh.vertices, side, 3)
    assert len(plain) == len(starts) == 4

    def last(made: Charts, first: int) -> int:
        return int(np.count_nonzero(made.face_chart >= first))

    assert last(ordered, starts[-2]) < 0.7 * len(mesh.faces) / 3


@pytest.mark.parametrize("pages", [1, 2, 3, 4, 7, 9])
def test_a_grid_takes_pages_and_gives_them_back(pages: int) -> None:
    rows, columns = grid = grid_of(pages)
    assert rows * columns >= pages > (rows - 1) * columns
    pictures = [np.full((6, 6, 3), page + 1, np.uint8) for page in range(pages)]
    texture = in_grid(pictures, grid)
    assert texture.shape == (6 * rows, 6 * columns, 3)
    for picture, back in zip(pictures, page_pictures(texture, grid), strict=False):
        np.testing.assert_array_equal(picture, back)
    # Where there is none the last one stands again: what is shrunk mixes in no black.
    assert texture.min() == 1
    uv = np.random.default_rng(pages).random((20, 2)).astype(np.float32)
    for page in range(pages):
        placed = within_grid(uv, page, grid)
        np.testing.assert_allclose(within_page(placed, page, grid), uv, atol=1e-5)
        row, column = divmod(page, columns)
        assert (np.floor(placed[:, 0] * columns) == column).all()
        assert (np.floor((1 - placed[:, 1]) * rows) == row).all()
        faces = np.arange(18, dtype=np.int32).reshape(-1, 3)
        mesh = TexturedMesh(np.zeros((20, 3)), faces, placed, faces, texture, grid)
        assert (face_pages(mesh) == page).all()
        np.testing.assert_allclose(page_coordinates(mesh, face_pages(mesh))[:18], uv[:18], atol=1e-5)


def test_pages_side_by_side_can_be_looked_up() -> None:
    assert [most_pages(side) for side in (4096, 8192, 16384)] == [49, 9, 1]

from __future__ import annotations

import numpy as np
import pytest

from recon3d.errors import OptionError
from recon3d.texture.charts import PADDING, Charts, build_charts, lay_out
from recon3d.texture.packing import Profiles, join, pack, profiles, rectangle
from recon3d.texture.topology import face_pairs
from recon3d.types import Mesh, View
from tests.synthetic.box import box_mesh, photograph, rate, ring


def columns(widths: np.ndarray, heights: np.ndarray) -> Profiles:
    parts = [rectangle(int(w), int(h)) for w, h in zip(widths, heights, strict=True)]
    joined = parts[0]
    for part in parts[1:]:
        joined = join(joined, part)
    return joined


def occupancy(charts: Profiles, positions: np.ndarray, size: int) -> np.ndarray:
    """How many charts claim each texel; raises where one leaves the square."""
    count = np.zeros((size, size), int)
    for n, (x, y) in enumerate(positions):
        for i, place in enumerate(range(charts.starts[n], charts.starts[n + 1])):
            assert 0 <= x + i < size
            assert 0 <= y + charts.low[place] <= y + charts.high[place] <= size
            count[y + charts.low[place] : y + charts.high[place], x + i] += 1
    return count


def test_rectangles_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    charts = columns(rng.integers(3, 40, 120), rng.integers(3, 40, 120))
    positions = pack(charts, 280)
    assert positions is not None
    count = occupancy(charts, positions, 280)
    assert count.max() == 1
    assert count.mean() > 0.6


def test_triangles_lean_into_each_other() -> None:
    # 32 right triangles in a square that holds 16 of their rectangles.
    slope = np.arange(1, 33, dtype=np.int32)
    # Both 33 high, or one kind would be placed before the other.
    lower = Profiles(np.array([0, 32]), np.zeros(32, np.int32), np.append(slope[:-1], 33).astype(np.int32))
    upper = Profiles(np.array([0, 32]), np.minimum(slope, 31), np.full(32, 33, np.int32))
    charts = join(lower, upper)
    for _ in range(4):
        charts = join(charts, charts)
    positions = pack(charts, 150)
    assert positions is not None
    assert occupancy(charts, positions, 150).max() == 1


def test_what_does_not_fit_is_refused() -> None:
    assert pack(columns(np.array([10]), np.array([5])), 8) is None
    assert pack(columns(np.array([5]), np.array([10])), 8) is None
    assert pack(columns(np.full(5, 4), np.full(5, 4)), 8) is None
    assert pack(columns(np.full(4, 4), np.full(4, 4)), 8) is not None


def box_charts(steps: int = 8) -> tuple[Mesh, list[View], Charts]:
    mesh, views = box_mesh(steps), ring(6)
    candidates = rate(mesh, views, [photograph(mesh, v) for v in views]).candidates()
    best = candidates.quality.argmax(axis=1)
    labels = np.where(candidates.counts > 0, candidates.view[np.arange(len(mesh)), best], -1)
    return mesh, views, build_charts(mesh, face_pairs(mesh.faces), labels.astype(np.int32), views)


def test_charts_project_into_their_photos() -> None:
    mesh, views, charts = box_charts()
    seen = charts.face_chart >= 0
    np.testing.assert_array_equal(seen, charts.labels >= 0)
    np.testing.assert_array_equal(charts.chart_view[charts.face_chart[seen]], charts.labels[seen])
    nodes = charts.face_nodes[seen]
    np.testing.assert_array_equal(charts.node_vertex[nodes], mesh.faces[seen])
    assert (charts.node_chart[nodes] == charts.face_chart[seen][:, None]).all()
    for node in range(0, len(charts.node_vertex), 17):
        view = views[charts.chart_view[charts.node_chart[node]]]
        R, t = view.cam_from_world[:3, :3], view.cam_from_world[:3, 3]
        expected = view.camera.project(R @ mesh.vertices[charts.node_vertex[node]] + t)
        np.testing.assert_allclose(charts.xy[node], expected)


@pytest.mark.parametrize("max_size", [4096, 500, 256])
def test_layout_keeps_charts_apart_and_scales_them_when_it_must(max_size: int) -> None:
    _, views, charts = box_charts()
    layout = lay_out(charts, views, max_size)
    assert layout.size <= max_size
    assert layout.size & (layout.size - 1) == 0
    scale = layout.image_sizes[0, 0] / views[0].camera.width
    assert scale == 1 if max_size == 4096 else scale < 1
    count = occupancy(layout.profiles, layout.target, layout.size)
    for x, y in layout.cells:
        count[y : y + layout.cell, x : x + layout.cell] += 1
    assert count.max() == 1
    assert len(layout.cells) == np.count_nonzero(charts.face_chart < 0)
    # Texels and pixels of the photo are the same grid, moved by whole texels.
    shift = (layout.target - layout.source)[charts.node_chart]
    np.testing.assert_allclose(layout.node_xy - shift, charts.xy * scale, rtol=0.01)
    # Everything within the padding of a face is its chart's own.
    ends = layout.node_xy
    for reach in (-PADDING, PADDING - 1e-6):
        for axis in range(2):
            place = ends.copy()
            place[:, axis] += reach
            x, y = np.floor(place).astype(int).T
            assert (count[y, x] == 1).all()


def test_profiles_cover_every_texel_of_a_face() -> None:
    xy = np.array([[10.2, 20.7], [30.9, 24.1], [18.3, 41.6]])
    faces = np.array([[0, 1, 2]], np.int32)
    chart, source, extent = (
        np.zeros(1, np.int32),
        np.array([[7, 17]], np.int32),
        np.array([[27, 28]], np.int32),
    )
    result = profiles(xy, faces, chart, source, extent, 3)
    assert len(result.low) == 27
    assert (result.low == 0).all()
    assert (result.high == 28).all()


def test_a_texture_that_is_too_small_is_an_option_error() -> None:
    _, views, charts = box_charts()
    with pytest.raises(OptionError, match="do not fit into a texture of 16 x 16") as error:
        lay_out(charts, views, 16)
    assert "texture_size" in error.value.hint

"""What is sent to a browser, and what is thinned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.types import Mesh, PointCloud
from recon3d.viewer.html_export import export_html
from recon3d.viewer.thinning import Budget, cluster_vertices
from recon3d.viewer.view_content import content_of
from tests.synthetic.made_project import box
from tests.viewer.models import scene


def _sheet(n: int) -> Mesh:
    """A flat square of 2 (n - 1)^2 triangles, red to green."""
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n))
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(n * n)], axis=1)
    i = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([np.stack([i, i + 1, i + n], 1), np.stack([i + 1, i + n + 1, i + n], 1)])
    colors = np.stack([255 * x.ravel(), 255 * y.ravel(), 0 * x.ravel()], axis=1).astype(np.uint8)
    return Mesh(vertices, faces.astype(np.int32), colors)


def test_frusta_start_at_the_camera_and_look_along_its_axis() -> None:
    shown = scene()
    content = content_of(shown)
    assert content.frusta is not None
    np.testing.assert_allclose(
        content.frusta[2, :4, 0] + content.origin, np.tile(shown.views[2].center, (4, 1)), atol=1e-5
    )
    middle = content.frusta[2, :4, 1].mean(axis=0) - content.frusta[2, 0, 0]
    np.testing.assert_allclose(middle / np.linalg.norm(middle), [0, 0, 1], atol=1e-5)


def test_what_is_too_large_is_thinned_and_told() -> None:
    cloud = PointCloud(np.random.default_rng(0).normal(size=(5000, 3)))
    content = content_of(cloud, Budget(points=1000))
    assert content.points is not None
    assert len(content.points) == 1000
    assert content.notes == ("1,000 of 5,000 points",)
    content = content_of(_sheet(80), Budget(faces=2000))
    assert content.faces is not None
    assert 800 < len(content.faces) <= 2000
    assert "triangles" in content.notes[0]


def test_a_coarser_mesh_keeps_its_shape_and_colours() -> None:
    mesh = _sheet(60)
    coarse = cluster_vertices(mesh, 600)
    assert coarse.colors is not None
    assert np.abs(coarse.vertices[:, 2]).max() == 0
    np.testing.assert_allclose(np.ptp(coarse.vertices, axis=0)[:2], 1, atol=0.12)
    np.testing.assert_allclose(coarse.colors[:, :2], 255 * coarse.vertices[:, :2], atol=2)


def test_surveyed_coordinates_keep_their_precision() -> None:
    points = np.array([[4e6, 5e5, 100.0], [4e6 + 0.001, 5e5, 100.0], [4e6, 5e5 + 0.001, 100.0]])
    content = content_of(PointCloud(points))
    assert content.points is not None
    np.testing.assert_allclose(content.points + content.origin, points, atol=1e-6)


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(InputError, match="nothing to show"):
        content_of(PointCloud(np.zeros((0, 3))))


def test_what_has_no_finite_place_is_left_out_and_told(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(500, 3))
    points[3], points[4, 1] = np.nan, np.inf
    content = content_of(PointCloud(points))
    assert content.notes == ("2 points without finite coordinates left out",)
    assert len(content.points) == 498
    assert np.isfinite(content.opening.target).all()
    mesh = box()
    vertices = mesh.vertices.copy()
    vertices[0] = np.nan
    broken = replace(mesh, vertices=vertices)
    left = int((mesh.faces != 0).all(axis=1).sum())
    written = export_html(broken, tmp_path / "page.html")
    assert written.notes == (f"{len(mesh.faces) - left} triangles without finite coordinates left out",)
    assert len(written.faces) == left
    assert np.isfinite(written.vertices).all()
    with pytest.raises(InputError, match="no triangles"):
        content_of(Mesh(mesh.vertices, np.zeros((0, 3), np.int32)))
    with pytest.raises(InputError, match="10 points without"):
        content_of(PointCloud(np.full((10, 3), np.nan)))

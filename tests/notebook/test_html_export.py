"""The page that holds a model."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recon3d.errors import InputError
from recon3d.types import Camera, Mesh, PointCloud, Scene, SparsePoints, TexturedMesh, View
from recon3d.viewer.html_export import export_html, page
from recon3d.viewer.view_content import Budget, cluster_vertices, content_of
from tests.synthetic.made_project import made_project


def _sheet(n: int) -> Mesh:
    """A flat square of 2 (n - 1)^2 triangles, red to green."""
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n))
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(n * n)], axis=1)
    i = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([np.stack([i, i + 1, i + n], 1), np.stack([i + 1, i + n + 1, i + n], 1)])
    colors = np.stack([255 * x.ravel(), 255 * y.ravel(), 0 * x.ravel()], axis=1).astype(np.uint8)
    return Mesh(vertices, faces.astype(np.int32), colors)


def _textured() -> TexturedMesh:
    """A square whose picture is red above and green below."""
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:32, :, 0] = texture[32:, :, 1] = 255
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return TexturedMesh(corners, faces, corners[:, :2].astype(np.float32), faces, texture)


def _scene() -> Scene:
    rng = np.random.default_rng(0)
    xyz = rng.normal(size=(200, 3))
    points = SparsePoints(
        xyz,
        rng.integers(0, 255, (200, 3), dtype=np.uint8),
        np.zeros(200),
        np.zeros(201, np.int64),
        np.zeros(0, np.int32),
    )
    camera = Camera("PINHOLE", 640, 480, (500.0, 500.0, 320.0, 240.0))
    views = []
    for i in range(6):
        pose = np.eye(4)
        pose[:3, 3] = (i - 2.5, 0, 2)
        views.append(View(f"photo</script>{i}.jpg", camera, pose))
    return Scene(tuple(views), points, unit="m")


def _pixels(page: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)


def _open(page: Any, path: Path) -> None:
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-drawn]")


def test_frusta_start_at_the_camera_and_look_along_its_axis() -> None:
    scene = _scene()
    content = content_of(scene)
    assert content.frusta is not None
    np.testing.assert_allclose(
        content.frusta[2, :4, 0] + content.origin, np.tile(scene.views[2].center, (4, 1)), atol=1e-5
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


def test_the_page_shows_the_texture_the_right_way_up_and_turns(tmp_path: Path, offline_page: Any) -> None:
    export_html(_textured(), tmp_path / "model.html")
    _open(offline_page, tmp_path / "model.html")
    image = _pixels(offline_page)
    red = np.argwhere((image[..., 0] > 150) & (image[..., 1] < 80))
    green = np.argwhere((image[..., 1] > 150) & (image[..., 0] < 80))
    assert len(red) > 1000
    assert len(green) > 1000
    assert red[:, 0].mean() < green[:, 0].mean()  # red is above
    offline_page.mouse.move(450, 300)
    offline_page.mouse.down()
    offline_page.mouse.move(560, 300, steps=4)
    offline_page.mouse.up()
    offline_page.wait_for_timeout(200)
    assert np.abs(_pixels(offline_page) - image).max(axis=2).mean() > 2


def _screen(page: Any, place: str) -> tuple[float, float]:
    """Where a place of the page's own is on it, by the page's own camera."""
    x, y, _ = page.evaluate(f"screen({place})")
    return x, y


def test_layers_cameras_and_measuring_answer_to_clicks(tmp_path: Path, offline_page: Any) -> None:
    scene = _scene()
    folder = tmp_path / "photos"
    photo = folder / scene.views[3].name
    photo.parent.mkdir(parents=True)
    Image.new("RGB", (640, 480), (200, 30, 30)).save(photo)
    content = content_of(scene, images=folder)
    (tmp_path / "scene.html").write_text(page(content, "a <b>"), encoding="utf-8")
    _open(offline_page, tmp_path / "scene.html")
    assert offline_page.title() == "a <b>"
    # The middle of the camera's picture.
    middle = "add(frusta.at(48 + 1), sub(frusta.at(48 + 5), frusta.at(48 + 1)), 0.5)"
    offline_page.mouse.click(*_screen(offline_page, middle))
    assert offline_page.text_content("#name") == "photo</script>3.jpg"
    offline_page.wait_for_function("document.getElementById('photo').naturalWidth === 240")
    before = _pixels(offline_page)
    offline_page.click("#layer-cameras")
    offline_page.wait_for_timeout(300)
    assert (np.abs(_pixels(offline_page) - before).max(axis=2) > 60).sum() > 50
    offline_page.click("#measure")
    for index in (0, 30):
        offline_page.mouse.click(*_screen(offline_page, f"points.at({index})"))
    assert offline_page.text_content("#name").startswith("Distance ")
    assert offline_page.text_content("#label").endswith(" m")
    offline_page.fill("#true", "2.5")
    offline_page.click("#scale")
    assert offline_page.text_content("#label") == "2.500 m"


def test_a_click_on_a_surface_measures_between_its_vertices(tmp_path: Path, offline_page: Any) -> None:
    export_html(_textured(), tmp_path / "model.html")
    _open(offline_page, tmp_path / "model.html")
    offline_page.click("#measure")
    for fraction in (0.25, 0.75):  # along the lower edge, a little above it; vertices are far away
        place = f"add(add(vertices.at(0), sub(vertices.at(1), vertices.at(0)), {fraction}), [0, 0.2, 0])"
        offline_page.mouse.click(*_screen(offline_page, place))
    assert float(offline_page.text_content("#label")) == pytest.approx(0.5, abs=0.01)
    assert "scale unknown" in offline_page.text_content("#name")


def test_styles_clip_box_up_and_keys_change_the_picture(tmp_path: Path, offline_page: Any) -> None:
    export_html(_textured(), tmp_path / "model.html")
    _open(offline_page, tmp_path / "model.html")
    offline_page.wait_for_selector("body[data-complete]")

    def drawn() -> np.ndarray:
        offline_page.wait_for_timeout(400)
        return np.abs(_pixels(offline_page)[:, 330:] - (0x15, 0x18, 0x1C)).max(axis=2) > 20

    whole = drawn()
    offline_page.select_option("#style", "shaded")
    grey = _pixels(offline_page)[:, 330:][whole]
    assert np.abs(grey[:, 0] - grey[:, 2]).mean() < 20
    offline_page.select_option("#style", "wireframe")
    assert drawn().sum() < 0.2 * whole.sum()
    offline_page.select_option("#style", "textured")
    offline_page.click("#clip")
    offline_page.fill("#low0", "0.5")
    assert 0.3 * whole.sum() < drawn().sum() < 0.7 * whole.sum()
    offline_page.click("#clip")
    offline_page.select_option("#up", "-y")
    image = _pixels(offline_page)
    red = np.argwhere((image[..., 0] > 150) & (image[..., 1] < 80))
    green = np.argwhere((image[..., 1] > 150) & (image[..., 0] < 80))
    assert red[:, 0].mean() > green[:, 0].mean()  # upside down
    offline_page.select_option("#up", "scene")
    offline_page.focus("canvas")
    offline_page.keyboard.down("w")
    offline_page.wait_for_timeout(600)
    offline_page.keyboard.up("w")
    assert drawn().sum() > 1.1 * whole.sum()  # nearer


def test_a_project_s_scale_is_in_the_page() -> None:
    text = page(content_of(_scene()), "t", 2.5)
    assert '"scale": 2.5' in text


def test_the_page_of_a_project_has_its_scale(tmp_path: Path) -> None:
    project = made_project(tmp_path / "box")
    export_html(project, tmp_path / "before.html")
    project.set_scale(1.0, 2.5)
    export_html(project, tmp_path / "after.html")
    scales = [
        json.loads(re.search(r'type="application/json">(.*?)</script>', path.read_text(), re.S)[1])["scale"]
        for path in (tmp_path / "before.html", tmp_path / "after.html")
    ]
    assert scales == [None, 2.5]

"""The page that holds a model, in a real browser with a mouse, without a network."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recon3d.viewer.html_export import export_html, page, view_scene
from recon3d.viewer.scene_document import scene_document
from recon3d.viewer.view_content import Content, content_of
from tests.conftest import watched
from tests.synthetic.made_project import made_project
from tests.viewer.models import scene, square


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Content]:
    """A page of the square, and what is in it."""
    path = tmp_path_factory.mktemp("page") / "square.html"
    return path, export_html(square(), path, title="a <b>", credit="Ann", licence="CC BY 4.0")


def pixels(page: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)


def opened(page: Any, path: Path, query: str = "") -> Any:
    """The page with its last picture drawn; what it is made of is at `viewer`."""
    page.goto(path.as_uri() + query)
    page.wait_for_selector(".recon3d[data-complete]")
    page.evaluate("window.viewer = document.getElementById('viewer').viewer")
    return page


def part(name: str) -> str:
    return f"[data-part={name}]"


def screen(page: Any, place: str) -> tuple[float, float]:
    """Where a place of the page's own is on it, by the page's own camera."""
    x, y, _ = page.evaluate(f"viewer.screen({place})")
    return x, y


def drawn(page: Any) -> np.ndarray:
    """The picture itself, without what lies over it."""
    page.evaluate("delete viewer.root.dataset.complete; viewer.painter.draw()")
    page.wait_for_selector(".recon3d[data-complete]")
    png = base64.b64decode(page.evaluate("viewer.canvas.toDataURL()").partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def colored(image: np.ndarray) -> np.ndarray:
    """Where the model is: the background is grey."""
    return np.ptp(image, axis=2) > 60


def test_the_page_opens_where_python_says_with_the_texture_the_right_way_up(
    made: tuple[Path, Content], offline_page: Any
) -> None:
    path, content = made
    opened(offline_page, path)
    assert offline_page.title() == "a <b>"
    image = pixels(offline_page)
    red = np.argwhere((image[..., 0] > 150) & (image[..., 1] < 80))
    green = np.argwhere((image[..., 1] > 150) & (image[..., 0] < 80))
    assert red[:, 0].mean() < green[:, 0].mean()  # red is above
    assert 0.6 * 400 < np.ptp(np.concatenate([red, green])[:, 0]) < 0.95 * 400
    for size in ((720, 400), (390, 844)):
        offline_page.set_viewport_size({"width": size[0], "height": size[1]})
        offline_page.wait_for_timeout(150)
        eye = offline_page.evaluate("viewer.camera.frame().eye")
        np.testing.assert_allclose(eye, content.opening.eye(size[0] / size[1]), rtol=1e-4, atol=1e-4)
    about = offline_page.text_content(part("about"))
    assert "2 triangles" in about
    assert "Ann · CC BY 4.0" in about
    assert "scale unknown" in about


def test_the_size_is_that_of_the_surface(tmp_path: Path, offline_page: Any) -> None:
    shown = content_of(square())
    far = replace(shown, points=np.array([[0, 0, 0], [50, 0, 9]], np.float32))
    path = tmp_path / "far.html"
    path.write_text(page(far, scene_document(far)))
    about = opened(offline_page, path).text_content(part("about"))
    assert "1.00 × 1.00 × 0.00 (scale unknown)" in about


def test_the_mouse_and_the_keyboard_turn_zoom_and_fly(made: tuple[Path, Content], offline_page: Any) -> None:
    page = opened(offline_page, made[0])
    before = page.evaluate("({...viewer.camera})")
    page.mouse.move(450, 200)
    page.mouse.down()
    page.mouse.move(560, 200, steps=4)
    page.mouse.up()
    turned = page.evaluate("({...viewer.camera})")
    assert turned["yaw"] == pytest.approx(before["yaw"] - 0.88, abs=0.01)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("+")
    now = page.evaluate("({...viewer.camera})")
    assert now["yaw"] < turned["yaw"] - 0.05
    assert now["pitch"] > turned["pitch"] + 0.05
    assert now["distance"] == pytest.approx(0.85 * turned["distance"])
    page.keyboard.down("w")  # only while flying
    page.wait_for_timeout(150)
    page.keyboard.up("w")
    assert page.evaluate("viewer.camera.target") == now["target"]
    page.click("summary:has-text('View')")
    page.click(part("fly"))
    page.keyboard.down("w")
    page.wait_for_function(
        "() => Math.hypot(...viewer.camera.target.map((v, i) => v - viewer.model.opening.target[i])) > 0.05"
    )
    page.keyboard.up("w")
    page.keyboard.press("f")
    assert page.evaluate("viewer.camera.target") == before["target"]
    page.mouse.dblclick(*screen(page, "[0.2, 0.2, 0]"))
    np.testing.assert_allclose(page.evaluate("viewer.camera.target"), [0.2, 0.2, 0], atol=0.02)


def test_styles_clip_box_and_up_change_the_picture_and_the_box_can_be_kept(
    made: tuple[Path, Content], offline_page: Any
) -> None:
    path, content = made
    page = opened(offline_page, path)
    whole = colored(drawn(page)).sum()
    page.select_option(part("style"), "shaded")
    assert colored(drawn(page)).sum() < 0.01 * whole
    page.select_option(part("style"), "textured")
    page.click("summary:has-text('Clip')")
    page.click(part("clip"))
    page.fill(part("low0"), "0.5")
    assert 0.4 * whole < colored(drawn(page)).sum() < 0.6 * whole
    page.evaluate("addEventListener('recon3d-crop', (e) => { window.kept = e.detail.region; })")
    page.click(part("keep-crop"))
    region = page.evaluate("window.kept")
    low, high = (np.array(corner) + content.origin for corner in content.bounds)
    np.testing.assert_allclose(region, [[(low[0] + high[0]) / 2, low[1], low[2]], high], atol=1e-5)
    text = page.input_value(part("crop"))
    # As a shell reads it that refuses patterns without a match, as zsh does.
    words = subprocess.run(
        ["bash", "-O", "failglob", "-c", f"printf '%s\\n' {text}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words[0] == "--set"
    assert json.loads(words[1].partition("mesh_generation.region=")[2]) == region
    page.click(part("clip"))
    page.click("summary:has-text('View')")
    page.select_option(part("up"), "-y")
    image = drawn(page)
    red = np.argwhere((image[..., 0] > 150) & (image[..., 1] < 80))
    green = np.argwhere((image[..., 1] > 150) & (image[..., 0] < 80))
    assert red[:, 0].mean() > green[:, 0].mean()  # upside down


def test_several_measures_stand_at_once_and_go_to_csv(made: tuple[Path, Content], offline_page: Any) -> None:
    path, content = made
    page = opened(offline_page, path)
    page.click("summary:has-text('Measure')")

    def clicked(kind: str, *places: tuple[float, float]) -> None:
        page.select_option(part("measure"), kind)
        for x, y in places:
            page.mouse.click(
                *screen(page, str([float(x - content.origin[0]), float(y - content.origin[1]), 0]))
            )
            page.wait_for_timeout(400)  # so that no two of them are a double click

    # The square's corners are far away: a click meets the surface between them.
    clicked("distance", (0.4, 0.2), (0.9, 0.2))
    clicked("angle", (0.9, 0.2), (0.4, 0.2), (0.9, 0.7))
    clicked("height", (0.4, 0.2), (0.9, 0.6))
    clicked("area", (0.4, 0.2), (0.9, 0.2), (0.9, 0.7), (0.4, 0.7))
    page.click(part("finish"))
    found = page.locator(f"{part('measures')} li span").all_text_contents()
    assert [words.split()[0] for words in found] == ["distance", "angle", "height", "area"]
    values = [float(re.search(r"[\d.]+", words)[0]) for words in found]
    assert values == pytest.approx([0.5, 45, 0.4, 0.25], abs=0.01, rel=0.02)
    labels = page.evaluate("[...document.querySelectorAll('svg .label')].map((t) => t.textContent)")
    assert len(labels) == 4
    page.fill(part("true"), "2.5")
    page.click(part("scale"))
    with page.expect_download() as download:
        page.click(part("csv"))
    rows = Path(download.value.path()).read_text().splitlines()
    assert len(rows) == 5
    kind, value, unit, first, _ = rows[1].split(",")
    assert (kind, float(value), unit) == ("distance", 2.5, "m")
    np.testing.assert_allclose([float(v) for v in first.split()], [0.4, 0.2, 0], atol=0.01)
    assert float(rows[4].split(",")[1]) == pytest.approx(0.25 * 25, rel=0.05)
    page.locator(f"{part('measures')} li button").nth(1).click()
    assert page.locator(f"{part('measures')} li").count() == 3


def test_cameras_are_off_above_a_model_and_their_photos_lie_over_it(
    tmp_path: Path, offline_page: Any
) -> None:
    export_html(made_project(tmp_path / "box"), tmp_path / "box.html")
    page = opened(offline_page, tmp_path / "box.html")
    without = drawn(page)
    assert not page.is_checked(part("layer-cameras"))
    page.click(part("layer-cameras"))
    assert (np.abs(drawn(page) - without).max(axis=2) > 40).sum() > 50
    page.click("summary:has-text('Photos')")
    page.click(part("photos"))
    assert page.locator(f"{part('strip')} img").count() == 8
    page.locator(f"{part('strip')} button").nth(3).click()
    assert page.text_content(part("photo-name")) == "photo_3.jpg"
    page.wait_for_function("() => document.querySelector('.r3d-overlay').style.visibility === 'visible'")
    camera = page.evaluate("viewer.model.cameras[3]")
    np.testing.assert_allclose(page.evaluate("viewer.camera.frame().eye"), camera["center"], atol=1e-6)
    box = page.locator(".r3d-overlay").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(4 / 3, rel=0.01)
    assert box["height"] == pytest.approx(400, abs=1)  # the whole photo, as large as it fits
    page.locator(part("opacity")).fill("1")
    shown = pixels(page)[40, 400]  # beside the digit that the photo shows
    np.testing.assert_allclose(shown, (230 - 25 * 3, 90, 30 * 3), atol=12)
    page.locator(part("opacity")).fill("0")
    assert np.abs(pixels(page)[40, 400] - shown).max() > 30
    page.click(part("beside"))
    assert page.locator(f"{part('pair')} figure").count() == 2
    page.click(part("leave-photo"))
    assert page.locator(".r3d-overlay").is_hidden()


def test_a_click_on_a_camera_shows_its_photo_whatever_its_name(tmp_path: Path, offline_page: Any) -> None:
    shown = scene()
    photo = tmp_path / "photos" / shown.views[3].name
    photo.parent.mkdir(parents=True)
    Image.new("RGB", (640, 480), (200, 30, 30)).save(photo)
    content = content_of(shown, images=tmp_path / "photos")
    (tmp_path / "scene.html").write_text(page(content, scene_document(content)), encoding="utf-8")
    opened(offline_page, tmp_path / "scene.html")
    assert offline_page.is_checked(part("layer-cameras"))  # there is no surface yet
    # From a side, where no camera stands before another.
    offline_page.evaluate("viewer.camera.yaw += 0.5; viewer.camera.distance *= 3; viewer.painter.draw()")
    # The middle of the fourth camera's picture: of 16 ends of lines a camera, the corners are odd.
    ends = "[1, 5].map((i) => viewer.surfaces.cameras.place.at(48 + i))"
    place = f"(([a, b]) => a.map((v, i) => (v + b[i]) / 2))({ends})"
    offline_page.mouse.click(*screen(offline_page, place))
    assert offline_page.text_content(part("photo-name")) == "photo</script>3.jpg"


def test_a_project_s_scale_is_in_its_page(tmp_path: Path) -> None:
    project = made_project(tmp_path / "box")
    assert view_scene(project)["scale"] is None
    project.set_scale(1.0, 2.5)
    assert view_scene(project)["scale"] == 2.5


def test_embedded_it_shows_the_picture_and_folded_tools(
    made: tuple[Path, Content], offline_page: Any
) -> None:
    page = opened(offline_page, made[0], "?embed&theme=dark")
    assert page.locator("h1").is_hidden()
    assert page.locator(part("about")).is_hidden()
    assert page.locator(".r3d-body").is_hidden()
    assert pixels(page)[200, 20].max() < 60
    page.click(part("fold"))
    page.click(part("theme"))
    page.wait_for_timeout(300)
    assert pixels(page)[200, 650].min() > 150


@pytest.mark.parametrize("without", ["JavaScript", "WebGL 2"])
def test_without_javascript_or_webgl_2_there_is_a_still_picture_and_a_sentence(
    without: str, made: tuple[Path, Content], browser: Any
) -> None:
    context = browser.new_context(
        viewport={"width": 720, "height": 400}, offline=True, java_script_enabled=without != "JavaScript"
    )
    page = context.new_page()
    troubles = watched(page)
    if without == "WebGL 2":
        page.add_init_script(
            "const old = HTMLCanvasElement.prototype.getContext;"
            "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
            " return kind === 'webgl2' ? null : old.call(this, kind, ...rest); };"
        )
    page.goto(made[0].as_uri())
    page.get_by_text("no WebGL 2" if without == "WebGL 2" else "With JavaScript").wait_for()
    image = pixels(page)
    assert ((image[..., 0] > 150) & (image[..., 1] < 80)).sum() > 8_000  # the red half
    context.close()
    assert troubles == []

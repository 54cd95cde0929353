"""The page on a phone: fingers, a narrow screen, no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon3d.viewer.html_export import export_html
from tests.conftest import watched
from tests.synthetic.made_project import made_project
from tests.viewer.test_page import opened, part, screen

_SIZE = {"width": 390, "height": 844}


class Fingers:
    """Fingers on a screen, each with a number."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._client = page.context.new_cdp_session(page)
        self._down: dict[int, tuple[float, float]] = {}

    def _send(self, kind: str, *numbers: int) -> None:
        points = [{"x": x, "y": y, "id": n} for n, (x, y) in self._down.items() if n in numbers]
        self._client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def put(self, number: int, x: float, y: float) -> None:
        self._down[number] = (x, y)
        self._send("touchStart", number)

    def move(self, **to: tuple[float, float]) -> None:
        """Move fingers, as in ``move(_0=(x, y))``, in four steps."""
        start = dict(self._down)
        for step in range(1, 5):
            for name, (x, y) in to.items():
                first = start[int(name[1:])]
                self._down[int(name[1:])] = (
                    first[0] + step / 4 * (x - first[0]),
                    first[1] + step / 4 * (y - first[1]),
                )
            self._send("touchMove", *self._down)
        # The browser hands moves to the page with its next frame.
        self._page.evaluate("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def lift(self, number: int) -> None:
        self._send("touchEnd", number)
        del self._down[number]

    def tap(self, x: float, y: float) -> None:
        self.put(0, x, y)
        self.lift(0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a project with photos."""
    folder = tmp_path_factory.mktemp("phone")
    export_html(made_project(folder / "box"), folder / "box.html", title="A box")
    return folder / "box.html"


@pytest.fixture
def phone(browser: Any, model: Path) -> Iterator[Any]:
    context = browser.new_context(
        viewport=_SIZE, has_touch=True, is_mobile=True, offline=True, reduced_motion="reduce"
    )
    page = context.new_page()
    troubles = watched(page)
    yield opened(page, model)
    context.close()
    assert troubles == []


def _camera(page: Any) -> dict[str, Any]:
    state: dict[str, Any] = page.evaluate(
        "(({yaw, pitch, distance, target}) => ({yaw, pitch, distance, target}))(viewer.camera)"
    )
    return state


def test_one_finger_turns_and_two_pinch_and_pan(phone: Any) -> None:
    fingers, start = Fingers(phone), _camera(phone)
    fingers.put(0, 150, 400)
    fingers.move(_0=(210, 400))
    turned = _camera(phone)
    assert turned["yaw"] < start["yaw"] - 0.3
    assert turned["distance"] == start["distance"]
    fingers.put(1, 310, 400)  # 100 apart
    fingers.move(_0=(160, 400), _1=(360, 400))  # 200 apart, the same middle
    pinched = _camera(phone)
    assert pinched["distance"] == pytest.approx(start["distance"] / 2, rel=0.02)
    assert pinched["yaw"] == turned["yaw"]
    np.testing.assert_allclose(pinched["target"], start["target"], atol=0.03)
    fingers.move(_0=(160, 500), _1=(360, 500))
    panned = _camera(phone)
    assert panned["target"][1] > pinched["target"][1] + 0.05  # the model follows the fingers down
    assert panned["distance"] == pytest.approx(pinched["distance"], rel=0.01)
    fingers.lift(0)  # the second one goes on alone, and nothing jumps
    assert _camera(phone) == panned
    fingers.move(_1=(330, 500))
    last = _camera(phone)
    assert panned["yaw"] + 0.1 < last["yaw"] < panned["yaw"] + 0.3
    assert last["target"] == panned["target"]
    fingers.lift(1)


def test_two_fingers_are_no_tap_and_a_double_tap_focuses(phone: Any) -> None:
    fingers, start = Fingers(phone), _camera(phone)
    fingers.put(0, 180, 420)
    fingers.put(1, 185, 420)
    fingers.lift(1)
    fingers.lift(0)
    assert _camera(phone) == start
    x, y = screen(phone, "viewer.model.opening.target")
    for _ in range(2):
        fingers.tap(x, y)
    assert _camera(phone)["distance"] < 0.7 * start["distance"]


def test_taps_measure_on_a_panel_that_folds(phone: Any) -> None:
    body = phone.locator(".r3d-body")
    assert body.is_hidden()  # a small screen is for the model
    phone.tap(part("fold"))
    phone.tap("summary:has-text('Measure')")
    phone.select_option(part("measure"), "distance")
    phone.tap(part("fold"))
    assert body.is_hidden()
    fingers = Fingers(phone)
    x, y = screen(phone, "viewer.model.opening.target")
    for shift in (-60, 60):
        fingers.tap(x + shift, y)
        phone.wait_for_timeout(400)
    phone.locator("svg .label").wait_for(state="attached")
    value = float(phone.locator("svg .label").text_content())
    points = phone.evaluate("viewer.measures.done[0].points")
    assert value == pytest.approx(float(np.linalg.norm(np.subtract(*points))), rel=1e-3)
    assert value > 0.1


def test_everything_that_is_touched_is_large_enough(phone: Any) -> None:
    phone.tap(part("fold"))
    for summary in phone.locator("summary").all()[1:]:
        summary.tap()
    phone.evaluate("viewer.photos.showStrip(true); viewer.photos.show(2)")
    small = phone.evaluate(
        """() => [...document.querySelectorAll('.recon3d :is(button, select, summary, label, input)')]
        .filter((e) => e.offsetParent && !(e.matches('input') && e.closest('label')))
        .map((e) => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])
        .filter(([, box]) => box.height < 40 || box.width < 40)
        .map(([text, box]) => `${text} ${box.width}x${box.height}`)"""
    )
    assert small == []
    wide = phone.evaluate("document.documentElement.scrollWidth")
    assert wide == _SIZE["width"]


def test_a_photo_lies_over_the_model_and_a_finger_leaves_it(phone: Any) -> None:
    phone.evaluate("viewer.photos.showStrip(true)")
    phone.locator(f"{part('strip')} button").nth(1).tap()
    assert phone.text_content(part("photo-name")) == "photo_1.jpg"
    overlay = phone.locator(".r3d-overlay")
    overlay.wait_for(state="visible")
    box = overlay.bounding_box()
    assert box["width"] == pytest.approx(390, abs=1)  # as wide as the screen
    assert box["y"] + box["height"] / 2 == pytest.approx(422, abs=2)
    fingers = Fingers(phone)
    fingers.put(0, 100, 300)
    fingers.move(_0=(180, 300))
    fingers.lift(0)
    assert overlay.is_hidden()

"""Make the tour of the page: ``python -m docs.make_page_pictures PROJECT``.

Opens a finished project's page in Chromium, on a desktop and on a phone, and writes
``docs/images/page_tour.jpg``, ``page_tools.jpg`` and ``page_pair.jpg``.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

import recon3d
from tests.notebook.browser import launch

_IMAGES = Path(__file__).parent / "images"
_DESKTOP = {"width": 1000, "height": 700}
_PHONE = {"width": 390, "height": 700}


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    project = recon3d.Project.open(parser.parse_args().project)
    with tempfile.TemporaryDirectory() as folder, launch() as browser:
        path = Path(folder) / "page.html"
        recon3d.export_html(project, path, title="A bust", credit="GTSfM", licence="CC0")
        desktop = _open(browser, path, _DESKTOP)
        phone = _open(browser, path, _PHONE, has_touch=True, is_mobile=True)
        _save("tour", _shot(desktop), _shot(phone))
        _measure(desktop)
        _photo(phone)
        _save("tools", _shot(desktop), _shot(phone))
        desktop.evaluate("viewer.measures.clear()")
        _photo(desktop)
        desktop.click("[data-part=beside]")
        _save("pair", _shot(desktop))


def _open(browser: Any, path: Path, size: dict[str, int], **options: Any) -> Any:
    page = browser.new_page(viewport=size, reduced_motion="reduce", color_scheme="light", **options)
    page.goto(path.as_uri())
    page.wait_for_selector("[data-complete]", timeout=120_000)
    page.evaluate("window.viewer = document.getElementById('viewer').viewer")
    return page


def _measure(page: Any) -> None:
    """A height and an angle on the subject, in the middle of the picture."""
    page.click("summary:has-text('Show')")
    page.click("summary:has-text('Measure')")
    for kind, places in (
        ("height", [(0.5, 0.7), (0.5, 0.25)]),
        ("angle", [(0.4, 0.3), (0.45, 0.4), (0.52, 0.35)]),
    ):
        page.select_option("[data-part=measure]", kind)
        for x, y in places:
            page.mouse.click(x * _DESKTOP["width"], y * _DESKTOP["height"])
            page.wait_for_timeout(400)


def _photo(page: Any) -> None:
    page.evaluate("viewer.photos.showStrip(true); viewer.photos.show(viewer.model.cameras.length - 5)")


def _shot(page: Any) -> Image.Image:
    page.wait_for_timeout(2500)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def _save(name: str, *pictures: Image.Image) -> None:
    gap = 12
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    joined = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    left = 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width + gap
    path = _IMAGES / f"page_{name}.jpg"
    joined.save(path, quality=85, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

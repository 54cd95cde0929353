"""Make the pictures of docs/reference/viewer.md: ``python -m docs.make_viewer_pictures PROJECT``.

Shows a finished project in a real JupyterLab (Chromium and recon3d[test] are needed), clicks in it
as a person does, and writes ``docs/images/viewer_*.png``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from tests.notebook.browser import launch
from tests.notebook.lab import Notebook, jupyter_lab

_IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    project = str(parser.parse_args().project.absolute())
    opened = f"import recon3d\nproject = recon3d.Project.open({project!r})\n"
    with tempfile.TemporaryDirectory() as folder, jupyter_lab(Path(folder)) as address, launch() as browser:
        _panel(Notebook(browser, address, Path(folder), "panel", [opened + "project.runs[-1]"]))
        cells = [opened, "viewer = project.view()\nviewer"]
        _viewer(Notebook(browser, address, Path(folder), "viewer", cells))


def _panel(notebook: Notebook) -> None:
    notebook.page.set_viewport_size({"width": 1400, "height": 1350})
    notebook.run()
    notebook.page.get_by_text("After texturing").wait_for(timeout=60_000)
    notebook.cell(0).get_by_text("Log", exact=True).click()
    notebook.page.wait_for_timeout(1500)
    _keep(notebook.cell(0).locator(".recon3d-live").first, "panel")
    notebook.page.close()


def _viewer(notebook: Notebook) -> None:
    page = notebook.page
    page.set_viewport_size({"width": 1300, "height": 1000})
    notebook.run()
    notebook.wait_for("'project' in globals()", timeout=60)
    notebook.run()
    canvas = notebook.cell(1).locator("canvas").first
    canvas.wait_for(timeout=60_000)
    notebook.wait_for("viewer.detail.complete", timeout=60)
    shown = notebook.cell(1).locator(".recon3d-live").first
    page.wait_for_timeout(4000)
    _keep(shown, "view")
    shown.get_by_label("cameras").check()
    notebook.ask("viewer.select(viewer.content.names[len(viewer.content.names) // 3])")
    page.wait_for_timeout(4000)
    _keep(shown, "camera")
    notebook.ask("viewer.select(None)")
    shown.get_by_label("cameras").uncheck()
    shown.get_by_role("button", name="Measure").click()
    notebook.wait_for("viewer.measuring")
    box = canvas.bounding_box()
    # The upper and the lower end of the model in the middle of the picture.
    for number, part in enumerate((0.3, 0.75), start=1):
        canvas.click(position={"x": box["width"] / 2, "y": part * box["height"]})
        notebook.wait_for(f"len(viewer.ruler.points) == {number}")
    page.wait_for_timeout(1500)
    _keep(shown, "measure")
    page.close()


def _keep(element: Any, name: str) -> None:
    """Take an element's picture, in few colours."""
    path = _IMAGES / f"viewer_{name}.png"
    element.screenshot(path=str(path))
    with Image.open(path) as image:
        picture = image.convert("RGB")
    inside = ImageChops.difference(picture, Image.new("RGB", picture.size, "white")).getbbox()
    small = picture.crop(inside).quantize(128, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

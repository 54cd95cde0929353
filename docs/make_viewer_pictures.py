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
#: `at(point)` is where a point of the viewer's scene is in its picture.
_AT = """
import numpy as np
from recon3d.notebook.viewer.navigation import FIELD_OF_VIEW

def at(point):
    pose = viewer.navigation.cam_from_scene()
    x, y, z = pose[:3, :3] @ np.asarray(point, float) + pose[:3, 3]
    focal = 250 / np.tan(np.radians(FIELD_OF_VIEW) / 2)
    return [400 + focal * x / z, 250 + focal * y / z]
"""


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    project = str(parser.parse_args().project.absolute())
    opened = f"import recon3d\nproject = recon3d.Project.open({project!r})\n"
    with tempfile.TemporaryDirectory() as folder, jupyter_lab(Path(folder)) as address, launch() as browser:
        _panel(Notebook(browser, address, Path(folder), "panel", [opened + "project.runs[-1]"]))
        cells = [_AT + opened, "viewer = project.view()\nviewer"]
        _viewer(Notebook(browser, address, Path(folder), "viewer", cells))


def _panel(notebook: Notebook) -> None:
    notebook.page.set_viewport_size({"width": 1400, "height": 1350})
    notebook.run()
    notebook.page.get_by_text("After texturing").wait_for(timeout=60_000)
    notebook.cell(0).get_by_text("Log", exact=True).click()
    notebook.page.wait_for_timeout(1500)
    _keep(notebook.cell(0).locator(".jp-OutputArea-output").first, "panel")
    notebook.page.close()


def _viewer(notebook: Notebook) -> None:
    page = notebook.page
    page.set_viewport_size({"width": 1700, "height": 1200})
    notebook.run()
    notebook.wait_for("'at' in globals()", timeout=60)
    notebook.run()
    canvas = notebook.cell(1).locator("canvas").first
    canvas.wait_for(timeout=60_000)
    notebook.wait_for("viewer.detail.complete", timeout=60)
    page.wait_for_timeout(4000)
    notebook.ask("globals().update(frusta=viewer.content.frusta)")
    nearest = "int(np.argmin([np.linalg.norm(f[0, 0] - viewer.navigation.position) for f in frusta]))"
    x, y = notebook.ask(f"at(frusta[{notebook.ask(nearest)}, :4, 1].mean(axis=0))")
    canvas.click(position={"x": x, "y": y})
    notebook.wait_for("viewer.selected_camera is not None")
    page.wait_for_timeout(1500)
    output = notebook.cell(1).locator(".jp-OutputArea-output").first
    _keep(output, "camera")
    notebook.ask("viewer.select(None)")
    notebook.cell(1).get_by_role("button", name="Measure").click()
    notebook.wait_for("viewer.measuring")
    # Two pixels of the ground, left and right of the model's foot.
    for number, (x, y) in enumerate(((330, 330), (470, 330)), start=1):
        canvas.click(position={"x": x, "y": y})
        notebook.wait_for(f"len(viewer.ruler.points) == {number}")
    page.wait_for_timeout(1500)
    _keep(output, "measure")
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

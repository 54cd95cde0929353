"""A real JupyterLab in a real browser: what is clicked happens in Python too."""

from __future__ import annotations

import io
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recon3d.cli.sample import sample_video
from recon3d.project import Project
from recon3d.project.scale import scale_of
from tests.notebook.lab import Notebook, jupyter_lab
from tests.synthetic.made_project import made_project

for _needed in ("jupyterlab", "ipywidgets", "pythreejs", "ipykernel"):
    pytest.importorskip(_needed, reason="needs recon3d[notebook,test] and jupyterlab")

#: `at(point)` is where a point of the world is in the viewer's picture.
_AT = """
import numpy as np
from recon3d.notebook.viewer.navigation import FIELD_OF_VIEW

def at(point):
    pose = viewer.navigation.cam_from_scene()
    x, y, z = pose[:3, :3] @ (np.asarray(point, float) - viewer.content.origin) + pose[:3, 3]
    width, height = viewer.canvas.size
    focal = height / 2 / np.tan(np.radians(FIELD_OF_VIEW) / 2)
    return [width / 2 + focal * x / z, height / 2 + focal * y / z]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("lab")
    with jupyter_lab(folder) as address:
        yield address, folder


def _keep(page: Any, name: str) -> None:
    """Leave a screenshot for human eyes, where a folder for them is named."""
    folder = os.environ.get("RECON3D_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def _pixels(canvas: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)


def test_clicks_in_the_viewer_reach_python(lab: tuple[str, Path], browser: Any) -> None:
    address, folder = lab
    made_project(folder / "box")
    show = "import recon3d\nproject = recon3d.Project.open('box')\nviewer = project.view()\nviewer"
    notebook = Notebook(browser, address, folder, "viewer", [_AT + show])
    page, cell = notebook.page, notebook.cell(0)
    notebook.run()
    canvas = cell.locator("canvas").first
    canvas.wait_for(timeout=60_000)
    notebook.wait_for("viewer.detail.complete")
    width = notebook.wait_for("viewer.canvas.size[0] != 800 and viewer.canvas.size[0]")  # the cell's
    page.wait_for_function(
        "([canvas, width]) => canvas.clientWidth === width", arg=[canvas.element_handle(), width]
    )
    page.wait_for_timeout(1500)
    whole = _pixels(canvas)
    brown = (np.abs(whole - (190, 120, 60)).max(axis=2) < 30).sum()
    assert brown > 2000  # the texture
    cell.locator(".widget-checkbox", has_text="cameras").locator(
        "input"
    ).click()  # they hide no surface at first
    notebook.wait_for("viewer.visible['cameras']")
    page.wait_for_timeout(500)
    lines = np.abs(_pixels(canvas) - whole).max(axis=2) > 20
    assert 80 < lines.sum() < 0.2 * lines.size
    _keep(page, "viewer")

    # A camera: that nearest to the eye, where its picture is.
    nearest = "int(np.argmin([np.linalg.norm(f[0, 0] - viewer.navigation.position) for f in frusta]))"
    notebook.ask("globals().update(frusta=viewer.content.frusta)")
    camera = notebook.ask(nearest)
    place = notebook.ask(f"at(frusta[{camera}, :4, 1].mean(axis=0) + viewer.content.origin)")
    canvas.click(position={"x": place[0], "y": place[1]})
    notebook.wait_for(f"viewer.selected_camera == 'photo_{camera}.jpg'")
    photo = cell.locator("img.widget-image")
    photo.wait_for()
    page.wait_for_function("image => image.naturalWidth === 360", arg=photo.element_handle())
    assert f"photo_{camera}.jpg" in cell.inner_text()
    _keep(page, "camera")

    # Two points of the top, 0.6 apart, then their true distance.
    cell.get_by_role("button", name="Measure").click()
    notebook.wait_for("viewer.measuring")
    for x in (-0.3, 0.3):
        place = notebook.ask(f"at([{x}, 0.3, 0.1])")
        canvas.click(position={"x": place[0], "y": place[1]})
        notebook.wait_for(f"len(viewer.ruler.points) == {1 if x < 0 else 2}")
    assert notebook.ask("viewer.measured") == pytest.approx(0.6, abs=0.01)
    length = cell.locator("input[type=number]").first
    length.fill("1.5")
    length.press("Tab")
    cell.get_by_role("button", name="Set scale").click()
    notebook.wait_for("viewer.scale is not None")
    assert "Distance 1.5 m" in cell.inner_text()
    scale = scale_of(Project.open(folder / "box"))
    assert scale is not None
    assert scale.factor == pytest.approx(2.5, rel=0.02)
    _keep(page, "measured")
    cell.get_by_role("button", name="Measure").click()

    # Layers.
    for name in ("mesh", "points"):
        cell.locator(".widget-checkbox", has_text=name).locator("input").click()
    notebook.wait_for("dict(viewer.visible) == {'mesh': False, 'points': True, 'cameras': True}")
    page.wait_for_timeout(500)
    changed = _pixels(canvas)
    assert (np.abs(changed - (190, 120, 60)).max(axis=2) < 30).sum() < 0.1 * brown
    blue = (changed[..., 2] > 180) & (changed[..., 0] < 120)
    assert blue.sum() > 2000
    _keep(page, "points")

    # The clip box, by its slider's handle.
    cell.get_by_role("button", name="Clip box").click()
    notebook.wait_for("viewer.clip is not None")
    handle = cell.locator(".noUi-handle-upper").first.bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(handle["x"] - 70, handle["y"] + handle["height"] / 2, steps=5)
    page.mouse.up()
    notebook.wait_for("bool(viewer.clip[1][0] < 0.2)")
    page.wait_for_timeout(500)
    cut = _pixels(canvas)
    assert ((cut[..., 2] > 180) & (cut[..., 0] < 120)).sum() < 0.85 * blue.sum()
    _keep(page, "clipped")

    # Turning.
    before = notebook.ask("viewer.navigation.position.tolist()")
    frame = canvas.bounding_box()
    page.mouse.move(frame["x"] + 60, frame["y"] + 60)
    page.mouse.down()
    page.mouse.move(frame["x"] + 220, frame["y"] + 90, steps=6)
    page.mouse.up()
    notebook.wait_for(f"bool(np.abs(viewer.navigation.position - {before}).max() > 0.1)")
    page.wait_for_timeout(300)
    assert np.abs(_pixels(canvas) - cut).max(axis=2).mean() > 2
    _keep(page, "turned")

    # The picture takes the cell's width, and listens to keys; JupyterLab does not.
    assert notebook.ask("viewer.canvas.size[0]") == frame["width"] > 840
    before = notebook.ask("viewer.navigation.position.tolist()")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("a")  # inserts a cell, where JupyterLab hears it
    notebook.wait_for(f"bool(np.abs(viewer.navigation.position - {before}).max() > 0.05)")
    distance = notebook.ask("viewer.navigation.distance")
    page.keyboard.press("+")
    notebook.wait_for(f"viewer.navigation.distance < 0.9 * {distance}")
    assert page.locator(".jp-CodeCell").count() == 2
    cell.get_by_role("button", name="Full screen").click()
    notebook.wait_for("viewer.canvas.size[1] > 800")
    assert page.evaluate("document.fullscreenElement !== null")
    _keep(page, "full")
    page.evaluate("document.exitFullscreen()")
    notebook.wait_for("viewer.canvas.size[1] < 700")
    assert notebook.troubles == []

    # Without its kernel: the picture that was saved, in this page and in one that is loaded again.
    saved = cell.locator("img[src^='data:image/png']")
    assert canvas.is_visible()
    assert not saved.is_visible()
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("void window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    saved.wait_for(timeout=20_000)
    assert not canvas.is_visible()
    notebook.reload()
    saved.wait_for(timeout=20_000)
    page.get_by_text("Error displaying widget").wait_for(state="attached", timeout=20_000)
    assert not page.get_by_text("Error displaying widget").is_visible()
    _keep(page, "restarted")
    page.close()


def test_a_run_moves_its_panel_and_is_cancelled_from_it(lab: tuple[str, Path], browser: Any) -> None:
    address, folder = lab
    start = f"""
import recon3d
project = recon3d.Project.create("bust")
project.add({str(sample_video())!r})
pipeline = recon3d.Pipeline(
    "low",
    workers=1,
    frame_extraction={{"min_frames": 20, "max_frames": 20, "max_image_size": 400}},
    feature_extraction={{"max_features": 1500}},
)
run = pipeline.start(project)
run
"""
    notebook = Notebook(browser, address, folder, "panel", [start])
    page, cell = notebook.page, notebook.cell(0)
    notebook.run()
    bars = cell.locator(".widget-hprogress .progress-bar")
    bars.first.wait_for(timeout=60_000)
    assert bars.count() == 7

    def widths() -> list[float]:
        return [round(bar.bounding_box()["width"]) for bar in bars.all()]

    seen = [widths()]
    # The kernel is free, so it answers while the run goes on.
    while not notebook.ask("run.state.current is not None and run.state.current.name.startswith('dense')"):
        page.wait_for_timeout(200)
        if widths() != seen[-1]:
            seen.append(widths())
        assert notebook.ask("run.running")
    assert len(seen) > 4
    for before, after in itertools.pairwise(seen):
        assert all(b <= a + 1 for b, a in zip(before, after, strict=True))
    frames = cell.locator("img.widget-image").first
    page.wait_for_function("image => image.naturalWidth > 600", arg=frames.element_handle())
    page.get_by_text("Frames: 20").wait_for(timeout=20_000)
    page.get_by_text("Cameras: ").wait_for(timeout=20_000)
    page.get_by_text("Depth maps: ").wait_for(timeout=60_000)
    cell.get_by_text("Log", exact=True).click()
    cell.get_by_text("sparse reconstruction completed").wait_for()
    _keep(page, "panel")
    cell.get_by_role("button", name="Cancel").click()
    notebook.wait_for("not run.running", timeout=30)
    assert notebook.ask("run.state.status") == "cancelled"
    page.get_by_text("cancelled,").locator("visible=true").first.wait_for()
    page.wait_for_timeout(1500)
    assert frames.is_visible()
    _keep(page, "cancelled")
    assert Project.open(folder / "bust").status == "cancelled"
    assert notebook.troubles == []
    page.close()


def test_an_interrupted_wait_leaves_the_run_and_its_panel_alive(lab: tuple[str, Path], browser: Any) -> None:
    address, folder = lab
    start = f"""
import recon3d
project = recon3d.Project.create("interrupted")
project.add({str(sample_video())!r})
run = recon3d.Pipeline("low", workers=1).start(project)
run
"""
    notebook = Notebook(browser, address, folder, "interrupt", [start, *2 * ["run.wait()"]])
    page, cell, waiting = notebook.page, notebook.cell(0), notebook.cell(1)
    notebook.run()
    cell.locator(".widget-hprogress .progress-bar").first.wait_for(timeout=60_000)
    # Not `notebook.run`, which returns at the cell's end.
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
    waiting.get_by_text("[*]:").wait_for()
    page.wait_for_timeout(1500)
    page.evaluate("window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    waiting.get_by_text("KeyboardInterrupt").first.wait_for(timeout=10_000)
    assert notebook.ask("[run.running, run.state.status, project.status]") == [True, "running", "running"]
    said = waiting.get_by_text(
        "The run continues in the background. run.wait() waits again; run.cancel() stops"
    )
    assert said.count() == 1
    button = cell.get_by_role("button", name="Cancel")
    assert button.is_enabled()
    # The panel goes on: its picture of progress changes.
    text = cell.inner_text()
    page.wait_for_timeout(300)
    end = time.monotonic() + 20
    while cell.inner_text() == text:
        assert time.monotonic() < end
        page.wait_for_timeout(100)
    _keep(page, "interrupted")

    # A page that is loaded again while a cell waits has the panel back, and it moves.
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
    notebook.cell(2).get_by_text("[*]:").wait_for()
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    notebook.reload()
    cell.locator(".widget-hprogress .progress-bar").first.wait_for(timeout=20_000)
    text = cell.inner_text()
    page.wait_for_function("([cell, text]) => cell.innerText !== text", arg=[cell.element_handle(), text])
    _keep(page, "reloaded")

    button.click()
    page.get_by_text("Cancelling", exact=True).wait_for(timeout=2000)
    cell.get_by_text("cancelled,").locator("visible=true").first.wait_for(timeout=10_000)
    notebook.wait_for("not run.running", timeout=10)
    assert notebook.ask("[run.state.status, project.status]") == ["cancelled", "cancelled"]
    assert button.is_disabled()
    with pytest.raises(Exception, match="The run was cancelled"):
        notebook.ask("run.wait()")
    assert notebook.troubles == []
    page.close()

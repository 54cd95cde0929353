"""Before and after: two models in one page, with a divider that a mouse, a finger and keys move."""

from __future__ import annotations

import base64
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from recon3d.cli.commands import app
from recon3d.errors import InputError
from recon3d.events import EventLog, StageSkipped
from recon3d.io.gltf import write_glb
from recon3d.project import Project
from recon3d.similarity import scaled
from recon3d.types import TexturedMesh
from recon3d.viewer.aligning import aligned, facing
from recon3d.viewer.html_export import export_html
from recon3d.viewer.view_content import content_of
from tests.synthetic.made_project import box, made_project, manifest_of
from tests.viewer.models import square
from tests.viewer.test_page import opened, part
from tests.viewer.test_phone import Fingers

TURN = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])


def blue_square() -> TexturedMesh:
    """The square in blue, ten times as large, elsewhere."""
    plain = square()
    texture = np.zeros_like(plain.texture)
    texture[..., 2] = 255
    return TexturedMesh(10 * plain.vertices + 7, plain.faces, plain.uv, plain.face_uv, texture)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("both") / "both.html"
    export_html(square(), path, compare=blue_square(), titles=("blue", "red & green"))
    return path


def remember(project: Project, run: str, artifacts: list[str]) -> None:
    """Leave the log of a run that used artifacts."""
    log = EventLog(project.path / "runs" / run / "events.jsonl", run)
    for name in artifacts:
        stage = name.rpartition("-")[0]
        log.emit(StageSkipped(stage=stage, reason="up to date", artifact=f"artifacts/{name}"))


def shares(page: Any) -> tuple[float, float]:
    """Which part of the model's width shows the model before, and which the one after."""
    page.evaluate("delete viewer.root.dataset.complete; viewer.painter.draw()")
    page.wait_for_selector(".recon3d[data-complete]")
    png = base64.b64decode(page.evaluate("viewer.canvas.toDataURL()").partition(",")[2])
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    row = image[image.shape[0] // 3]  # in the upper, red half
    blue = (row[:, 2] > 150) & (row[:, 0] < 80)
    red = (row[:, 0] > 150) & (row[:, 2] < 80)
    assert not blue.any() or not red.any() or np.flatnonzero(blue).max() < np.flatnonzero(red).min()
    return blue.sum() / len(row), red.sum() / len(row)


def test_a_divider_between_two_models_is_moved_by_mouse_and_keys(both: Path, offline_page: Any) -> None:
    page = opened(offline_page, both)
    # Not of one reconstruction: moved so that both look alike.
    assert "not aligned" in page.text_content(part("about"))
    blue, red = shares(page)
    assert blue == pytest.approx(red, rel=0.1)
    assert blue > 0.1
    divider = page.get_by_role("slider", name="Divider between blue, on the left, and red & green")
    box = divider.bounding_box()
    assert box["width"] >= 40
    middle = box["x"] + box["width"] / 2
    yaw = page.evaluate("viewer.camera.yaw")
    page.mouse.move(middle, 200)
    page.mouse.down()
    page.mouse.move(middle + 72, 200, steps=3)  # a tenth of the width
    page.mouse.up()
    assert divider.get_attribute("aria-valuenow") == "60"
    assert shares(page)[0] == pytest.approx(blue + 0.1, abs=0.01)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    assert divider.get_attribute("aria-valuenow") == "48"
    page.keyboard.press("Home")
    assert shares(page)[0] == 0
    page.keyboard.press("End")
    assert shares(page)[1] == 0
    assert page.evaluate("viewer.camera.yaw") == yaw  # the keys turned nothing
    # One box hides the model on both sides.
    page.evaluate("viewer.split.move(0.5)")
    page.click(part("fold"))
    page.click(part("layer-mesh"))
    assert shares(page) == (0, 0)


def test_a_finger_moves_the_divider(browser: Any, both: Path) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    page = opened(context.new_page(), both)
    fingers = Fingers(page)
    fingers.put(0, 195, 300)
    fingers.move(_0=(273, 310))
    fingers.lift(0)
    assert page.locator(part("split")).get_attribute("aria-valuenow") == "70"
    context.close()


def test_models_of_one_subject_are_aligned_by_their_cameras(tmp_path: Path) -> None:
    content = content_of(made_project(tmp_path / "box"))
    other = content_of(made_project(tmp_path / "other", size=3.0))
    same = aligned(other, content)
    assert same is not None
    np.testing.assert_allclose(same.bounds, content.bounds, atol=1e-5)
    # Of one reconstruction no cameras are needed.
    strange = replace(content, names=tuple("abcdefgh"))
    assert aligned(strange, content) is not None
    assert aligned(replace(strange, reconstruction="another"), content) is None
    moved = other.placed(2.0, TURN, np.array([5.0, 0, 0]), np.zeros(3))
    np.testing.assert_allclose(facing(moved, content).bounds, content.bounds, atol=0.06)


def test_an_earlier_run_of_a_project_is_shown_as_it_was(tmp_path: Path) -> None:
    project = made_project(tmp_path / "box")
    remember(project, "first", [artifact.path.name for artifact in project.artifacts.values()])
    work = project.store.begin("texturing", "4" * 16)
    write_glb(work / "textured_mesh.glb", scaled(box(), 0.5))
    sources = {"sparse_reconstruction": "1" * 16, "dense_reconstruction": "2" * 16}
    project.store.commit(work, manifest_of(work.name, sources))
    remember(project, "second", [work.name])
    first, second = project.runs
    assert first.artifacts["texturing"].path.name == "texturing-" + "3" * 16
    assert set(first.artifacts) == set(project.artifacts)
    assert second.artifacts["texturing"].path == project.artifacts["texturing"].path
    assert content_of(first).opening.distance(1) > 1.5 * content_of(project).opening.distance(1)

    page = tmp_path / "both.html"
    command = ["view", str(project.path), "--no-open", "-o", str(page), "--compare"]
    assert CliRunner().invoke(app, [*command, "first"]).exit_code == 0
    described = json.loads(
        page.read_text().partition('type="application/json">')[2].partition("</script>")[0]
    )
    assert described["titles"] == ["first", "box"]
    assert set(described["other"]) == {"vertices", "faces", "uv", "points", "point_colors"}
    wrong = CliRunner().invoke(app, [*command, "third"])
    assert isinstance(wrong.exception, InputError)
    assert wrong.exception.message.startswith("'third' is neither the folder of a project nor a run of ")
    assert wrong.exception.hint == "Its runs: first, second."

    shutil.rmtree(project.artifacts["texturing"].path)
    with pytest.raises(InputError, match="Nothing is left to show of the run second") as told:
        content_of(second)
    assert "recon3d clean" in told.value.hint

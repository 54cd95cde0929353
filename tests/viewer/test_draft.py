"""The coarse surface that is seen first: near the whole one, in its colours, and replaced by it."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recon3d.viewer.draft import DRAFT_FACES, coarsened, soft_colors
from recon3d.viewer.html_export import export_html
from recon3d.viewer.view_content import content_of
from tests.viewer.models import globe, square

#: Keeps the picture after each drawing of triangles, with their number.
_WATCH = """
window.frames_ = [];
const draw = WebGL2RenderingContext.prototype.drawElements;
WebGL2RenderingContext.prototype.drawElements = function (...a) {
  draw.apply(this, a);
  queueMicrotask(() => window.frames_.push([a[1] / 3, this.canvas.toDataURL()]));
};
"""


def test_a_draft_has_the_shape_and_the_colours_of_the_whole() -> None:
    content = content_of(globe())
    draft = content.draft
    assert draft is not None
    assert draft.vertices is not None
    assert draft.faces is not None
    assert draft.vertex_colors is not None
    assert 0.3 * DRAFT_FACES < len(draft.faces) <= DRAFT_FACES
    away = np.linalg.norm(draft.vertices + draft.origin, axis=1)
    assert away.min() > 0.97
    assert away.max() < 1.01
    used = np.unique(draft.faces)
    height = (draft.vertices + draft.origin)[used, 1]
    shades = draft.vertex_colors[used].astype(int)
    assert (shades[height > 0.1] == (255, 0, 0)).all()
    assert (shades[height < -0.1] == (0, 255, 0)).all()
    assert draft.opening is content.opening
    assert content_of(square()).draft is None


def test_what_is_farther_is_coarser() -> None:
    rng = np.random.default_rng(0)
    side = 300
    x, z = np.meshgrid(np.linspace(0, 10, side), np.linspace(0, 10, side), indexing="ij")
    vertices = np.stack([x, 0.01 * rng.normal(size=x.shape), z], axis=-1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.stack([corner, corner + 1, corner + side + 1], axis=1).astype(np.uint32)
    made, triangles, colors = coarsened(vertices, faces, None, np.array([0.0, 1.0, 0.0]), most=5000)
    assert colors is None
    assert len(triangles) <= 5000
    near = np.count_nonzero((made[:, 0] < 2) & (made[:, 2] < 2))
    far = np.count_nonzero((made[:, 0] > 8) & (made[:, 2] > 8))
    assert near > 3 * far > 0
    # What is small already stays.
    same = coarsened(vertices, faces[:4000], None, np.zeros(3), most=5000)
    assert same[0] is vertices


def test_colours_stand_for_the_texels_around_them() -> None:
    texture = np.zeros((2048, 2048, 3), np.uint8)
    texture[::2] = 200  # stripes: a nearest texel would be either
    uv = np.random.default_rng(0).random((100, 2)).astype(np.float32)
    np.testing.assert_allclose(soft_colors(texture, uv), 100, atol=1)


def test_the_page_shows_the_draft_first_and_then_the_whole(tmp_path: Path, offline_page: Any) -> None:
    path = tmp_path / "globe.html"
    model = globe()
    content = export_html(model, path)
    assert content.draft is not None
    assert content.draft.faces is not None
    text = path.read_text()
    order = [text.index(part) for part in ("recon3d-draft-faces", '"use strict"', '"recon3d-faces"')]
    assert order == sorted(order)
    offline_page.add_init_script(_WATCH)
    offline_page.goto(path.as_uri())
    offline_page.wait_for_selector(".recon3d[data-complete]")
    frames = offline_page.evaluate("window.frames_")
    counts = [count for count, _ in frames]
    assert counts[0] == len(content.draft.faces)
    assert counts[-1] == len(model.faces)
    assert sorted(counts) == counts  # the draft does not come back
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")).astype(int)
        for _, uri in (frames[0], frames[-1])
    ]
    for picture in pictures:
        red = (picture[..., 0] > 150) & (picture[..., 1] < 80)
        green = (picture[..., 1] > 150) & (picture[..., 0] < 80)
        assert red.sum() > 10_000
        assert green.sum() > 10_000
        assert np.argwhere(red)[:, 0].mean() < np.argwhere(green)[:, 0].mean()
    different = np.abs(pictures[0] - pictures[1]).max(axis=2) > 60
    assert different.mean() < 0.03
    assert f"{len(model.faces):,} triangles" in offline_page.text_content("[data-part=about]")
    # Clicks meet the whole, which the draft's buffers are gone from.
    viewer = "document.getElementById('viewer').viewer"
    assert offline_page.evaluate(f"{viewer}.model.faces.length") == 3 * len(model.faces)
    assert offline_page.evaluate(f"{viewer}.gl.getError()") == 0


def test_a_slow_machine_draws_the_draft_while_a_hand_moves_the_camera(
    tmp_path: Path, offline_page: Any
) -> None:
    path, model = tmp_path / "globe.html", globe()
    content = export_html(model, path)
    whole, draft = len(model.faces), len(content.draft.faces)  # type: ignore[union-attr]
    page = offline_page
    page.add_init_script(_WATCH)
    page.goto(path.as_uri())
    page.wait_for_selector(".recon3d[data-complete]")
    painter = "document.getElementById('viewer').viewer.painter"

    def drawn_while(slow: bool) -> set[int]:
        page.evaluate("delete document.getElementById('viewer').dataset.complete")
        page.evaluate(f"{painter}.slow = {str(slow).lower()}; {painter}.timing = true; frames_.length = 0")
        page.mouse.move(300, 200)
        page.mouse.down()
        page.mouse.move(340, 210, steps=4)
        page.wait_for_timeout(900)  # as long as the hand holds it
        counts = {int(count) for count, _ in page.evaluate("frames_")}
        page.mouse.up()
        page.wait_for_selector(".recon3d[data-complete]")
        assert page.evaluate("frames_.at(-1)[0]") == whole
        return counts

    assert drawn_while(slow=True) == {draft}
    assert drawn_while(slow=False) == {whole}
    # How long pictures take is measured.
    for limit, slow in ((0, "true"), (1e6, "false")):
        page.evaluate(f"{painter}.timing = false; {painter}.time({limit})")
        page.wait_for_function(f"() => !{painter}.timing")
        assert page.evaluate(f"{painter}.slow === {slow}")


@pytest.mark.parametrize("drafted", ["before", "after", "both"])
def test_two_models_are_both_shown_whole(drafted: str, tmp_path: Path, offline_page: Any) -> None:
    path = tmp_path / "two.html"
    before, after = (globe() if drafted in (name, "both") else square() for name in ("before", "after"))
    export_html(after, path, compare=before)
    offline_page.goto(path.as_uri())
    offline_page.wait_for_selector(".recon3d[data-complete]")
    models = offline_page.evaluate(
        "(({surfaces, other}) => [other, surfaces].map((one) => one.mesh.solid.count / 3))"
        "(document.getElementById('viewer').viewer)"
    )
    assert models == [len(before.faces), len(after.faces)]

"""The page module in a page of somebody else's: a GLB and a scene behind addresses, a strict policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recon3d
from recon3d.io.gltf import write_glb
from recon3d.types import Mesh
from recon3d.viewer.view_content import content_of
from tests.synthetic.made_project import box, made_project

_HOST = "http://viewer.test"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:"
)
_INDEX = """<!doctype html><html><head><link rel="stylesheet" href="/recon3d-viewer.css">
<link rel="stylesheet" href="/page.css"><script src="/recon3d-viewer.js"></script></head>
<body><div id="model"></div></body></html>"""


@pytest.fixture
def served(browser: Any) -> Any:
    """A page, and the files of its host; other addresses fail."""
    context = browser.new_context(viewport={"width": 480, "height": 360}, reduced_motion="reduce")
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: troubles.append(str(e)))
    files: dict[str, tuple[bytes, str]] = {
        "/": (_INDEX.encode(), "text/html"),
        "/page.css": (b"#model{width:480px;height:360px}", "text/css"),
        "/favicon.ico": (b"", "image/png"),
    }
    for name, data in recon3d.viewer_files().items():
        files[f"/{name}"] = (data, "text/css" if name.endswith("css") else "text/javascript")

    def answer(route: Any) -> None:
        path = route.request.url.removeprefix(_HOST)
        if path not in files:
            route.fulfill(status=404, body="")
            return
        data, kind = files[path]
        headers = {"Content-Security-Policy": _POLICY}
        route.fulfill(status=200, body=data, content_type=kind, headers=headers)

    context.route("**/*", answer)
    yield page, files
    context.close()
    assert troubles == []


def _open(page: Any, options: str) -> None:
    page.goto(f"{_HOST}/")
    root = "document.getElementById('model')"
    page.evaluate(f"async () => {{ window.viewer = await Recon3DViewer.open({root}, {options}); }}")
    page.wait_for_selector(".recon3d[data-complete]")


def test_a_glb_and_a_scene_show_as_the_exported_page_does(served: Any, tmp_path: Path) -> None:
    page, files = served
    project = made_project(tmp_path / "box")
    content = content_of(project)
    glb = project.results.textured_mesh.read_bytes()
    files["/model.glb"] = (glb, "model/gltf-binary")
    scene = recon3d.view_scene(project, title="A box")
    assert "photo" not in scene["cameras"][0]
    files["/scene.json"] = (json.dumps(scene).encode(), "application/json")
    _open(
        page,
        "{model: '/model.glb', scene: '/scene.json', headers: {Authorization: 'Bearer x'},"
        " onProgress: (done) => { window.loaded = done; }}",
    )
    assert page.evaluate("window.loaded") == len(glb)
    assert page.text_content("h1") == "A box"
    assert "12 triangles" in page.text_content("[data-part=about]")
    eye = np.array(page.evaluate("viewer.camera.frame().eye")) + page.evaluate("viewer.model.origin")
    np.testing.assert_allclose(eye, content.opening.eye(480 / 360) + content.origin, atol=1e-3)
    center = np.array(page.evaluate("viewer.model.cameras[2].center"))
    np.testing.assert_allclose(center, [0, 0.6, 1], atol=1e-5)
    page.evaluate("viewer.close()")
    assert page.evaluate("document.getElementById('model').childElementCount") == 0


def test_a_glb_alone_far_from_the_origin_and_of_another_up_stands_upright(
    served: Any, tmp_path: Path
) -> None:
    page, files = served
    shape = box()
    far = np.array([4e6, 5e5, 100.0])
    mesh = Mesh(
        shape.vertices + far, shape.faces, np.full((len(shape.vertices), 3), (250, 120, 30), np.uint8)
    )
    write_glb(tmp_path / "model.glb", mesh, up=np.array([0.0, 0.0, 1.0]))
    files["/model.glb"] = ((tmp_path / "model.glb").read_bytes(), "model/gltf-binary")
    _open(page, "{model: '/model.glb', title: 'far'}")
    np.testing.assert_allclose(page.evaluate("viewer.model.up"), [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(page.evaluate("viewer.model.origin"), far, rtol=1e-9)
    region = page.evaluate("viewer.region()")
    np.testing.assert_allclose(np.ptp(region, axis=0), [1, 0.6, 0.8], atol=1)  # seven digits of four million
    assert page.evaluate("[...viewer.model.vertexColors.slice(0, 3)]") == [250, 120, 30]


def test_what_cannot_be_loaded_is_an_error_in_words(served: Any, tmp_path: Path) -> None:
    page, files = served
    page.goto(f"{_HOST}/")
    files["/page.html"] = (b"<html>no model</html>", "text/html")
    message = "(model) => Recon3DViewer.open(document.body, { model }).catch((e) => e.message)"
    assert "not a GLB" in page.evaluate(message, "/page.html")

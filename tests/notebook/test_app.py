"""The app: in Python, and as a page that Voilà serves."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from recon3d.cli.sample import sample_video
from recon3d.project import Project

pytest.importorskip("ipywidgets", reason="needs recon3d[notebook]")

from recon3d.notebook.app import App
from tests.synthetic.made_project import made_project

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def _given(name: str, content: bytes) -> tuple[dict[str, Any], ...]:
    """What FileUpload holds when a browser has sent a file."""
    when = datetime.now(tz=timezone.utc)
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    return ({**file, "last_modified": when},)


def test_what_is_no_good_is_told_and_leaves_no_project(tmp_path: Path) -> None:
    app = App(tmp_path / "apps", paths=True)
    app.start_button.click()
    assert "no files yet" in app.message.value
    app.upload.value = _given("<b>.mp4", b"shopping list")
    assert "ready to start" in app.message.value
    app.start_button.click()
    assert "&lt;b&gt;.mp4" in app.message.value
    assert not list((tmp_path / "apps").iterdir())
    app.upload.value = ()
    app.path.value = str(tmp_path / "lost.mp4")
    app.start_button.click()
    assert "does not exist" in app.message.value
    assert not app.start_button.disabled
    assert app.run is None


def test_any_error_is_told_and_one_can_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = App(tmp_path / "apps", paths=True)
    app.path.value = str(sample_video())
    app.upload.value = _given("a.mp4", sample_video().read_bytes())
    app.start_button.click()
    assert "both" in app.message.value
    app.upload.value = ()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Project, "add", full)
    app.start_button.click()
    assert "No space left" in app.message.value
    assert not app.start_button.disabled
    assert not list((tmp_path / "apps").iterdir())


def test_a_finished_project_is_shown_with_its_files(tmp_path: Path) -> None:
    app = App(tmp_path / "apps")
    app._show(made_project(tmp_path / "box"))
    assert "Done" in app.message.value
    assert len(app.model.children) == 1
    labels = [download.children[0].description for download in app.downloads.children]
    assert [label.split(" (")[0] for label in labels] == ["Model", "Points"]
    app.downloads.children[0].children[0].click()
    link = app.downloads.children[0].children[0].value
    assert 'download="textured_mesh.glb"' in link
    data = base64.b64decode(link.partition("base64,")[2].partition('"')[0])
    assert data == (tmp_path / "box" / "results" / "textured_mesh.glb").read_bytes()


def test_projects_of_the_folder_are_listed_opened_and_continued(tmp_path: Path) -> None:
    assert App(tmp_path / "none")._chosen.layout.display == "none"
    made_project(tmp_path / "apps" / "box")
    started = Project.create(tmp_path / "apps" / "begun")
    started.add(sample_video())
    app = App(tmp_path / "apps")
    assert set(app.projects.options) == {"box", "begun"}
    assert app.projects.value == app.projects.options[0]
    app.projects.value = "box"
    app.open_button.click()
    assert len(app.model.children) == 1
    assert app.widget.children[0] is app.model  # at the top
    app.projects.value = "begun"
    app.open_button.click()
    assert app.model.children == ()
    assert "begun is new. Start continues it." in app.message.value
    app.start_button.click()
    assert app.run is not None
    assert app.run.project.path == started.path
    assert app.progress.selected_index == 0
    app.run.cancel()
    app.join(30)
    # A file of its own, with a name of its own.
    app.upload.value = _given("a.mp4", sample_video().read_bytes())
    app.name.value = "../My statue"
    app.start_button.click()
    assert app.project is not None
    assert app.run is not None
    assert app.project.path == tmp_path / "apps" / "My-statue"
    assert app.projects.value == "My-statue"
    app.run.cancel()
    app.join(30)
    app._show(Project.open(tmp_path / "apps" / "box"))
    assert app.progress.selected_index is None  # folded


def test_a_name_from_the_browser_stays_in_its_folder_and_cancel_ends_the_run(tmp_path: Path) -> None:
    app = App(tmp_path / "apps")
    assert app.path.layout.display == "none"
    app.path.value = str(tmp_path)  # hidden, so not looked at
    app.upload.value = _given("../../evil.mp4", sample_video().read_bytes())
    app.start_button.click()
    assert app.project is not None
    assert app.run is not None
    assert app.project.path == tmp_path / "apps" / "evil"
    assert app.upload.value == ()
    assert app.start_button.disabled
    app.run.cancel()
    app.join(30)
    assert "cancelled" in app.message.value
    assert not app.start_button.disabled
    assert app.downloads.children == ()
    # The folder is taken now; the project itself can be gone on with.
    app = App(tmp_path / "apps", paths=True)
    app.path.value = str(sample_video())
    app.start_button.click()
    assert app.run is not None
    app.run.cancel()
    app.join(30)
    assert [path.name for path in sorted((tmp_path / "apps").iterdir())] == ["bust", "evil"]
    assert Project.open(tmp_path / "apps" / "evil").status == "cancelled"


@contextmanager
def _voila(folder: Path) -> Iterator[str]:
    """Serve the folder's ``app.ipynb``; gives the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "voila", "app.ipynb", "--no-browser", f"--port={port}"]
    environment = {**os.environ, "HOME": str(folder)}
    with open(folder / "voila.log", "wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/static/", timeout=2).close()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                if time.monotonic() > end or server.poll() is not None:
                    raise RuntimeError((folder / "voila.log").read_text()[-2000:]) from None
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(20)


def test_voila_serves_the_app_takes_a_large_upload_and_cancels(tmp_path: Path, browser: Any) -> None:
    pytest.importorskip("voila", reason="needs recon3d[app]")
    for name in ("app.ipynb", "voila.json"):
        shutil.copy(NOTEBOOKS / name, tmp_path)
    # More than the 10 MB of a message that Jupyter's server takes by itself; players skip the rest.
    video = tmp_path / "large.mp4"
    video.write_bytes(sample_video().read_bytes() + bytes(12_000_000))
    with _voila(tmp_path) as address:
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        # Voilà's own template asks a server for an icon font; nothing else may.
        page.route(
            "**/*",
            lambda route: route.continue_() if route.request.url.startswith(address) else route.abort(),
        )
        page.goto(address)
        page.get_by_role("button", name="Start").wait_for(timeout=60_000)
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose files").click()
        chooser.value.set_files(str(video))
        page.wait_for_selector("text=ready to start", timeout=30_000)
        page.get_by_role("button", name="Start").click()
        page.wait_for_selector("text=frame extraction", timeout=30_000)
        assert (tmp_path / "recon3d-app" / "large" / "recon3d.json").is_file()
        page.get_by_role("button", name="Cancel").click()
        page.wait_for_selector("text=cancelled", timeout=30_000)
        assert troubles == []
        page.close()

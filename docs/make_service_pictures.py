"""Make the pictures of docs/how-to/use-the-web-page.md: ``python -m docs.make_service_pictures PROJECT``.

Serves a new service and uses its page as a person does, with the sample video. PROJECT is a finished
run on it at quality low, by this version: its artifacts are put into the service's project, so that the
run ends in seconds. Writes ``docs/images/service_*.jpg``. Chromium and recon3d[test] are needed.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

import recon3d
from recon3d_api.settings import Settings
from tests.api.conftest import Api, served
from tests.notebook.browser import launch

_IMAGES = Path(__file__).parent / "images"
_SAMPLE = Path(__file__).parents[1] / "examples" / "data" / "bust.mp4"
_PASSWORD = "correct horse battery"
_DESKTOP = {"viewport": {"width": 1100, "height": 820}, "reduced_motion": "reduce"}
_PHONE = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "reduced_motion": "reduce",
}
_MINUTES = 60_000
#: Bytes of a picture in the docs.
_LARGEST = 200_000


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    finished = recon3d.Project.open(parser.parse_args().project)
    with tempfile.TemporaryDirectory() as folder, launch() as browser:
        settings = Settings(data_dir=Path(folder) / "data", min_free_mb=1)
        with served(settings, fake=False) as api:
            _make_model(browser.new_context(**_DESKTOP).new_page(), api, finished)
            for name, options in (
                ("phone", _PHONE),
                ("dark", {**_DESKTOP, "color_scheme": "dark"}),
            ):
                _look(browser.new_context(**options).new_page(), api.url, name)


def _make_model(page: Any, api: Api, finished: recon3d.Project) -> None:
    page.set_default_timeout(4 * _MINUTES)
    page.goto(f"{api.url}/#/signup")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("E-mail address").fill("ada@example.com")
    page.get_by_label("Password").fill(_PASSWORD)
    page.get_by_role("button", name="Create an account").click()
    page.get_by_label("Name", exact=True).fill("Bust of a philosopher")
    page.get_by_role("button", name="Create").click()
    page.get_by_label("Choose files").set_input_files(_SAMPLE)
    page.get_by_text("Your files look good.").wait_for()
    page.get_by_label("Quick").check()
    _keep(page, "check", full_page=True)
    _take_over(api, finished, recon3d.STAGE_NAMES[:4])
    page.get_by_role("button", name="Make the model").click()
    page.locator("li[aria-current=step]").get_by_text("Measuring the depth").wait_for()
    page.get_by_role("img", name="Chosen picture 8", exact=True).wait_for()
    page.get_by_role("img", name="Depth map of ").nth(3).wait_for()
    _keep(page, "running", full_page=True)
    page.locator(".run").get_by_role("button", name="Cancel").click()
    page.get_by_text("The run was cancelled.").wait_for()
    _take_over(api, finished, recon3d.STAGE_NAMES[4:])
    page.get_by_role("button", name="Resume").click()
    _shown(page)
    _keep(page, "model")
    page.get_by_label("For whom").fill("Museum")
    page.get_by_role("button", name="Create a link").click()
    page.get_by_role("button", name="End Museum").wait_for()
    _keep(page.locator(".share"), "share")


def _take_over(api: Api, finished: recon3d.Project, stages: tuple[str, ...]) -> None:
    for stage in stages:
        made = finished.artifacts[stage].path
        shutil.copytree(made, api.root(1) / "model" / "artifacts" / made.name)


def _look(page: Any, url: str, name: str) -> None:
    page.set_default_timeout(4 * _MINUTES)
    page.goto(url)
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(_PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("img", name="Preview of Bust").wait_for()
    page.wait_for_timeout(500)
    _keep(page, f"projects_{name}")
    page.get_by_role("link", name="Bust").click()
    _shown(page)
    _keep(page, f"model_{name}")


def _shown(page: Any) -> None:
    page.locator("iframe").wait_for()
    page.get_by_text("Preparing the 3D view").wait_for(state="detached")
    page.wait_for_timeout(3000)


def _keep(element: Any, name: str, **options: Any) -> None:
    """Take a picture; all colours, since a palette for a model has none left for links."""
    path = _IMAGES / f"service_{name}.jpg"
    taken = Image.open(io.BytesIO(element.screenshot(**options)))
    for quality in (88, 80, 70, 60):
        taken.convert("RGB").save(path, quality=quality, subsampling=0, optimize=True)
        if path.stat().st_size < _LARGEST:
            break
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

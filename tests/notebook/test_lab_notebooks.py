"""Every notebook of ``notebooks/`` in a real JupyterLab without a network, as a reader runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.notebook.kept import FOLDER, KeptNotebook
from tests.notebook.lab import jupyter_lab

for _needed in ("jupyterlab", "ipywidgets", "pythreejs", "ipykernel"):
    pytest.importorskip(_needed, reason="needs recon3d[app]")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))

#: Cells whose output has a viewer in it.
VIEWERS = {
    "01_video_to_model": ["view"],
    "02_inside_each_stage": ["scene", "cloud", "model"],
    "03_quality_against_time": ["compare"],
    "04_photos_scale_and_export": ["viewer"],
    "05_dask_cluster": ["cloud"],
    "06_service_from_python": ["download"],
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("notebooks")
    with jupyter_lab(folder) as address:
        yield address, folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for pictures: the one that ``RECON3D_SCREENSHOTS`` names, for human eyes."""
    named = os.environ.get("RECON3D_SCREENSHOTS")
    return Path(named) if named else tmp_path_factory.mktemp("pictures")


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_top_to_bottom(
    name: str, lab: tuple[str, Path], browser: Any, pictures: Path
) -> None:
    address, folder = lab
    notebook = KeptNotebook(browser, address, folder, name)
    page = notebook.page
    notebook.start()
    if name == "01_video_to_model":
        _watch_the_panel(notebook, pictures)
    assert notebook.finish(timeout=600) == []
    for cell in notebook.cells():
        if notebook.show(cell["id"]).locator(".jp-OutputArea-output").count():
            notebook.picture(cell["id"], pictures / f"{name}-{cell['id']}.png")
    for cell in VIEWERS.get(name, []):
        canvas = notebook.show(cell).locator("canvas").first
        canvas.wait_for(timeout=60_000)
        page.wait_for_timeout(1500)
        drawn = pictures / f"{name}-{cell}-canvas.png"
        canvas.screenshot(path=str(drawn))
        pixels = np.asarray(Image.open(drawn).convert("RGB")).astype(int)
        assert (np.abs(pixels - (0x15, 0x18, 0x1C)).max(axis=2) > 20).mean() > 0.02, cell
    assert notebook.troubles == []
    page.close()


def _watch_the_panel(notebook: KeptNotebook, pictures: Path) -> None:
    """The panel of the run moves while the next cell waits."""
    cell = notebook.show("start")
    bars = cell.locator(".widget-hprogress .progress-bar")
    bars.first.wait_for(timeout=120_000)
    seen = []
    for number in range(6):
        seen.append(sum(round(bar.bounding_box()["width"]) for bar in bars.all()))
        notebook.page.screenshot(path=str(pictures / f"panel-{number}.png"))
        notebook.page.wait_for_timeout(4000)
    assert len(set(seen)) >= 3
    assert seen == sorted(seen)

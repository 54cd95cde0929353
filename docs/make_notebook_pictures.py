"""Make the pictures of docs/tutorials/notebook.md: ``python -m docs.make_notebook_pictures [NOTEBOOK ...]``.

Runs notebooks in a real JupyterLab, as the tests do (Chromium and recon3d[test] are needed), and
writes ``docs/images/notebook_*.png``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from tests.notebook.browser import launch
from tests.notebook.kept import KeptNotebook
from tests.notebook.lab import jupyter_lab

IMAGES = Path(__file__).parent / "images"

#: By notebook: cells and the names of their pictures.
_CELLS = {
    "01_video_to_model": {},
    "02_inside_each_stage": {"graph": "graph"},
    "03_quality_against_time": {"compare": "compare"},
}


def main() -> None:
    """Run the notebooks and keep what some cells show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", help=f"of {', '.join(_CELLS)}; all by default")
    chosen = parser.parse_args().notebooks or list(_CELLS)
    with tempfile.TemporaryDirectory() as folder, jupyter_lab(Path(folder)) as address, launch() as browser:
        for name in chosen:
            notebook = KeptNotebook(browser, address, Path(folder), name)
            notebook.start()
            if name.startswith("01"):
                notebook.page.get_by_text("Depth maps: ").wait_for(timeout=300_000)
                _keep(notebook, "start", "panel")
            errors = notebook.finish(timeout=900)
            if errors:
                raise SystemExit(f"{name}: {errors}")
            for cell, picture in _CELLS[name].items():
                _keep(notebook, cell, picture)
            notebook.page.close()


def _keep(notebook: KeptNotebook, cell: str, name: str) -> None:
    """Take a cell's picture, in few colours."""
    path = IMAGES / f"notebook_{name}.png"
    notebook.picture(cell, path, settle=3.0)
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(160, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

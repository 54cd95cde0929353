"""Make the picture of the first views, ``docs/images/openings.jpg``.

``python docs/make_opening_pictures.py tiles FOLDER PROJECT NAME`` exports a project's page with the
recon3d that is on the path, opens it in Chromium, and keeps what is seen first as FOLDER/NAME.png.

``python docs/make_opening_pictures.py sheet BEFORE AFTER`` puts the tiles of two folders together: the
upper of each pair of rows is from BEFORE.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import recon3d
from tests.notebook.browser import launch

_SIZE = {"width": 600, "height": 450}
_TILE, _COLUMNS, _GAP = (240, 180), 7, 4


def tile(folder: Path, project: Path, name: str) -> None:
    """Keep a project's first view in the browser."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, launch() as browser:
        path = Path(scratch) / "page.html"
        recon3d.export_html(recon3d.Project.open(project), path, title=name)
        page = browser.new_page(viewport=_SIZE, reduced_motion="reduce", color_scheme="light")
        page.goto(path.as_uri())
        page.wait_for_selector("[data-complete]", timeout=120_000)
        page.screenshot(path=folder / f"{name}.png")


def sheet(before: Path, after: Path) -> None:
    """Write the tiles of both folders as one picture."""
    names = sorted(path.stem for path in after.glob("*.png"))
    rows = []
    for start in range(0, len(names), _COLUMNS):
        for folder in (before, after):
            row = np.full((_TILE[1] + _GAP, _COLUMNS * (_TILE[0] + _GAP), 3), 255, np.uint8)
            for column, name in enumerate(names[start : start + _COLUMNS]):
                with Image.open(folder / f"{name}.png") as picture:
                    small = picture.convert("RGB").resize(_TILE, Image.Resampling.LANCZOS)
                left = column * (_TILE[0] + _GAP)
                row[: _TILE[1], left : left + _TILE[0]] = np.asarray(small)
            rows.append(row)
        rows.append(np.full((4 * _GAP, rows[0].shape[1], 3), 255, np.uint8))
    target = Path(__file__).parent / "images" / "openings.jpg"
    Image.fromarray(np.vstack(rows)).save(target, quality=82, optimize=True)
    print(f"{target}: {', '.join(names)}")


def main() -> None:
    """Make what the command line names."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    kinds = parser.add_subparsers(dest="kind", required=True)
    tiles = kinds.add_parser("tiles")
    tiles.add_argument("folder", type=Path)
    tiles.add_argument("project", type=Path)
    tiles.add_argument("name")
    joined = kinds.add_parser("sheet")
    joined.add_argument("before", type=Path)
    joined.add_argument("after", type=Path)
    given = parser.parse_args()
    if given.kind == "tiles":
        tile(given.folder, given.project, given.name)
    else:
        sheet(given.before, given.after)


if __name__ == "__main__":
    main()

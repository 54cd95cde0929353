"""The notebooks of ``notebooks/`` in a real JupyterLab."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from tests.notebook.lab import Notebook

FOLDER = Path(__file__).parents[2] / "notebooks"

#: By id: how often each code cell was run, and the texts of its errors.
_CELLS = """() => {
    const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells];
    return cells.filter(c => c.type === 'code').map(c => {
        const outputs = c.sharedModel.toJSON().outputs;
        const errors = outputs.filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue);
        return {id: c.id, count: c.executionCount, errors};
    });
}"""
_KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
_SHOW = """id => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    const index = notebook.widgets.findIndex(w => w.model.id === id);
    notebook.activeCellIndex = index;
    return notebook.scrollToItem(index, 'start').then(() => index);
}"""


class KeptNotebook(Notebook):
    """A copy of one of our notebooks, open in a page.

    Parameters
    ----------
    browser : playwright Browser
    address : str
        Of the server.
    folder : Path
        That the server serves.
    name : str
    """

    def __init__(self, browser: Any, address: str, folder: Path, name: str) -> None:
        shutil.copy(FOLDER / f"{name}.ipynb", folder)
        super().__init__(browser, address, folder, name, None)

    def start(self) -> None:
        """Run all cells, without waiting for them."""
        self.page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def cells(self) -> list[dict[str, Any]]:
        """Id, count and errors of each code cell."""
        made: list[dict[str, Any]] = self.page.evaluate(_CELLS)
        return made

    def finish(self, timeout: float) -> list[str]:
        """Wait for the last cell; gives the errors of the cells."""
        end = time.monotonic() + timeout
        while True:
            cells = self.cells()
            errors = [error for cell in cells for error in cell["errors"]]
            done = all(cell["count"] is not None for cell in cells)
            if errors or (done and self.page.evaluate(_KERNEL) == "idle"):
                return errors
            if time.monotonic() > end:
                waiting = [cell["id"] for cell in cells if cell["count"] is None]
                raise TimeoutError(f"cells {waiting} did not end within {timeout} s")
            self.page.wait_for_timeout(200)

    def show(self, cell: str) -> Any:
        """Scroll to the cell with this id; gives its element."""
        index = self.page.evaluate(_SHOW, cell)
        element = self.page.locator(f".jp-NotebookPanel .jp-Cell[data-windowed-list-index='{index}']")
        element.wait_for()
        return element

    def picture(self, cell: str, path: Path, settle: float = 1.5) -> None:
        """Take a picture of what a cell shows."""
        output = self.show(cell).locator(".jp-Cell-outputWrapper")
        self.page.wait_for_timeout(1000 * settle)
        output.screenshot(path=str(path))

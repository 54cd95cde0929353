"""How soon a run's panel in JupyterLab is true again after what people do to its cell.

    python -m tests.benchmarks.notebook_answers

Prints the seconds from the act to what shows its effect in the browser: an interrupted cell, *Cancel*, a
page that is loaded again while a cell waits, and a kernel that is restarted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recon3d.cli.sample import sample_video
from tests.notebook.browser import launch
from tests.notebook.lab import Notebook, jupyter_lab

_RUN = "void window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')"


def _timed(name: str, act: Callable[[], Any], seen: Callable[[], Any]) -> None:
    began = time.monotonic()
    act()
    acted = time.monotonic()
    seen()
    now = time.monotonic()
    print(f"| {name} | {now - began:.2f} s | {now - acted:.2f} s after the browser had done its part |")


def main() -> None:
    """Measure all four."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    start = (
        "import recon3d\nproject = recon3d.Project.create('bust')\n"
        f"project.add({str(sample_video())!r})\n"
        "run = recon3d.Pipeline('low', workers=1).start(project)\nrun"
    )
    with tempfile.TemporaryDirectory() as scratch, launch() as browser, jupyter_lab(Path(scratch)) as address:
        notebook = Notebook(browser, address, Path(scratch), "answers", [start, *3 * ["run.wait()"]])
        page, cell = notebook.page, notebook.cell(0)
        bar = cell.locator(".widget-hprogress .progress-bar").first
        execute = "window.jupyterapp.commands.execute"
        notebook.run()
        bar.wait_for(timeout=60_000)

        page.evaluate(_RUN)
        notebook.cell(1).get_by_text("[*]:").wait_for()
        page.wait_for_timeout(1500)
        _timed(
            "interrupt: the cell says that the run continues",
            lambda: page.evaluate(f"void {execute}('notebook:interrupt-kernel')"),
            lambda: notebook.cell(1).get_by_text("The run continues in the background").first.wait_for(),
        )
        page.evaluate(_RUN)
        notebook.cell(2).get_by_text("[*]:").wait_for()
        page.evaluate(f"{execute}('docmanager:save')")
        _timed(
            "the page is loaded again while a cell waits: JupyterLab shows the notebook, then the last table",
            notebook.reload,
            lambda: cell.locator("table").first.wait_for(timeout=60_000),
        )
        _timed(
            "then JupyterLab connects to the kernel, and the panel is back",
            lambda: None,
            lambda: bar.wait_for(timeout=60_000),
        )
        page.wait_for_timeout(2000)
        _timed(
            "Cancel: the panel says cancelled",
            cell.get_by_role("button", name="Cancel").click,
            lambda: cell.get_by_text("cancelled,").locator("visible=true").first.wait_for(timeout=60_000),
        )
        notebook.wait_for("not run.running")
        page.evaluate(f"{execute}('docmanager:save')")
        _timed(
            "the kernel is restarted: the table that the panel left is shown in its place",
            lambda: page.evaluate(
                "void window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
            ),
            lambda: (
                bar.wait_for(state="hidden", timeout=60_000),
                cell.get_by_text("sparse reconstruction").locator("visible=true").first.wait_for(),
            ),
        )


if __name__ == "__main__":
    main()

"""A real JupyterLab and pages of it, driven by Playwright with the network blocked."""

from __future__ import annotations

import json
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
from pathlib import Path
from typing import Any

#: Words of the console that are not ours: JupyterLab asks servers that a blocked network hides.
_NOT_OURS = ("ERR_FAILED", "ERR_BLOCKED", "ERR_INTERNET", "favicon")

#: What the wheel brings, without which a question about building lies over the page.
_OURS = Path(__file__).parents[2] / "recon3d" / "notebook" / "page_config.json"
#: No question about news either.
_PAGE = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}


@contextmanager
def jupyter_lab(folder: Path) -> Iterator[str]:
    """Serve `folder`; gives the server's address."""
    home = folder / ".home"
    config = home / "labconfig"
    (config / "page_config.d").mkdir(parents=True)
    (config / "page_config.json").write_text(json.dumps(_PAGE))
    shutil.copy(_OURS, config / "page_config.d" / "recon3d.json")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}"),
        *("--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"),
        *("--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={folder}"),
        *("--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
    ]
    with open(folder / "lab.log", "wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/api", timeout=2).close()
                break
            except (urllib.error.URLError, OSError):
                if time.monotonic() > end or server.poll() is not None:
                    raise RuntimeError((folder / "lab.log").read_text()[-2000:]) from None
                time.sleep(0.3)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:  # it waits for kernels
            server.kill()
            server.wait()


class Notebook:
    """A notebook that is open in a page.

    Parameters
    ----------
    browser : playwright Browser
    address : str
        Of the server.
    folder : Path
        That the server serves.
    name : str
        Of the notebook, without its suffix.
    cells : list of str, or None
        None opens a notebook that is there already.
    script : str
        JavaScript that runs before anything of the page.

    Attributes
    ----------
    page : playwright Page
    troubles : list of str
        Errors of the console and requests that left the machine.
    """

    def __init__(
        self, browser: Any, address: str, folder: Path, name: str, cells: list[str] | None, script: str = ""
    ) -> None:
        if cells is not None:
            (folder / f"{name}.ipynb").write_text(json.dumps(_document(cells)))
        self.page = browser.new_page(viewport={"width": 1300, "height": 1000})
        self.page.add_init_script(script)
        self.troubles: list[str] = []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))

        def gate(route: Any) -> None:
            if route.request.url.startswith((address, "data:", "blob:")):
                route.continue_()
            else:
                self.troubles.append(route.request.url)
                route.abort()

        self.page.route("**/*", gate)
        self.page.goto(f"{address}/lab/workspaces/{name}/tree/{name}.ipynb?reset")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        self.page.wait_for_function(
            "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=60_000,
        )

    def reload(self) -> None:
        """Load the page again, as the browser's button does."""
        self.page.reload()
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)

    def _listen(self, message: Any) -> None:
        if message.type == "error" and not any(word in message.text for word in _NOT_OURS):
            self.troubles.append(message.text)

    def run(self) -> None:
        """Run the selected cell and go to the next."""
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")

    def cell(self, number: int) -> Any:
        """The cell's element, from 0."""
        return self.page.locator(".jp-NotebookPanel .jp-CodeCell").nth(number)

    def ask(self, code: str, timeout: float = 30.0) -> Any:
        """What a Python expression gives in the notebook's kernel, as JSON; beside the cells."""
        return self.page.evaluate(
            """async ([code, wait]) => {
                const app = window.jupyterapp, panel = app.shell.currentWidget;
                const kernel = panel.sessionContext.session.kernel;
                const late = new Promise((_, no) => setTimeout(() => no(new Error("kernel is busy")), wait));
                let text, error, reply;
                do {  // what stands behind a cell that fails is aborted
                    text = "", error = null;
                    const future = kernel.requestExecute({code, silent: false, store_history: false});
                    future.onIOPub = (m) => {
                        if (m.header.msg_type === "stream") text += m.content.text;
                        if (m.header.msg_type === "error") error = m.content.evalue;
                    };
                    reply = await Promise.race([future.done, late]);
                } while (reply.content.status === "aborted");
                if (error !== null) throw new Error(error);
                return JSON.parse(text);
            }""",
            [f"import json; print(json.dumps({code}))", timeout * 1000],
        )

    def wait_for(self, code: str, timeout: float = 20.0) -> Any:
        """Ask until the answer is true."""
        end = time.monotonic() + timeout
        while True:
            answer = self.ask(code)
            if answer:
                return answer
            if time.monotonic() > end:
                raise TimeoutError(f"{code} stayed {answer!r}")
            self.page.wait_for_timeout(100)


def _document(cells: list[str]) -> dict[str, Any]:
    return {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"c{i}",
                "metadata": {},
                "outputs": [],
                "source": s,
            }
            for i, s in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }

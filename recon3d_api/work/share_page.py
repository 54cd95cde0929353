"""The page of a shared model: made once for each model, in a process of its own.

A model may be large: what thins it takes seconds and memory that a server has no business to spend.
The page holds the model alone. It has no photos and no cameras.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import filelock

from recon3d_api.files.storage import Storage
from recon3d_api.work import processes

_SECONDS = 300.0
_MAKE = (
    "import sys, recon3d; model, page, title = sys.argv[1:]; "
    "recon3d.export_html(recon3d.load_mesh(model), page, title=title)"
)
_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]+)"')


class PageError(Exception):
    """The page of a model cannot be made."""


def page_of(storage: Storage, folder: str, title: str) -> Path | None:
    """Give the page of a project's newest model; make it when there is none.

    Parameters
    ----------
    storage : Storage
    folder : str
        Name of the project's folder.
    title : str

    Returns
    -------
    Path or None
        None before there is a model.

    Raises
    ------
    PageError
        The page cannot be made.
    """
    model = storage.result(folder, "textured_mesh")
    if model is None:
        return None
    try:
        status = model.stat()
    except FileNotFoundError:
        return None
    known = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}-{title}"
    pages = storage.root(folder) / "pages"
    page = pages / f"{hashlib.sha256(known.encode()).hexdigest()[:32]}.html"
    if page.exists():
        return page
    with contextlib.suppress(FileExistsError):
        pages.mkdir(mode=0o700)
    with filelock.FileLock(pages / ".lock", timeout=_SECONDS):
        if not page.exists():
            _make(model, page, title)
            for old in pages.glob("*.html"):
                if old != page:
                    old.unlink(missing_ok=True)
    return page


def policy_of(page: Path) -> str:
    """Read a page's content security policy, for its header.

    Parameters
    ----------
    page : Path

    Returns
    -------
    str
    """
    with open(page, encoding="utf-8") as file:
        found = _POLICY.search(file.read(4096))
    own = found.group(1) if found else "default-src 'none'"
    # The sandbox gives the page an origin of its own: it shares nothing with the service.
    return (
        f"{own}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "sandbox allow-scripts allow-downloads"
    )


def _make(model: Path, page: Path, title: str) -> None:
    environment = processes.child_environment(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    try:
        made = subprocess.run(
            [sys.executable, "-c", _MAKE, str(model), str(page), title],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=page.parent,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PageError(f"it took more than {_SECONDS:g} s") from error
    if made.returncode:
        lines = made.stderr.decode("utf-8", "replace").strip().splitlines()
        raise PageError(lines[-1] if lines else f"exit status {made.returncode}")

"""The page of a model: made once for each model, in a process of its own.

A model may be large: what thins it takes seconds and memory that a server has no business to spend.
The page that a link shows holds the model alone. It has no photos and no cameras; the owner's has.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import filelock

import recon3d
from recon3d_api.files.storage import Storage
from recon3d_api.work import processes
from recon3d_api.work.confinement import confined

_SECONDS = 300.0
_MAKE = """
import sys, recon3d
owner, project, model, page, title = sys.argv[1:]
try:
    shown = recon3d.Project.open(project) if owner else recon3d.load_mesh(model)
    recon3d.export_html(shown, page, title=title)
except recon3d.InputError:
    if not owner:
        raise
    # What the model was made from is gone.
    recon3d.export_html(recon3d.load_mesh(model), page, title=title)
"""
_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]+)"')


class PageError(Exception):
    """The page of a model cannot be made."""


def page_of(storage: Storage, folder: str, title: str, *, owner: bool = False) -> Path | None:
    """Give the page of a project's newest model; make it when there is none.

    Parameters
    ----------
    storage : Storage
    folder : str
        Name of the project's folder.
    title : str
    owner : bool
        The owner's page, which shows photos and cameras too.

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
    known = f"{_viewer()}-{status.st_ino}-{status.st_size}-{status.st_mtime_ns}-{title}"
    pages = storage.root(folder) / ("owner-pages" if owner else "pages")
    page = pages / f"{hashlib.sha256(known.encode()).hexdigest()[:32]}.html"
    if page.exists():
        return page
    with contextlib.suppress(FileExistsError):
        pages.mkdir(mode=0o700)
    with filelock.FileLock(pages / ".lock", timeout=_SECONDS):
        if not page.exists():
            with confined(storage, folder, f"page-{page.stem}") as launcher:
                given = ["owner" if owner else "", str(storage.model(folder)), str(model), str(page), title]
                _make([*launcher, sys.executable, "-c", _MAKE, *given], page.parent)
            for old in pages.glob("*.html"):
                if old != page:
                    old.unlink(missing_ok=True)
    return page


@functools.cache
def _viewer() -> str:
    """Names this version's viewer: pages of an earlier one are made anew."""
    digest = hashlib.sha256(recon3d.__version__.encode())
    for name, content in sorted(recon3d.viewer_files().items()):
        digest.update(name.encode() + content)
    return digest.hexdigest()


def open_page(storage: Storage, folder: str, title: str, *, owner: bool = False) -> BinaryIO | None:
    """Open the page that `page_of` gives: one that is replaced meanwhile can still be read.

    Parameters
    ----------
    storage : Storage
    folder : str
        Name of the project's folder.
    title : str
    owner : bool
        The owner's page, which shows photos and cameras too.

    Returns
    -------
    file or None
        None before there is a model.

    Raises
    ------
    PageError
        The page cannot be made.
    FileNotFoundError
        The project was deleted meanwhile.
    """
    page = page_of(storage, folder, title, owner=owner)
    try:
        return None if page is None else open(page, "rb")
    except FileNotFoundError:  # a request with another title removed it
        page = page_of(storage, folder, title, owner=owner)
        return None if page is None else open(page, "rb")


def policy_of(page: BinaryIO, frames: str = "'none'") -> str:
    """Read a page's content security policy, for its header.

    Parameters
    ----------
    page : file
    frames : str
        Sources of pages that may frame it.

    Returns
    -------
    str
    """
    page.seek(0)
    found = _POLICY.search(page.read(4096).decode("utf-8", "replace"))
    own = found.group(1) if found else "default-src 'none'"
    # The sandbox gives the page an origin of its own: it shares nothing with the service.
    return (
        f"{own}; base-uri 'none'; form-action 'none'; frame-ancestors {frames}; "
        "sandbox allow-scripts allow-downloads"
    )


def _make(command: list[str], folder: Path) -> None:
    environment = processes.child_environment(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    try:
        made = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PageError(f"it took more than {_SECONDS:g} s") from error
    if made.returncode:
        lines = made.stderr.decode("utf-8", "replace").strip().splitlines()
        raise PageError(lines[-1] if lines else f"exit status {made.returncode}")

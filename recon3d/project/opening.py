"""A project for new inputs: made when it is not there, and taken back when nothing was added."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from recon3d.errors import Recon3DError
from recon3d.layout import INPUTS, LOCK_FILE, input_list_file
from recon3d.project.project import MARKER, Project


@contextlib.contextmanager
def project_for_inputs(path: str | os.PathLike[str]) -> Iterator[Project]:
    """Open a project, or make it; when the block fails, a new project without inputs is removed.

    Parameters
    ----------
    path : path-like
        The project's folder.

    Yields
    ------
    Project

    Raises
    ------
    ProjectError
        The folder is in use or cannot be written.
    """
    root = Path(path).expanduser().absolute()
    new = not (root / MARKER).exists()
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        project = Project.create(root, exist_ok=True)
        yield project
    except BaseException:
        if new:
            with contextlib.suppress(OSError, Recon3DError):
                _take_back(root, missing)
        raise


def _take_back(root: Path, missing: list[Path]) -> None:
    """Remove the files of a project without inputs, and the folders that were made for it."""
    inputs = root / INPUTS
    if any(path != input_list_file(inputs) for path in inputs.rglob("*") if path.is_file()):
        return
    for file in (input_list_file(inputs), root / MARKER, root / LOCK_FILE):
        file.unlink(missing_ok=True)
    for folder in (*sorted(inputs.rglob("*"), reverse=True), inputs, *missing):
        folder.rmdir()  # refuses what is not empty

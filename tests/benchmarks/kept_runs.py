"""Runs of a set with workers of this machine that benchmarks keep and share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from recon3d.project import Project
from tests.benchmarks.sets import DATA, SETS


def run(
    name: str,
    quality: str,
    folder: Path,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> float:
    """Run a set with ``recon3d run``, which prints to a file beside the folder; seconds."""
    command = [sys.executable, "-m", "recon3d", "run", str(DATA / SETS[name].images), "-o", str(folder)]
    began = time.monotonic()
    with open(folder.with_suffix(".log"), "ab") as log:
        subprocess.run(
            [*command, "-q", quality, *options],
            check=True,
            env={**os.environ, **(environment or {})},
            stdout=log,
            stderr=log,
        )
    return time.monotonic() - began


def kept_run(kept: Path, name: str, quality: str) -> Project:
    """A whole run in ``KEPT/SET-QUALITY/local``, made with two workers where it is not there."""
    folder = kept / f"{name}-{quality}" / "local"
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not (folder.exists() and Project.open(folder).results.textured_mesh):
        run(name, quality, folder, ["--workers", "2"])
    return Project.open(folder)

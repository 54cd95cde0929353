"""Runs of a set with workers of this machine that benchmarks keep and share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from recon3d.project import Project
from tests.benchmarks.sets import DATA, SETS, posed_frames


def run(
    sources: Sequence[str],
    quality: str,
    folder: Path,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> float:
    """Run with ``recon3d run``, which prints to a file beside the folder; seconds."""
    command = [sys.executable, "-m", "recon3d", "run", *sources, "-o", str(folder), "-q", quality, *options]
    began = time.monotonic()
    with open(folder.with_suffix(".log"), "ab") as log:
        subprocess.run(command, check=True, env={**os.environ, **(environment or {})}, stdout=log, stderr=log)
    return time.monotonic() - began


def source(name: str) -> list[str]:
    """The photos or the video of a set, as ``recon3d run`` takes them."""
    return [str(DATA / SETS[name].images)]


def kept_run(kept: Path, name: str, quality: str) -> Project:
    """A whole run in ``KEPT/SET-QUALITY/local``, made with two workers where it is not there."""
    folder = kept / f"{name}-{quality}" / "local"
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not (folder.exists() and Project.open(folder).results.textured_mesh):
        run(source(name), quality, folder, ["--workers", "2"])
    return Project.open(folder)


def kept_cloud(kept: Path, name: str, quality: str) -> Project:
    """A run up to the cloud in ``KEPT/SET-QUALITY/posed``, with true cameras where the set has some."""
    folder = kept / f"{name}-{quality}" / "posed"
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not (folder.exists() and Project.open(folder).results.point_cloud):
        sources = source(name)
        if SETS[name].poses:
            model, images = posed_frames(name, folder.with_name("true"))
            sources = ["--poses", str(model), "--images", str(images)]
        run(sources, quality, folder, ["--workers", "2", "--until", "dense_reconstruction"])
    return Project.open(folder)

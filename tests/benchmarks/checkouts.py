"""Runs of a checkout of recon3d, this one or another, and what their stages cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cost:
    """What a stage took.

    Parameters
    ----------
    cpu, wall : float
        Seconds.
    peak : float
        Megabytes.
    """

    cpu: float
    wall: float
    peak: float


def run(code: Path, project: Path, inputs: Sequence[str], options: Sequence[str]) -> dict[str, Cost]:
    """Run ``recon3d run`` of a checkout, and read the costs of the stages from their manifests.

    A project that is there resumes.
    """
    environment = {**os.environ, "PYTHONPATH": str(code)}
    inputs = () if project.exists() else inputs
    command = [sys.executable, "-m", "recon3d", "run", *inputs, *options, "-o", str(project)]
    subprocess.run(command, check=True, cwd=code, env=environment, stdout=sys.stderr)
    costs = {}
    manifests = [json.loads(path.read_text()) for path in project.glob("artifacts/*/manifest.json")]
    for made in sorted(manifests, key=lambda made: made["started"]):
        peak = made["peak_memory"] / 1e6
        costs[made["stage"]] = Cost(made["cpu_seconds"], made["seconds"], peak)
    return costs


def commit(code: Path) -> str:
    """The short name of a checkout's commit; a changed one has a star."""
    command = ["git", "-C", str(code), "describe", "--always", "--dirty=*", "--exclude", "*"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

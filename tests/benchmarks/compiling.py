"""What a new installation pays for compiling: CPU-seconds of each stage, and the kernels that take longest.

``python -m tests.benchmarks.compiling PROJECT`` runs stages of a finished project again in this process,
each from the project's artifacts, with an empty cache of compiled code. The bytes of what they make are
told as one hash each, so that two checkouts can be compared (``PYTHONPATH=CHECKOUT``).
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from recon3d.compute.context import InlineContext
from recon3d.options import STAGE_OPTIONS
from recon3d.pipeline.plan import load_stage
from recon3d.project import Project

STAGES = ("feature_matching", "dense_reconstruction", "mesh_generation", "texturing")


class _Clock(event.Listener):  # type: ignore[misc]
    """CPU-seconds of compiling, by function: without those of what a function calls, and in all."""

    def __init__(self) -> None:
        self.own: Counter[str] = Counter()
        self.total = 0.0
        self._open: list[list[float]] = []

    def on_start(self, happened: Any) -> None:
        self._open.append([time.thread_time(), 0.0])

    def on_end(self, happened: Any) -> None:
        began, inner = self._open.pop()
        seconds = time.thread_time() - began
        function = happened.data["dispatcher"].py_func
        self.own[f"{function.__module__}.{function.__name__}"] += seconds - inner
        if self._open:
            self._open[-1][1] += seconds
        else:
            self.total += seconds


def _hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("project", type=Path, help="folder of a finished project")
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    given = parser.parse_args()
    artifacts = Project.open(given.project).artifacts
    clock = _Clock()
    event.register("numba:compile", clock)
    with tempfile.TemporaryDirectory() as folder:
        config: Any = numba.config
        config.CACHE_DIR = folder + "/cache"  # before the kernels are imported
        for stage in given.stages:
            inputs = {name: artifact.path for name, artifact in artifacts.items() if name != stage}
            chosen = artifacts[stage].manifest.options
            out = Path(folder, stage)
            out.mkdir()
            before, began = clock.total, time.process_time()
            load_stage(stage).run(inputs, STAGE_OPTIONS[stage].model_validate(chosen), out, InlineContext())
            cpu = time.process_time() - began
            print(f"{stage}: {clock.total - before:.1f} of {cpu:.1f} CPU-seconds, {_hash(out)}", flush=True)
    print(f"all: {clock.total:.1f} CPU-seconds")
    for name, seconds in clock.own.most_common(10):
        print(f"{seconds:6.2f} {name}")


if __name__ == "__main__":
    main()

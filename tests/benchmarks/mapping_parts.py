"""Mapping in parts against mapping as a whole.

``python -m tests.benchmarks.mapping_parts KEPT SET:SIZE ...`` maps the matches of finished projects, the
folders KEPT/SET-low, as a whole and in parts of SIZE images. It prints how many images are placed, the
median and the largest distance of a centre from that of the whole in per cent of the cameras' spread, and
the CPU-seconds of both on one worker.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from recon3d.compute import InlineContext
from recon3d.evaluation import pose_errors
from recon3d.layout import read_frames
from recon3d.options import SparseReconstructionOptions
from recon3d.project import Project
from recon3d.stages import sparse_reconstruction
from recon3d.stages.sparse_reconstruction.partition import cut
from recon3d.stages.sparse_reconstruction.view_graph import read_view_graph
from recon3d.types import Scene


def _mapped(inputs: dict[str, Path], part_size: int) -> tuple[Scene, float]:
    """The scene, and CPU-seconds."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        options = SparseReconstructionOptions(part_size=part_size)
        sparse_reconstruction.run(inputs, options, Path(folder), InlineContext())
        return Scene.load(Path(folder)), time.process_time() - began


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kept", type=Path)
    parser.add_argument("sets", nargs="+", metavar="SET:SIZE")
    given = parser.parse_args()
    print("| set | images | part size | parts | median | largest | whole, CPU-s | in parts, CPU-s |")
    for text in given.sets:
        name, _, size = text.partition(":")
        artifacts = Project.open(given.kept / f"{name}-low").artifacts
        inputs = {stage: artifacts[stage].path for stage in ("frame_extraction", "feature_matching")}
        whole, whole_cpu = _mapped(inputs, 0)
        made, cpu = _mapped(inputs, int(size))
        names = read_frames(inputs["frame_extraction"]).names
        parts = len(cut(read_view_graph(inputs["feature_matching"], names), int(size)))
        centers = np.array([view.center for view in whole])
        spread = np.linalg.norm(centers - centers.mean(axis=0), axis=1).max()
        off = 100 * pose_errors(made, whole).position / spread
        print(
            f"| {name} | {len(made)} of {len(whole)} | {size} | {parts} | {np.median(off):.2f} |"
            f" {off.max():.2f} | {whole_cpu:.1f} | {cpu:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

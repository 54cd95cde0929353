"""F-scores of a whole run with known cameras: ``python -m tests.benchmarks.quality SET [QUALITY]``.

Runs the same as ``recon3d run --poses`` on a set of the data folder that has a true mesh, then
compares cloud and mesh with it in the box that the data's README names, beside OpenMVS's figures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from recon3d.evaluation import SurfaceScore, surface_scores
from recon3d.io.ply import read_mesh, read_point_cloud
from recon3d.project import Project
from tests.benchmarks.sets import DATA, DISTANCES, SETS, TRUE_SETS, VOXEL, posed_frames
from tests.benchmarks.surface_faults import border, normal_errors


def _table(title: str, scores: list[SurfaceScore], reference: tuple[float, ...] | None) -> None:
    print(title)
    for index, score in enumerate(scores):
        beside = f"   OpenMVS F {reference[index]:.3f}" if reference else ""
        print(f"  {score.distance * 1000:4.0f} mm  {str(score).partition(': ')[2]}{beside}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=TRUE_SETS)
    parser.add_argument("quality", nargs="?", default="medium")
    parser.add_argument("--set", dest="options", action="append", default=[], help="as in recon3d run")
    parser.add_argument("--project", type=Path, help="keep the project here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        model, images = posed_frames(given.set, work)
        folder = given.project or work / "project"
        command = [sys.executable, "-m", "recon3d", "run", "--poses", str(model), "--images", str(images)]
        command += ["-o", str(folder), "-q", given.quality]
        command += [part for option in given.options for part in ("--set", option)]
        subprocess.run(command, check=True)
        project = Project.open(folder)
        true_set = SETS[given.set]
        truth = read_mesh(DATA / str(true_set.truth))
        for stage, artifact in project.artifacts.items():
            manifest = artifact.manifest
            print(f"{stage:<24}{manifest.cpu_seconds:8.1f} CPU-s {manifest.peak_memory / 1e6:8.0f} MB")
        results = project.results
        if results.point_cloud is not None:
            cloud = read_point_cloud(results.point_cloud)
            scores = surface_scores(cloud, truth, DISTANCES, box=true_set.box, voxel=VOXEL)
            _table(f"cloud, {len(cloud)} points", scores, true_set.cloud)
        if results.mesh is not None:
            mesh = read_mesh(results.mesh)
            scores = surface_scores(mesh, truth, DISTANCES, box=true_set.box, voxel=VOXEL)
            _table(f"mesh, {len(mesh)} faces", scores, true_set.mesh)
            rim, degrees = border(mesh, true_set.box), normal_errors(mesh, truth, true_set.box)
            print(f"  open border {rim.edges} edges, {rim.length:.2f} m")
            print(f"  error of normals {np.median(degrees):.2f} degrees (median)")


if __name__ == "__main__":
    main()

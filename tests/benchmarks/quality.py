"""F-scores of a whole run with known cameras: ``python -m tests.benchmarks.quality SET [QUALITY]``.

Runs the same as ``recon3d run --poses`` on a set of the data folder that has a true mesh, then
compares cloud and mesh with it in the box that the data's README names, beside OpenMVS's figures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av

from recon3d.evaluation import SurfaceScore, surface_scores
from recon3d.io.ply import read_mesh, read_point_cloud
from recon3d.project import Project

DISTANCES = (0.005, 0.010, 0.020)
VOXEL = 0.0025


@dataclass(frozen=True)
class TrueSet:
    """A set with a true mesh.

    Parameters
    ----------
    folder : str
    box : (low, high)
        Where points count, in metres.
    cloud, mesh : tuple of float, optional
        OpenMVS's F-scores at `DISTANCES` (shared/data/README.md).
    """

    folder: str
    box: tuple[tuple[float, ...], tuple[float, ...]]
    cloud: tuple[float, ...]
    mesh: tuple[float, ...] | None


SETS = {
    "dancinggirl": TrueSet(
        "gt_dancinggirl_photos",
        ((-0.45, -0.35, 0.02), (0.45, 0.35, 1.85)),
        (0.883, 0.958, 0.983),
        (0.838, 0.932, 0.973),
    ),
    "bust": TrueSet("gt_bust_video", ((-0.5, -0.55, 0.02), (0.5, 0.55, 1.85)), (0.851, 0.938, 0.966), None),
}


def data_folder() -> Path:
    """Where the sets are."""
    default = Path(__file__).parents[3] / "shared" / "data"
    return Path(os.environ.get("RECON3D_TEST_DATA", default))


def posed_input(name: str, work: Path) -> tuple[Path, Path]:
    """Model and images of a set; the video's every sixth frame, as OpenMVS was given.

    Parameters
    ----------
    name : str
        Key of `SETS`.
    work : Path
        Where to put what has to be made.

    Returns
    -------
    model, images : Path
    """
    folder = data_folder() / SETS[name].folder
    if (folder / "images").is_dir():
        return folder / "sparse_gt", folder / "images"
    images, model = work / "images", work / "model"
    images.mkdir(parents=True)
    shutil.copytree(folder / "sparse_gt", model)
    rows = [
        line
        for line in (folder / "sparse_gt" / "images.txt").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    names = {int(Path(row.split()[9]).stem): row for row in rows}
    kept = []
    with av.open(str(folder / "video.mp4")) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % 6 == 0 and index in names:
                frame.to_image().save(images / names[index].split()[9])
                kept.append(names[index])
    (model / "images.txt").write_text("".join(f"{row}\n\n" for row in kept))
    return model, images


def _table(title: str, scores: list[SurfaceScore], reference: tuple[float, ...] | None) -> None:
    print(title)
    for index, score in enumerate(scores):
        beside = f"   OpenMVS F {reference[index]:.3f}" if reference else ""
        print(f"  {score.distance * 1000:4.0f} mm  {str(score).partition(': ')[2]}{beside}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("quality", nargs="?", default="medium")
    parser.add_argument("--set", dest="options", action="append", default=[], help="as in recon3d run")
    parser.add_argument("--project", type=Path, help="keep the project here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        model, images = posed_input(given.set, work)
        folder = given.project or work / "project"
        command = [sys.executable, "-m", "recon3d", "run", "--poses", str(model), "--images", str(images)]
        command += ["-o", str(folder), "-q", given.quality]
        command += [part for option in given.options for part in ("--set", option)]
        subprocess.run(command, check=True)
        project = Project.open(folder)
        truth = read_mesh(data_folder() / SETS[given.set].folder / "mesh_object.ply")
        true_set = SETS[given.set]
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


if __name__ == "__main__":
    main()

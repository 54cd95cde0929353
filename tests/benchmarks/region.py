"""Which share of a cloud is meshed: on the seven layouts, and on sets of the data folder.

    python -m tests.benchmarks.region                       the layouts
    python -m tests.benchmarks.region --sets FOLDER         every set, at low quality, as projects in FOLDER
    python -m tests.benchmarks.region PROJECT…              finished projects

The sets are run up to sparse_reconstruction, and their sparse points stand for the cloud. A project
with a dense cloud is judged by that.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from recon3d import Project
from recon3d.errors import InputError
from recon3d.project.loading import load_cloud, load_scene
from recon3d.surface.region import find_region
from recon3d.types import PointCloud, Scene
from tests.benchmarks.sets import DATA
from tests.synthetic.layouts import LAYOUTS

_SETS = {
    "girl": "gt_dancinggirl_photos/images",
    "bust": "gt_bust_video/video.mp4",
    "saharov": "saharov32_small/images",
    "fountain": "strecha_fountain-P11_1600/images",
    "temple": "temple47/images",
    "sceaux": "sceaux_1600/images",
    "rock": "nlesc_rock_1600/images",
    "monstree": "monstree_1600/images",
    "cyprus": "dim_cyprus/images",
    "sacre_coeur": "hloc_sacre_coeur/images",
    "berlin": "opensfm_berlin_1600/images",
    "karma": "video_gopro/karma.mp4",
    "bic": "video_bic/bic.mov",
}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("projects", nargs="*", type=Path)
    parser.add_argument("--sets", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    print("| scene | cameras | points | region | meshed |\n| --- | --- | --- | --- | --- |")
    projects = [*arguments.projects, *(_runs(arguments.sets) if arguments.sets else ())]
    if not projects:
        for name, layout in LAYOUTS.items():
            made = layout()
            _row(f"layout: {name}", made.scene, made.cloud)
    for folder in projects:
        artifacts = Project.open(folder).artifacts
        scene = load_scene(artifacts)
        try:
            _row(f"{folder.name}, dense", scene, load_cloud(artifacts))
        except InputError:
            points = scene.points
            cloud = PointCloud(points.xyz)
            seen = replace(cloud, view_starts=points.track_starts, view_indices=points.track_views)
            _row(f"{folder.name}, sparse", scene, seen)


def _runs(folder: Path) -> Iterator[Path]:
    for name, source in _SETS.items():
        target = folder / name
        command = [sys.executable, "-m", "recon3d", "run", str(DATA / source), "-o", str(target)]
        command += ["--quality", "low", "--until", "sparse_reconstruction"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"| {name} | failed: {done.stderr.strip().splitlines()[-1:]} | | | |")
        else:
            yield target


def _row(name: str, scene: Scene, cloud: PointCloud) -> None:
    region = find_region(scene, cloud)
    print(f"| {name} | {len(scene)} | {len(cloud)} | {region.kind} | {100 * region.inside.mean():.1f} % |")


if __name__ == "__main__":
    main()

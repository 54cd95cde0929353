"""Cost of features and matches against what the cameras come out as.

``python -m tests.benchmarks.front_end [SET ...] [--quality Q] [--set STAGE.OPTION=VALUE ...]`` runs sets up
to sparse_reconstruction. It prints the CPU-seconds of the stages, the images placed and, for sets whose true
cameras are known, the median and the largest error of a centre in per cent of the cameras' spread and the
median error of a rotation in degrees.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from recon3d import Pipeline, Project, colmap
from recon3d.evaluation import pose_errors
from recon3d.types import Scene
from tests.benchmarks.sets import DATA, SETS, posed_frames
from tests.benchmarks.weak_sets import FOLDERS, photos
from tests.stages.test_sparse_reconstruction import surveyed

STAGES = ("feature_extraction", "feature_matching", "sparse_reconstruction")
_FOUNTAIN = "strecha_fountain-P11_1600"


def _set(name: str, work: Path) -> tuple[list[Path], Scene | None]:
    """Photos of a set, and its true cameras where they are known."""
    if name == "fountain":
        return sorted((DATA / _FOUNTAIN / "images").glob("*.jpg")), surveyed(DATA / _FOUNTAIN)
    if name in SETS and SETS[name].poses:
        model, images = posed_frames(name, work / "posed")
        paths = sorted(path for path in images.iterdir() if path.suffix in {".jpg", ".png"})
        return paths, colmap.read_scene(model, [path.name for path in paths])
    return photos(name, 1, 0, work), None


def _errors(made: Scene, truth: Scene) -> str:
    centers = np.array([view.center for view in truth])
    spread = np.linalg.norm(centers - centers.mean(axis=0), axis=1).max()
    errors = pose_errors(made, truth)
    position = 100 * errors.position / spread
    return f"{np.median(position):>8.3f}%{position.max():>8.3f}%{np.median(errors.rotation):>8.3f}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=("fountain", "girl", "bust", *FOLDERS))
    parser.add_argument("--quality", default="medium")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.OPTION=VALUE")
    given = parser.parse_args()
    chosen: dict[str, dict[str, str]] = {}
    for option in given.set:
        path, _, value = option.partition("=")
        stage, _, key = path.partition(".")
        chosen.setdefault(stage, {})[key] = value
    print(
        f"{'set':<12}{'features':>9}{'matching':>9}{'cameras':>9}{'placed':>9}{'centre':>9}{'max':>9}{'deg':>8}"
    )
    for name in dict.fromkeys(given.sets):
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            paths, truth = _set(name, work)
            project = Project.create(work / "project")
            project.add_photos(paths)
            Pipeline(given.quality, **chosen).run(project, until=STAGES[-1])
            made = [project.artifacts[stage] for stage in STAGES]
            costs = "".join(f"{artifact.manifest.cpu_seconds:>9.1f}" for artifact in made)
            placed = f"{made[-1].counts.registered}/{len(paths)}"
            errors = "" if truth is None else _errors(Scene.load(made[-1].path), truth)
            print(f"{name:<12}{costs}{placed:>9}{errors}", flush=True)


if __name__ == "__main__":
    main()

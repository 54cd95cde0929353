"""Images that weak sets get placed, against COLMAP's default options on the same matches.

``python -m tests.benchmarks.weak_sets [SET[/N][@WIDTH] ...]``, where N takes every Nth photo and WIDTH
scales them down. It prints the registered images of the largest model of both, and fails where the stage
registers fewer. With ``--kept FOLDER``, whose projects SET-low are of the whole sets (as `preflight_times`
keeps them), it tells for each image how far its direction from the others is from where the whole set has
it: the median of the errors of its pairs, in degrees.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pycolmap

from recon3d import Pipeline, Project
from recon3d.errors import Recon3DError
from recon3d.evaluation import pose_errors
from recon3d.types import Floats, Scene
from tests.benchmarks.sets import DATA

FOLDERS = {
    "sacre_coeur": "hloc_sacre_coeur",
    "saharov": "saharov32_small",
    "rock": "nlesc_rock_1600",
    "girl": "gt_dancinggirl_photos",
    "temple": "temple47",
    "monstree": "monstree_1600",
    "cyprus": "dim_cyprus",
    "sceaux": "sceaux_1600",
}
#: What `preflight_times` calls them.
_KEPT = {"sacre_coeur": "coeur"}
TRIED = (
    *("sacre_coeur", "saharov/3", "rock/3", "girl/2", "temple/3", "monstree/2"),
    *("cyprus", "cyprus/2", "temple/2", "sceaux/2", "bust/2@480", "rock/4@640"),
)


def photos(name: str, step: int, width: int, work: Path) -> list[Path]:
    """Every so many-th photo of a set, scaled to `width` unless that is 0."""
    paths = _frames(work / "frames") if name == "bust" else _files(name)
    if not width:
        return paths[::step]
    scaled = []
    (work / "scaled").mkdir()
    for path in paths[::step]:
        image = cv2.imread(str(path))
        size = (width, round(width * image.shape[0] / image.shape[1]))
        scaled.append(work / "scaled" / f"{path.stem}.jpg")
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(scaled[-1]), small, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return scaled


def _frames(folder: Path) -> list[Path]:
    """Every sixth frame of the bust's video."""
    folder.mkdir()
    video = cv2.VideoCapture(str(DATA / "gt_bust_video" / "video.mp4"))
    paths = []
    for number in itertools.count():
        read, image = video.read()
        if not read:
            return paths
        if number % 6 == 0:
            paths.append(folder / f"{number:04d}.jpg")
            cv2.imwrite(str(paths[-1]), image, [cv2.IMWRITE_JPEG_QUALITY, 95])


def _files(name: str) -> list[Path]:
    folder = DATA / FOLDERS[name]
    if (folder / "images").is_dir():
        folder /= "images"
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})


@dataclass(frozen=True)
class Outcome:
    """What the stage gave, and what COLMAP's defaults give."""

    ours: int
    plain: int
    seconds: float
    notes: str
    errors: Floats


def image_errors(made: Scene, whole: Scene) -> Floats:
    """Median error of each image's pairs in degrees, of images that both scenes have; largest last."""
    found = pose_errors(made, whole)
    count = len(found.names)
    pairs = np.full((count, count), np.nan)
    pairs[np.triu_indices(count, 1)] = found.relative
    pairs = np.fmin(pairs, pairs.T)
    return np.sort(np.nanmedian(pairs, axis=1)) if count > 1 else np.zeros(0)


def _compared(photos: list[Path], work: Path, whole: Scene | None) -> Outcome:
    project = Project.create(work / "project")
    project.add_photos(photos)
    errors = np.zeros(0)
    try:
        Pipeline("low").run(project, until="sparse_reconstruction")
        made = project.artifacts["sparse_reconstruction"]
        ours, seconds = made.counts.registered, made.manifest.seconds or 0.0
        notes = " ".join(made.manifest.fallbacks)
        if whole is not None and ours >= 3:
            errors = image_errors(project.scene, whole)
    except Recon3DError as error:
        ours, seconds, notes = 0, 0.0, str(error)
    matched, taken = (project.artifacts[stage].path for stage in ("feature_matching", "frame_extraction"))
    database = work / "plain.db"
    database.write_bytes((matched / "database.db").read_bytes())
    (work / "plain").mkdir()
    models = pycolmap.incremental_mapping(str(database), str(taken / "images"), str(work / "plain"))
    plain = max((model.num_reg_images() for model in models.values()), default=0)
    return Outcome(ours, plain, seconds, notes, errors)


def _whole(kept: Path, name: str) -> Scene | None:
    """The kept model of a whole set, if there is one; the bust's frames have names of their own here."""
    folder = kept / f"{_KEPT.get(name, name)}-low"
    return Project.open(folder).scene if name in FOLDERS and folder.is_dir() else None


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=TRIED)
    parser.add_argument("--kept", type=Path, help="projects of the whole sets")
    arguments = parser.parse_args()
    fewer = []
    print(f"{'set':<14}{'photos':>7}{'stage':>7}{'COLMAP':>8}{'seconds':>9}   degrees off; notes")
    for given in arguments.sets:
        thinned, _, width = given.partition("@")
        name, _, step = thinned.partition("/")
        with tempfile.TemporaryDirectory() as temporary:
            paths = photos(name, int(step or 1), int(width or 0), Path(temporary))
            whole = _whole(arguments.kept, name) if arguments.kept else None
            found = _compared(paths, Path(temporary), whole)
        off = " ".join(f"{error:.1f}" for error in found.errors)
        start = f"{given:<14}{len(paths):>7}{found.ours:>7}{found.plain:>8}{found.seconds:>9.1f}"
        print(f"{start}   {off}; {found.notes}", flush=True)
        if found.ours < found.plain:
            fewer.append(given)
    if fewer:
        raise SystemExit(f"Fewer images than COLMAP's defaults: {', '.join(fewer)}")


if __name__ == "__main__":
    main()

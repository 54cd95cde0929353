"""Errors of camera centres when images that should share a camera do not.

``python -m tests.benchmarks.cameras [SET ...]`` makes variants of sets whose cameras are known:
one camera; every second photo zoomed; every second photo of another size; and metadata of one camera
though the lens was zoomed. It maps each as the stage does and with one camera for each image, and
prints the largest and the median error of a centre in per cent of the cameras' spread.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from recon3d import colmap
from recon3d.compute import InlineContext
from recon3d.evaluation import pose_errors
from recon3d.layout import read_frames, read_registration, write_frame_list
from recon3d.options import SparseReconstructionOptions, resolve_options
from recon3d.stages import feature_extraction, feature_matching, sparse_reconstruction
from recon3d.types import Scene, SharedCamera
from tests.benchmarks.sets import DATA, SETS, posed_frames
from tests.stages.test_sparse_reconstruction import _frames, surveyed
from tests.synthetic.zooms import photographed, photographers

VARIANTS = ("one camera", "two zooms", "two sizes", "wrong metadata")
_ZOOM = 1 / 0.62
_WIDTH = 800


def zoomed_photos(
    photos: Sequence[Path], folder: Path, zooms: Mapping[str, float], sizes: Mapping[str, int] | None = None
) -> list[Path]:
    """Write the centres of photos, scaled to `sizes` (by default 800) pixels across, without metadata."""
    folder.mkdir(parents=True)
    written = []
    for photo in photos:
        image = cv2.imread(str(photo))
        height, width = image.shape[:2]
        inner = [round(side / zooms[photo.name]) for side in (width, height)]
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        crop = image[top : top + inner[1], left : left + inner[0]]
        across = sizes[photo.name] if sizes else _WIDTH
        scaled = cv2.resize(crop, (across, round(across * height / width)), interpolation=cv2.INTER_AREA)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if photo.suffix == ".jpg" else []
        cv2.imwrite(str(folder / photo.name), scaled, quality)
        written.append(folder / photo.name)
    return written


def _photos(name: str, work: Path) -> tuple[list[Path], Scene, float]:
    """Photos of a set, their true cameras, and the focal length in pixels of a photo 800 pixels across."""
    if name == "fountain":
        folder = DATA / "strecha_fountain-P11_1600"
        truth = surveyed(folder)
        return sorted((folder / "images").glob("*.jpg")), truth, truth.views[0].camera.params[0] / 2
    model, images = posed_frames(name, work / "posed")
    photos = sorted(path for path in images.iterdir() if path.suffix in {".jpg", ".png"})
    photos = photos[:: max(1, len(photos) // 24)]
    truth = colmap.read_scene(model, [photo.name for photo in photos])
    camera = truth.views[0].camera
    return photos, truth, camera.params[0] * _WIDTH / camera.width


def variant_of(name: str, variant: str, work: Path) -> tuple[Path, Scene]:
    """A frame_extraction artifact of a variant, and the true cameras."""
    if name == "rendered":
        zooms = [_ZOOM if variant in VARIANTS[1::2] and k % 2 else 1.0 for k in range(10)]
        truth = photographers(zooms)
        focal = 400.0 if variant == "wrong metadata" else None
        frames = photographed(work / "frames", truth, [0] * len(zooms), focal)
        return (frames if variant != "two sizes" else _halved(frames)), truth
    photos, truth, focal_px = _photos(name, work)
    odd = {photo.name for photo in photos[1::2]}
    zooms_by_name = {p.name: _ZOOM if variant in VARIANTS[1::2] and p.name in odd else 1.0 for p in photos}
    frames = _frames(work / "frames", zoomed_photos(photos, work / "photos", zooms_by_name), _WIDTH)
    if variant == "wrong metadata":
        listed = read_frames(frames)
        rows = tuple(replace(frame, focal_px=focal_px) for frame in listed.frames)
        write_frame_list(frames, replace(listed, frames=rows))
    return (frames if variant != "two sizes" else _halved(frames)), truth


def _halved(frames: Path) -> Path:
    """Every second photo at three quarters of its size; frame_extraction gives those another camera."""
    listed = read_frames(frames)
    rows = []
    for index, frame in enumerate(listed.frames):
        if index % 2:
            path = frames / "images" / frame.name
            width, height = 3 * frame.width // 4, 3 * frame.height // 4
            cv2.imwrite(
                str(path), cv2.resize(cv2.imread(str(path)), (width, height), interpolation=cv2.INTER_AREA)
            )
            frame = replace(frame, width=width, height=height, camera=1)
        rows.append(frame)
    write_frame_list(frames, replace(listed, frames=tuple(rows)))
    return frames


def matched(frames: Path, work: Path, quality: str) -> Path:
    context = InlineContext()
    features, matches = work / "features", work / "matches"
    features.mkdir()
    matches.mkdir()
    options = resolve_options(quality)
    feature_extraction.run({"frame_extraction": frames}, options["feature_extraction"], features, context)
    inputs = {"frame_extraction": frames, "feature_extraction": features}
    feature_matching.run(inputs, options["feature_matching"], matches, context)
    return matches


def _own(frames: Path, matches: Path, work: Path, truth: Scene) -> tuple[float, float, int]:
    """The errors with one camera for each image."""
    names = read_frames(frames).names
    database = work / "own.db"
    database.write_bytes((matches / "database.db").read_bytes())
    colmap.regroup_cameras(database, [SharedCamera((name,)) for name in names])
    models = colmap.map_incrementally(
        database, frames / "images", work / "own", min_model_size=3, seed=0, progress=lambda _: None
    )
    return centre_errors(colmap.read_scene(models[0], names), truth)


def centre_errors(scene: Scene, truth: Scene) -> tuple[float, float, int]:
    """Median and largest error of a centre in per cent of the true cameras' spread; images placed."""
    centers = np.array([view.center for view in truth])
    spread = np.linalg.norm(centers - centers.mean(axis=0), axis=1).max()
    errors = 100 * pose_errors(scene, truth).position / spread
    return float(np.median(errors)), float(errors.max()), len(scene)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ("rendered", "fountain", *(name for name, found in SETS.items() if found.poses))
    parser.add_argument("sets", nargs="*", default=names)
    parser.add_argument("--variants", nargs="*", default=VARIANTS)
    parser.add_argument("--quality", default="low", help="whose features are used")
    given = parser.parse_args()
    print(f"{'set':<10}{'variant':<16}{'images':>7}{'groups':>8}{'median':>9}{'largest':>9}   own cameras")
    for name in given.sets:
        for variant in given.variants:
            with tempfile.TemporaryDirectory() as temporary:
                work = Path(temporary)
                frames, truth = variant_of(name, variant, work)
                matches = matched(frames, work, given.quality)
                out = work / "sparse"
                out.mkdir()
                inputs = {"frame_extraction": frames, "feature_matching": matches}
                sparse_reconstruction.run(inputs, SparseReconstructionOptions(), out, InlineContext())
                median, largest, placed = centre_errors(Scene.load(out), truth)
                own = _own(frames, matches, work, truth)
                groups = len(read_registration(out).cameras)
                print(
                    f"{name:<10}{variant:<16}{placed:>4}/{len(read_frames(frames)):<2}{groups:>8}"
                    f"{median:>8.3f}%{largest:>8.3f}%   {own[0]:.3f}% {own[1]:.3f}% ({own[2]} images)",
                    flush=True,
                )


if __name__ == "__main__":
    main()

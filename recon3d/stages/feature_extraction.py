"""Images to SIFT features, in a COLMAP database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.compute import StageContext, reads, task_progress
from recon3d.errors import InputError, TooFewViews
from recon3d.io.feature_files import Features, read_features, write_features
from recon3d.io.masks import visible_features
from recon3d.layout import (
    DATABASE,
    FeatureCounts,
    features_file,
    features_folder,
    frame_list_file,
    images_folder,
    mask_file,
    read_frames,
)
from recon3d.matching.sift import detect_sift
from recon3d.options import FeatureExtractionOptions
from recon3d.selection.plainness import Plainness, plainness

VERSION = 5

#: Bytes that SIFT needs a pixel: its pyramid, which starts at twice the size when first_octave is -1.
_BYTES_PER_PIXEL = 160
#: Features that a pair needs in each image, and below which an image is named; or a share of the usual.
_NONE, _FEW, _FEW_OF_USUAL = 15, 60, 0.05
_CAUSES: dict[Plainness, tuple[str, str]] = {
    "dark": ("Too dark", "Light the scene, or expose longer on a tripod."),
    "overexposed": ("Overexposed", "Expose less, and keep lamps and the sun out of the picture."),
    "blurred": ("Blurred", "Focus on the object, hold the camera still, and use more light."),
    "plain": (
        "Without texture",
        "Plain surfaces such as painted walls show nothing to recognise: have things with texture in view, "
        "or put newspaper, chalk marks or patterned tape on the surface.",
    ),
}


@dataclass(frozen=True)
class _Task:
    image: str
    mask: str
    target: str
    options: FeatureExtractionOptions
    gpu: bool


def run(
    inputs: Mapping[str, Path], options: FeatureExtractionOptions, out_dir: Path, context: StageContext
) -> None:
    """Find SIFT features in every frame, and write COLMAP's database with cameras and features.

    Parameters
    ----------
    inputs : mapping of str to Path
        The folder of ``frame_extraction``.
    options : FeatureExtractionOptions
    out_dir : Path
    context : StageContext

    Raises
    ------
    TooFewViews
        Fewer than two images have features.
    """
    frames = inputs["frame_extraction"]
    names, images = read_frames(frames).names, images_folder(frames)
    # COLMAP has these two on the CPU only; there, all workers can take part.
    gpu = context.engine == "cuda" and not (options.affine_shape or options.domain_size_pooling)
    tasks = [
        _Task(
            str(images / name), str(mask_file(images, name)), str(features_file(out_dir, index)), options, gpu
        )
        for index, name in enumerate(names)
    ]
    missing = [task for task in tasks if not Path(task.target).exists()]
    pixels = options.max_image_size**2 * (1 if options.first_octave == 0 else 4)
    context.map(
        _extract,
        missing,
        names=[Path(task.image).name for task in missing],
        unit="frames",
        done=len(tasks) - len(missing),
        memory=300_000_000 + _BYTES_PER_PIXEL * pixels,
        gpu=gpu,
    )
    counts = context.call(_write, str(frames), str(out_dir), options, unit="frames")
    _judge(names, counts, frames, context)
    context.count(FeatureCounts(len(names), round(float(np.mean(counts))), min(counts)))


def _judge(names: Sequence[str], counts: Sequence[int], frames: Path, context: StageContext) -> None:
    """Name the images that have nearly no features; refuse a set without two others."""
    few = max(_FEW, _FEW_OF_USUAL * float(np.median(counts)))
    poor = [index for index, count in enumerate(counts) if count < few]
    if not poor:
        return
    look = context.phase(1.0, 1.0)
    causes = look.map(_look, [str(images_folder(frames) / names[index]) for index in poor], unit="images")
    listed = "; ".join(
        f"{_CAUSES[cause][0]}: {_some([names[i] for i, c in zip(poor, causes, strict=True) if c == cause])}"
        for cause in dict.fromkeys(causes)
    )
    useful = sum(count >= _NONE for count in counts)
    hints = " ".join(_CAUSES[cause][1] for cause in dict.fromkeys(causes))
    if useful < 2:
        have = f"only {useful} has" if useful else "none has"
        raise TooFewViews(f"Of {len(names)} images {have} features that can be recognised. {listed}.", hints)
    context.fallback(
        f"{len(poor)} of {len(names)} images have nearly no features and will hardly be part of the model. "
        f"{listed}. {hints}"
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


@reads(lambda path: [path])
def _look(path: str) -> Plainness:
    return plainness(_read_gray(path))


def _read_gray(path: str) -> NDArray[np.uint8]:
    """Read an image's pixels as they are stored, which are those of its camera."""
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    gray = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    if gray is None:
        raise InputError(f"{path} cannot be read.", "Leave the image out, or save it again as JPEG.")
    return np.asarray(gray, np.uint8)


@reads(lambda task: [task.image, task.mask])
def _extract(task: _Task) -> None:
    o = task.options
    if task.gpu or _only_colmap(o):
        features = _by_colmap(task)
    else:
        shown = partial(visible_features, Path(task.mask))
        features = detect_sift(
            _read_gray(task.image), o.max_image_size, o.max_features, o.first_octave, shown
        )
    write_features(Path(task.target), features)


def _only_colmap(options: FeatureExtractionOptions) -> bool:
    return options.detector == "colmap" or options.affine_shape or options.domain_size_pooling


def _by_colmap(task: _Task) -> Features:
    from recon3d.colmap import SiftSettings, extract_sift

    o = task.options
    settings = SiftSettings(
        o.max_image_size, o.max_features, o.first_octave, o.affine_shape, o.domain_size_pooling, task.gpu
    )
    keypoints, descriptors = extract_sift(Path(task.image), settings)
    visible = visible_features(Path(task.mask), keypoints)
    return keypoints[visible], descriptors[visible]


@reads(lambda frames, out_dir, options: [frame_list_file(Path(frames)), features_folder(Path(out_dir))])
def _write(frames: str, out_dir: str, options: FeatureExtractionOptions) -> list[int]:
    """Write the database; the only process that does."""
    from recon3d.colmap import read_rows, write_database

    rows = read_rows(Path(frames))
    counts: list[int] = []

    def features(index: int) -> Features:
        task_progress(index, len(rows))
        found = read_features(features_file(Path(out_dir), index))
        counts.append(len(found[0]))
        return found

    target = Path(out_dir) / DATABASE
    target.unlink(missing_ok=True)  # of an interrupted run
    write_database(target, rows, options.camera_model, features)
    return counts

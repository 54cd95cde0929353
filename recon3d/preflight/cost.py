"""What a run would take: frames, time, memory and disk, from a model of each stage's work.

The constants are CPU-seconds on two cores of a Xeon with AVX-512, fitted on the runs of the reference
sets on 2026-11-27. Kept runs of this machine scale them, stage by stage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from recon3d.options import StageOptions
from recon3d.stage_table import STAGE_NAMES

#: Stages that use one core only.
_SERIAL = ("sparse_reconstruction", "mesh_generation")
#: Seconds that starting the workers takes, once.
_START = 4.0
#: What two workers gain.
_PARALLEL = 0.9
#: Dense points for each pixel of the depth maps.
_POINTS = 0.13
#: Features that COLMAP finds for each that the check found at its smaller size, per pixel.
_DENSITY = 0.75
_GIGABYTE = 1e9


@dataclass(frozen=True)
class Job:
    """What the inputs are, as far as the cost goes.

    Attributes
    ----------
    frames : int
        Images that the model would be made from.
    video_frames : int
        Of them, those from videos.
    width, height : int
        Size of a typical image.
    features : float
        Features of an image of 640 pixels.
    scanned : float
        Millions of video pixels that are looked through.
    input_bytes : int
    """

    frames: int
    video_frames: int
    width: int
    height: int
    features: float
    scanned: float
    input_bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a run at one quality would take.

    Attributes
    ----------
    quality : str
    frames : int
    seconds : float
    error : float
        The time is right within this factor, two times of three.
    memory, disk : int
        Bytes.
    """

    quality: str
    frames: int
    seconds: float
    error: float
    memory: int
    disk: int


@dataclass(frozen=True)
class Speed:
    """How fast this machine is against the constants.

    Attributes
    ----------
    factors : mapping of str to float
        CPU-seconds against the model's, by stage.
    error : float
        As in `Estimate`.
    source : str
        What it was found from.
    """

    factors: Mapping[str, float]
    error: float
    source: str


def scaled_size(width: int, height: int, longest: int) -> float:
    """Megapixels of an image at a size.

    Parameters
    ----------
    width, height : int
    longest : int
        Longer side in pixels at most; 0 means any.

    Returns
    -------
    float
    """
    scale = min(1.0, longest / max(width, height)) if longest else 1.0
    return width * height * scale * scale / 1e6


def feature_pixels(width: int, height: int, options: Mapping[str, object]) -> float:
    """Megapixels in which features are sought, with doubled images.

    Parameters
    ----------
    width, height : int
    options : mapping
        Of feature_extraction.

    Returns
    -------
    float
    """
    longest = int(str(options["max_image_size"]))
    pixels = scaled_size(width, height, longest)
    octave = options["first_octave"]
    doubled = octave == -1 or (octave == "auto" and max(width, height) <= longest)
    return pixels * (4 if doubled else 1)


def stage_work(stage: str, counts: Mapping[str, float]) -> float:
    """CPU-seconds of a stage by the constants.

    Parameters
    ----------
    stage : str
    counts : mapping of str to float
        ``images``, and what else the stage's work depends on.

    Returns
    -------
    float
    """
    images = counts["images"]
    if stage == "frame_extraction":
        return 0.5 + 0.013 * counts["scanned"] + 0.03 * images * counts["frame_pixels"]
    if stage == "feature_extraction":
        return 0.22 * images * counts["feature_pixels"] + 0.12 * images
    if stage == "feature_matching":
        return counts["pairs"] * (0.012 + 4.5e-9 * counts["features"] * counts["features"])
    if stage == "sparse_reconstruction":
        return 0.12 * images
    if stage == "dense_reconstruction":
        return 2.8 * images * counts["depth_pixels"]
    if stage == "mesh_generation":
        return 14 + 50 * math.pow(counts["points"] / 1e6, 1.4)
    return 12 + 0.6 * images * counts["texture_pixels"]


def expected_counts(job: Job, options: Mapping[str, StageOptions]) -> dict[str, float]:
    """Foretell the counts of a run.

    Parameters
    ----------
    job : Job
    options : mapping of str to StageOptions

    Returns
    -------
    dict of str to float
    """
    features_options = options["feature_extraction"].model_dump()
    matching = options["feature_matching"].model_dump()
    n, size = job.frames, (job.width, job.height)
    pixels = feature_pixels(*size, features_options)
    seen = scaled_size(*size, 640)
    features = min(job.features * _DENSITY * pixels / seen, features_options["max_features"])
    depth = scaled_size(*size, options["dense_reconstruction"].model_dump()["max_image_size"])
    if job.video_frames:
        pairs = n * (matching["overlap"] + matching["loop_closure"])
    elif n <= matching["max_exhaustive"]:
        pairs = n * (n - 1) / 2
    else:
        pairs = n * matching["neighbors"]
    return {
        "images": n,
        "scanned": job.scanned,
        "frame_pixels": scaled_size(*size, 0),
        "feature_pixels": pixels,
        "features": features,
        "pairs": min(pairs, n * (n - 1) / 2),
        "depth_pixels": depth,
        "points": _POINTS * n * depth * 1e6,
        "texture_pixels": scaled_size(*size, options["texturing"].model_dump()["max_image_size"]),
    }


def estimate(
    quality: str, job: Job, options: Mapping[str, StageOptions], speed: Speed, workers: int
) -> Estimate:
    """Foretell what a run takes.

    Parameters
    ----------
    quality : str
    job : Job
    options : mapping of str to StageOptions
        Those of the quality.
    speed : Speed
    workers : int
        Worker processes.

    Returns
    -------
    Estimate
    """
    counts = expected_counts(job, options)
    gain = 1 + _PARALLEL * (workers - 1)
    seconds = _START
    for stage in STAGE_NAMES:
        work = stage_work(stage, counts) * speed.factors.get(stage, 1.0)
        seconds += work if stage in _SERIAL else work / min(gain, max(counts["images"], 1))
    texture = options["texturing"].model_dump()["texture_size"]
    each = 0.25 + 0.1 * counts["frame_pixels"]
    memory = 0.5 + workers * each + 0.8 * counts["points"] / 1e6 + 12 * texture**2 / _GIGABYTE
    n = counts["images"]
    disk = 2 * job.input_bytes + n * (
        0.3e6 * counts["frame_pixels"] * (job.video_frames > 0)
        + 400 * counts["features"]
        + 12e6 * counts["depth_pixels"]
    )
    disk += 40 * counts["points"] + 0.7 * texture**2
    return Estimate(quality, int(n), round(seconds, 1), speed.error, int(memory * _GIGABYTE), int(disk))


def rounded_error(residuals: list[float]) -> float:
    """The factor within which two of three of some ratios lie.

    Parameters
    ----------
    residuals : list of float
        Natural logarithms of measured against foretold times.

    Returns
    -------
    float
    """
    ordered = sorted(abs(value) for value in residuals)
    return round(math.exp(ordered[min(len(ordered) - 1, math.ceil(2 * len(ordered) / 3))]), 2)

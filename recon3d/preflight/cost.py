"""What a run would take: frames, time, memory and disk, from a model of each stage's work.

`recon3d.preflight.work` has the parts of the work and their prices. Kept runs of this machine scale
the prices, stage by stage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from recon3d.options import StageOptions
from recon3d.preflight.work import Counts, cost_model, cpu_parts, disk_parts, memory_parts, priced
from recon3d.stage_table import STAGE_NAMES

#: Other work seldom lasts as long as a run: more than this it is not expected to slow one down.
_SLOWEST = 2.0
#: Features for each megapixel that the check finds in a usual photo, and the share of them that an image
#: has which is not doubled.
_DENSITY, _UNDOUBLED = 4500.0, 0.55
#: What a project keeps besides the artifacts of its stages.
BESIDE_STAGES = ("inputs", "results")


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
    input_bytes, photo_bytes : int
        Size of all files, and of the photos.
    """

    frames: int
    video_frames: int
    width: int
    height: int
    features: float
    scanned: float
    input_bytes: int
    photo_bytes: int


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
    stages : dict of str to float
        Seconds of each stage on free cores; what a run does before and between them is not in them.
    """

    quality: str
    frames: int
    seconds: float
    error: float
    memory: int
    disk: int
    stages: dict[str, float]


@dataclass(frozen=True)
class Speed:
    """How fast this machine is against that of the prices.

    Attributes
    ----------
    factors : mapping of str to float
        CPU-seconds against the model's, by stage.
    error : float
        As in `Estimate`.
    source : str
        What it was found from.
    start : float
        The same factor for what a run does before and between its stages.
    busy : float
        Cores that other work uses.
    cores : int
        Cores of the machine.
    """

    factors: Mapping[str, float]
    error: float
    source: str
    start: float = 1.0
    busy: float = 0.0
    cores: int = 0

    def slowdown(self, workers: int) -> float:
        """How much longer a run takes because it shares the cores with other work.

        Parameters
        ----------
        workers : int

        Returns
        -------
        float
        """
        if not self.cores:
            return 1.0
        return min(max(1.0, (self.busy + workers) / self.cores), _SLOWEST)


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


def feature_pixels(
    width: int, height: int, options: Mapping[str, object], density: float = _DENSITY
) -> float:
    """Megapixels in which features are sought.

    An image is looked at as it is, and doubled where that gives too few features.

    Parameters
    ----------
    width, height : int
    options : mapping
        Of feature_extraction.
    density : float
        Features for each megapixel of the image at the size of the check.

    Returns
    -------
    float
    """
    pixels = scaled_size(width, height, int(str(options["max_image_size"])))
    octave = options["first_octave"]
    if octave != "auto":
        return float(pixels * 0.25 ** int(str(octave)))
    enough = _UNDOUBLED * density * pixels >= int(str(options["max_features"]))
    return pixels if enough else 5 * pixels


def usual_features(width: int, height: int) -> float:
    """Features that a check finds in a usual image: in one of 640 pixels, as `Job` has them.

    Parameters
    ----------
    width, height : int
        Size of the image.

    Returns
    -------
    float
    """
    return _DENSITY * scaled_size(width, height, 640)


def stage_work(stage: str, counts: Counts) -> float:
    """CPU-seconds of a stage on the machine of the prices.

    Parameters
    ----------
    stage : str
    counts : mapping of str to float
        See `expected_counts`.

    Returns
    -------
    float
    """
    return priced("cpu", stage, cpu_parts(stage, counts))


def option_counts(options: Mapping[str, Mapping[str, object]], width: int, height: int) -> dict[str, float]:
    """What the options alone tell of the work, for stages whose options are given.

    Parameters
    ----------
    options : mapping of str to mapping
        Values by stage.
    width, height : int
        Size of a typical image.

    Returns
    -------
    dict of str to float
    """

    def number(stage: str, name: str) -> float:
        return float(str(options[stage][name]))

    counts: dict[str, float] = {}
    if found := options.get("feature_extraction"):
        counts["feature_pixels"] = feature_pixels(width, height, found)
        counts["normalized"] = float(bool(found["affine_shape"]) or bool(found["domain_size_pooling"]))
    if found := options.get("feature_matching"):
        counts["guided"] = float(bool(found["guided"]))
    if "dense_reconstruction" in options:
        counts["depth_pixels"] = scaled_size(
            width, height, int(number("dense_reconstruction", "max_image_size"))
        )
        counts["sources"] = number("dense_reconstruction", "num_sources")
        counts["refinements"] = number("dense_reconstruction", "geometric_iterations")
    if "mesh_generation" in options:
        counts["faces"] = number("mesh_generation", "max_faces") / 1e6
    if "texturing" in options:
        counts["texture_pixels"] = scaled_size(width, height, int(number("texturing", "max_image_size")))
        counts["texels"] = number("texturing", "texture_size") ** 2 / 1e6
        # Runs of former versions had one page.
        counts["pages"] = float(str(options["texturing"].get("texture_pages", 1)))
    return counts


def expected_counts(job: Job, options: Mapping[str, StageOptions]) -> dict[str, float]:
    """Foretell the counts of a run.

    Parameters
    ----------
    job : Job
    options : mapping of str to StageOptions

    Returns
    -------
    dict of str to float
        Sizes of images are in megapixels, points and faces in millions, ``scanned`` in millions of video
        pixels.
    """
    values = {stage: chosen.model_dump() for stage, chosen in options.items()}
    n, size, typical = job.frames, (job.width, job.height), cost_model()["typical"]["counts"]
    counts = option_counts(values, *size)
    found = job.features / scaled_size(*size, 640)
    counts["feature_pixels"] = feature_pixels(*size, values["feature_extraction"], found)
    matching = values["feature_matching"]
    if job.video_frames:
        pairs = n * (matching["overlap"] + matching["loop_closure"])
    elif n <= matching["max_exhaustive"]:
        pairs = n * (n - 1) / 2
    else:
        pairs = n * matching["neighbors"]
    largest = values["frame_extraction"]["max_image_size"] if job.video_frames else 0
    return {
        **counts,
        "images": n,
        "video_frames": job.video_frames,
        "scanned": job.scanned,
        "frame_pixels": scaled_size(*size, largest),
        "features": min(
            typical["features"] * found * counts["feature_pixels"],
            typical["most_features"] * values["feature_extraction"]["max_features"],
        ),
        "pairs": min(pairs, n * (n - 1) / 2),
        "points": typical["points"] * n * counts["depth_pixels"],
        "input_bytes": job.input_bytes,
        "photo_bytes": job.photo_bytes,
    }


def stage_seconds(stage: str, cpu_seconds: float, workers: int, images: float) -> float:
    """Seconds that a stage takes on free cores.

    Parameters
    ----------
    stage : str
    cpu_seconds : float
    workers : int
        Worker processes, each with a core of its own.
    images : float
        Items that the work can be divided by.

    Returns
    -------
    float
    """
    shared = cost_model()["parallel"]["share"][stage]
    return cpu_seconds * (1 - shared + shared / max(1.0, min(workers, images)))


def seconds_by_stage(counts: Counts, workers: int, factors: Mapping[str, float]) -> dict[str, float]:
    """Foretell how long each stage takes.

    Parameters
    ----------
    counts : mapping of str to float
        See `expected_counts`.
    workers : int
        Worker processes.
    factors : mapping of str to float
        See `Speed`; a stage that it lacks is as fast as the prices say.

    Returns
    -------
    dict of str to float
    """
    return {
        stage: stage_seconds(stage, stage_work(stage, counts), workers, counts["images"])
        * factors.get(stage, 1.0)
        for stage in STAGE_NAMES
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
    stages = seconds_by_stage(counts, workers, speed.factors)
    start = cost_model()["parallel"]["start"]["seconds"] * speed.start
    return Estimate(
        quality,
        int(counts["images"]),
        round((start + sum(stages.values())) * speed.slowdown(workers), 1),
        speed.error,
        int(max(priced("memory", stage, memory_parts(stage, counts, workers)) for stage in STAGE_NAMES)),
        int(sum(priced("disk", kept, disk_parts(kept, counts)) for kept in (*BESIDE_STAGES, *STAGE_NAMES))),
        {stage: round(seconds, 2) for stage, seconds in stages.items()},
    )


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

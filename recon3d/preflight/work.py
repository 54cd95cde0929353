"""What the cost of each stage depends on; ``cost_model.toml`` has the price of each part.

The prices are fitted on kept runs: ``python -m tests.benchmarks.preflight_times --fit`` writes the
file. A part is a number of units, such as megapixels, and its price is in CPU-seconds, bytes of
memory or bytes on the disk for each of them.
"""

from __future__ import annotations

import functools
import importlib.resources
import sys
from collections.abc import Mapping
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: What a run was made of, or would be: see `recon3d.preflight.cost.expected_counts`.
Counts = Mapping[str, float]
#: Units by the name of the part.
Parts = dict[str, float]

#: Photos that refine a surface: their sides against those of the depth maps, and megapixels of each at most.
_PHOTO_SCALE, _PHOTO_MEGAPIXELS = 1.6, 12
#: Share of the photos' pixels that a texture takes at their own resolution.
_PAINTED_SHARE = 0.1


@functools.cache
def cost_model() -> dict[str, dict[str, dict[str, float]]]:
    """The table of prices, by kind of cost, stage and part."""
    text = importlib.resources.files("recon3d").joinpath("preflight/cost_model.toml").read_text("utf-8")
    model: dict[str, Any] = tomllib.loads(text)
    return model


def cpu_parts(stage: str, counts: Counts) -> Parts:
    """Parts of a stage's CPU-seconds.

    Parameters
    ----------
    stage : str
    counts : mapping of str to float

    Returns
    -------
    dict of str to float

    Raises
    ------
    KeyError
        `counts` lacks one that the stage depends on.
    """
    c, images = counts, counts["images"]
    if stage == "frame_extraction":
        return {"scanned_megapixels": c["scanned"], "frame_megapixels": images * c["frame_pixels"]}
    if stage == "feature_extraction":
        pixels = images * c["feature_pixels"]
        return {"once": 1.0, "megapixels": pixels, "normalized_megapixels": pixels * c["normalized"]}
    if stage == "feature_matching":
        pairs, features = c["pairs"], c["features"] / 1000
        return {
            "images": images,
            "pairs": pairs,
            "compared": pairs * features**2,
            "guided": pairs * features**2 * c["guided"],
        }
    if stage == "sparse_reconstruction":
        return {"images": images, "thousand_features": images * c["features"] / 1000}
    if stage == "dense_reconstruction":
        pixels = images * c["depth_pixels"] * c["sources"]
        return {"once": 1.0, "megapixels": pixels, "refined_megapixels": pixels * c["refinements"]}
    if stage == "mesh_generation":
        parts = {"million_faces": c["faces"], "million_points": c["points"]}
        return {**parts, "photo_megapixels": _photo_megapixels(c)}
    # Neither what `max_faces` saves nor a normal map has a price. The map takes 1 to 2 s for each million of
    # its texels, and the triangles left out save more (docs/benchmarks.md): a price for the map alone would
    # make what is foretold worse. Kept runs cannot tell the other one: they texture all of their triangles.
    return {
        "megapixels": images * c["texture_pixels"],
        "million_faces": c["faces"],
        "megatexels": _megatexels(c),
    }


def _megatexels(counts: Counts) -> float:
    """Of all pages: there is more than one only where photos have more pixels to give."""
    page, photos = counts["texels"], counts["images"] * counts["texture_pixels"]
    return min(counts["pages"] * page, max(page, _PAINTED_SHARE * photos))


def _photo_megapixels(counts: Counts) -> float:
    return counts["images"] * min(counts["depth_pixels"] * _PHOTO_SCALE**2, _PHOTO_MEGAPIXELS)


def memory_parts(stage: str, counts: Counts, workers: int) -> Parts:
    """Parts of the memory of a stage's workers; only the largest stages have any.

    Parameters
    ----------
    stage : str
    counts : mapping of str to float
    workers : int

    Returns
    -------
    dict of str to float
    """
    c, each = counts, float(workers)
    if stage == "feature_extraction":
        return {"workers": each, "megapixels": each * c["feature_pixels"]}
    if stage == "dense_reconstruction":
        return {"workers": each, "megapixels": each * c["depth_pixels"] * (1 + c["sources"])}
    if stage == "mesh_generation":
        return {"workers": each, "million_points": c["points"], "photo_megapixels": _photo_megapixels(c)}
    if stage == "texturing":
        return {"workers": each, "megapixels": each * c["texture_pixels"], "megatexels": c["texels"]}
    return {}


def disk_parts(stage: str, counts: Counts) -> Parts:
    """Parts of what a stage leaves on the disk.

    Parameters
    ----------
    stage : str
        Or "inputs" and "results", for the project's copies of them.
    counts : mapping of str to float

    Returns
    -------
    dict of str to float
    """
    c, images = counts, counts["images"]
    if stage == "inputs":
        return {"bytes": c["input_bytes"]}
    if stage == "frame_extraction":
        # Photos are copied, most of them as they are; frames of videos are coded anew.
        return {"photo_bytes": c["photo_bytes"], "frame_megapixels": c["video_frames"] * c["frame_pixels"]}
    if stage == "feature_extraction":
        return {"thousand_features": images * c["features"] / 1000}
    if stage == "feature_matching":
        return {"thousand_features": images * c["features"] / 1000, "pairs": c["pairs"]}
    if stage == "sparse_reconstruction":
        return {"thousand_features": images * c["features"] / 1000}
    if stage == "dense_reconstruction":
        return {"megapixels": images * c["depth_pixels"], "million_points": c["points"]}
    if stage == "mesh_generation":
        return {"million_faces": c["faces"]}
    if stage == "results":
        return {"million_points": c["points"], "million_faces": c["faces"], "megatexels": _megatexels(c)}
    return {"million_faces": c["faces"], "megatexels": _megatexels(c)}


def priced(kind: str, stage: str, parts: Parts) -> float:
    """Add up parts at their prices.

    Parameters
    ----------
    kind : {"cpu", "memory", "disk"}
    stage : str
    parts : dict of str to float

    Returns
    -------
    float
        CPU-seconds, or bytes.
    """
    prices = cost_model()[kind].get(stage, {})
    return sum(units * prices[part] for part, units in parts.items())

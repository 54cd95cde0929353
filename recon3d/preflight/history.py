"""How fast this machine was in earlier runs, from the manifests that they left."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from recon3d.errors import Recon3DError
from recon3d.layout import ARTIFACTS, MANIFEST, read_frames
from recon3d.preflight.cost import (
    Speed,
    feature_pixels,
    rounded_error,
    scaled_size,
    stage_work,
)
from recon3d.project.artifacts import Manifest

#: Manifests that are read, the newest first.
_MOST = 300
#: Work, in CPU-seconds by the constants, below which a time says nothing.
_LITTLE = 1.0
#: What the constants are worth on another machine.
_UNKNOWN = 2.0
#: Seconds that `_calibrate` takes on the machine of the constants.
_REFERENCE = 0.039


def machine_speed(folders: Iterable[Path]) -> Speed:
    """Compare kept runs with the model; a short calibration takes their place where there are none.

    Parameters
    ----------
    folders : iterable of Path
        Where projects are, up to two levels deep.

    Returns
    -------
    Speed
    """
    ratios: dict[str, list[float]] = {}
    runs = 0
    for project in _projects(folders):
        found = _ratios(project)
        runs += bool(found)
        for stage, ratio in found:
            ratios.setdefault(stage, []).append(ratio)
    if sum(map(len, ratios.values())) < 4:
        factor = round(_calibrate() / _REFERENCE, 2)
        return Speed(_everywhere(factor), _UNKNOWN, "a short calibration: no earlier run is kept here")
    everything = [ratio for values in ratios.values() for ratio in values]
    factors = _everywhere(statistics.median(everything))
    factors |= {stage: statistics.median(values) for stage, values in ratios.items()}
    residuals = [math.log(r / factors[stage]) for stage, values in ratios.items() for r in values]
    # Stages without a kept run, and inputs unlike the kept ones, are less certain.
    error = max(rounded_error(residuals), 1.3 if len(ratios) >= 5 else 1.6)
    return Speed(factors, error, f"{runs} earlier runs on this machine" if runs > 1 else "an earlier run")


def _everywhere(factor: float) -> dict[str, float]:
    from recon3d.stage_table import STAGE_NAMES

    return dict.fromkeys(STAGE_NAMES, factor)


def _projects(folders: Iterable[Path]) -> list[Path]:
    """Folders of artifacts, the newest first."""
    found: dict[Path, float] = {}
    for folder in folders:
        for pattern in (ARTIFACTS, f"*/{ARTIFACTS}", f"*/*/{ARTIFACTS}"):
            for path in folder.glob(pattern):
                try:
                    found[path.resolve()] = path.stat().st_mtime
                except OSError:
                    continue
    return sorted(found, key=lambda path: -found[path])[: _MOST // 7]


def _ratios(artifacts: Path) -> list[tuple[str, float]]:
    """Measured against foretold CPU-seconds of each stage; GPUs and other versions do not count."""
    manifests: dict[str, Manifest] = {}
    paths: dict[str, Path] = {}
    for path in artifacts.glob(f"*/{MANIFEST}"):
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except (OSError, ValueError):
            continue
        known = manifests.get(manifest.stage)
        if known is None or known.started < manifest.started:
            manifests[manifest.stage], paths[manifest.stage] = manifest, path.parent
    try:
        frames = read_frames(paths["frame_extraction"]).frames
        size = frames[0].width, frames[0].height
        counts = _counts(manifests, len(frames), size)
    except (KeyError, IndexError, Recon3DError, ValueError, OSError):
        return []
    found = []
    for stage, manifest in manifests.items():
        try:
            work = stage_work(stage, counts)
        except KeyError:
            continue
        if manifest.engine == "cpu" and work > _LITTLE and manifest.cpu_seconds > 0.1:
            found.append((stage, manifest.cpu_seconds / work))
    return found


def _counts(manifests: Mapping[str, Manifest], images: int, size: tuple[int, int]) -> dict[str, float]:
    def of(stage: str, part: str, name: str) -> Any:
        return getattr(manifests[stage], part)[name]

    counts: dict[str, float] = {"images": images, "frame_pixels": scaled_size(*size, 0)}
    counts["scanned"] = of("frame_extraction", "counts", "scanned") * counts["frame_pixels"]
    wanted: dict[str, Callable[[], float]] = {
        "feature_pixels": lambda: feature_pixels(*size, manifests["feature_extraction"].options),
        "features": lambda: of("feature_extraction", "counts", "features_per_image"),
        "pairs": lambda: of("feature_matching", "counts", "pairs"),
        "depth_pixels": lambda: scaled_size(*size, of("dense_reconstruction", "options", "max_image_size")),
        "points": lambda: of("dense_reconstruction", "counts", "points"),
        "texture_pixels": lambda: scaled_size(*size, of("texturing", "options", "max_image_size")),
    }
    for name, read in wanted.items():
        try:
            counts[name] = float(read())
        except KeyError:
            continue  # that stage has not run
    return counts


def _calibrate() -> float:
    """Seconds of a fixed piece of work: features of a made-up picture."""
    import cv2
    import numpy as np

    noise = np.random.default_rng(0).normal(128, 40, (360, 480))
    picture = np.clip(cv2.GaussianBlur(noise, (0, 0), 1.5) * 3 - 256, 0, 255).astype(np.uint8)
    library: Any = cv2  # its stubs lack SIFT
    sift = library.SIFT_create(1000)
    times = []
    for _ in range(3):
        before = time.thread_time() if os.name == "posix" else time.perf_counter()
        cv2.setNumThreads(1)
        sift.detect(picture)
        times.append((time.thread_time() if os.name == "posix" else time.perf_counter()) - before)
    return max(min(times), 1e-3)

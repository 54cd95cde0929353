"""How fast this machine was in earlier runs, from the manifests that they left, and how busy it is now."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from recon3d.errors import Recon3DError
from recon3d.layout import ARTIFACTS, MANIFEST, read_frames
from recon3d.preflight.cost import Speed, option_counts, rounded_error, scaled_size, stage_work
from recon3d.preflight.work import cost_model
from recon3d.project.artifacts import Manifest
from recon3d.stage_table import STAGE_NAMES

#: Projects that are read, the newest first.
_MOST = 40
#: Work, in CPU-seconds by the prices, below which a time says nothing.
_LITTLE = 1.0
#: Work that weighs as much as what is known of the machine without the stage: small runs start slowly.
_DOUBT = 20.0
#: Other work, in cores, that is not worth a word, and seconds that it is watched.
_QUIET, _LOOK = 0.5, 0.4


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
    # Before the calibration, which would count itself.
    busy, cores = busy_cores(), psutil.cpu_count() or 1
    told = f"; other work uses {busy:.1f} of {cores} cores now" if busy > _QUIET else ""
    found: dict[str, list[tuple[float, float]]] = {}
    runs = 0
    for project in _projects(folders):
        ratios = _ratios(project)
        runs += bool(ratios)
        for stage, work, ratio in ratios:
            found.setdefault(stage, []).append((work, math.log(ratio)))
    everything = [log for rows in found.values() for _, log in rows]
    errors = cost_model()["typical"]["errors"]
    if len(everything) < 4:
        factor = round(calibrate() / cost_model()["parallel"]["start"]["calibration"], 2)
        source = f"a short calibration: no earlier run is kept here{told}"
        return Speed(
            dict.fromkeys(STAGE_NAMES, factor),
            errors["calibrated"],
            source,
            factor,
            busy if told else 0,
            cores,
        )
    typical = statistics.median(everything)
    factors: dict[str, float] = {
        stage: math.exp(_settled(found.get(stage, ()), typical)) for stage in STAGE_NAMES
    }
    residuals = [log - math.log(factors[stage]) for stage, rows in found.items() for _, log in rows]
    # Stages without a kept run, and inputs unlike the kept ones, are less certain.
    least = errors["kept_runs"] if len(found) >= 5 else errors["few_stages"]
    source = f"{runs} earlier runs on this machine" if runs > 1 else "an earlier run"
    return Speed(
        factors,
        max(rounded_error(residuals), least),
        source + told,
        math.exp(typical),
        busy if told else 0.0,
        cores,
    )


def _settled(rows: Iterable[tuple[float, float]], typical: float) -> float:
    """Mean of the logarithms by the work behind them; little work leaves it near the typical one."""
    work, total = _DOUBT, _DOUBT * typical
    for units, log in rows:
        work, total = work + units, total + units * log
    return total / work


def busy_cores() -> float:
    """Measure how many cores work now; the load of the last minute would count a run that has just ended.

    Returns
    -------
    float
    """
    before = psutil.cpu_times()
    time.sleep(_LOOK)
    after = psutil.cpu_times()
    # Some systems know no waiting for the disk; on Linux it is no work.
    idle = sum(getattr(after, kind, 0.0) - getattr(before, kind, 0.0) for kind in ("idle", "iowait"))
    # Guests' time is counted twice.
    total = (
        sum(after)
        - sum(before)
        - sum(getattr(after, kind, 0.0) - getattr(before, kind, 0.0) for kind in ("guest", "guest_nice"))
    )
    return float((psutil.cpu_count() or 1) * (1 - idle / total)) if total > 0 else 0.0


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
    return sorted(found, key=lambda path: -found[path])[:_MOST]


def kept_run(artifacts: Path) -> tuple[dict[str, Manifest], dict[str, float]]:
    """Read the newest manifest of each stage, and the counts that its work depends on.

    Parameters
    ----------
    artifacts : Path
        The project's folder of artifacts.

    Returns
    -------
    manifests : dict of str to Manifest
    counts : dict of str to float
        As `recon3d.preflight.cost.expected_counts` foretells them, for the stages that ran. Both are
        empty where no frames are kept.
    """
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
        videos = sum(frame.kind == "video" for frame in frames)
        return manifests, {"images": len(frames), "video_frames": videos, **_counts(manifests, size)}
    except (KeyError, IndexError, Recon3DError, ValueError):
        return {}, {}


def _ratios(artifacts: Path) -> list[tuple[str, float, float]]:
    """Foretold CPU-seconds of each stage, and the ratio of the measured ones to them.

    GPUs and other versions do not count.
    """
    manifests, counts = kept_run(artifacts)
    found = []
    for stage, manifest in manifests.items():
        try:
            work = stage_work(stage, counts)
        except KeyError:
            continue  # it depends on a stage that has not run
        usable = manifest.engine == "cpu" and manifest.versions.get("recon3d") == _version()
        if usable and work > _LITTLE and manifest.cpu_seconds > 0.1:
            found.append((stage, work, manifest.cpu_seconds / work))
    return found


def _version() -> str:
    try:
        return version("recon3d")
    except PackageNotFoundError:
        return "not installed"


def _counts(manifests: Mapping[str, Manifest], size: tuple[int, int]) -> dict[str, float]:
    pixels = scaled_size(*size, 0)
    counts = option_counts({stage: manifest.options for stage, manifest in manifests.items()}, *size)
    counts["frame_pixels"] = pixels
    counts["scanned"] = manifests["frame_extraction"].counts["scanned"] * pixels
    return counts | measured_counts(manifests)


def measured_counts(manifests: Mapping[str, Manifest]) -> dict[str, float]:
    """What stages found that the work of later ones depends on.

    Parameters
    ----------
    manifests : mapping of str to Manifest
        Of the stages that have run.

    Returns
    -------
    dict of str to float
        Named as `recon3d.preflight.cost.expected_counts` names them.
    """
    counts = {}
    for name, stage, key, unit in (
        ("features", "feature_extraction", "features_per_image", 1.0),
        ("pairs", "feature_matching", "pairs", 1.0),
        ("points", "dense_reconstruction", "points", 1e6),
    ):
        if stage in manifests:
            counts[name] = manifests[stage].counts[key] / unit
    return counts


def calibrate() -> float:
    """Time a fixed piece of work: features of a made-up picture.

    Returns
    -------
    float
        Seconds.
    """
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

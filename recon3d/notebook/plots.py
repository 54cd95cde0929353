"""Plots of what the stages did; each gives the matplotlib Axes that it drew on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recon3d.errors import EngineUnavailable, InputError
from recon3d.io.files import read_json
from recon3d.project import Project

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def frame_scores(project: Project, axes: Axes | None = None) -> Axes:
    """Sharpness of the frames that were looked at over time; those taken are dots."""
    videos = read_json(_folder(project, "frame_extraction") / "scores.json")["videos"]
    if not videos:
        raise InputError("No video was scanned for frames.", "Frame scores exist for videos only.")
    axes = _axes(axes)
    for video in videos:
        time, sharpness = np.array(video["time"], float), np.array(video["sharpness"], float)
        taken = np.array(video["taken"], bool)
        (line,) = axes.plot(time, sharpness, linewidth=0.8, label=video["source"])
        axes.plot(time[taken], sharpness[taken], "o", markersize=4, color=line.get_color())
    axes.set(xlabel="time (s)", ylabel="sharpness", title=f"{sum(map(_taken, videos))} frames taken")
    axes.legend()
    return axes


def match_matrix(project: Project, axes: Axes | None = None) -> Axes:
    """Verified matches of each pair of frames, in the order of the frames."""
    frames = read_json(_folder(project, "frame_extraction") / "frames.json")["frames"]
    with np.load(_folder(project, "feature_matching") / "matches.npz") as matches:
        pairs, inliers = matches["pairs"], matches["inliers"]
    matrix = np.full((len(frames), len(frames)), np.nan)
    matrix[pairs[:, 0], pairs[:, 1]] = matrix[pairs[:, 1], pairs[:, 0]] = inliers
    axes = _axes(axes)
    image = axes.imshow(matrix)
    axes.figure.colorbar(image, ax=axes, label="verified matches")
    axes.set(xlabel="frame", ylabel="frame", title=f"{len(pairs)} pairs")
    return axes


def reprojection_errors(project: Project, axes: Axes | None = None) -> Axes:
    """Mean reprojection error of each frame; those that were not registered are left out."""
    images = read_json(_folder(project, "sparse_reconstruction") / "registration.json")["images"]
    errors = [i["error"] if i["registered"] else np.nan for i in images]
    axes = _axes(axes)
    axes.bar(range(len(errors)), errors)
    registered = sum(i["registered"] for i in images)
    title = f"{registered} of {len(images)} registered"
    axes.set(xlabel="frame", ylabel="reprojection error (px)", title=title)
    return axes


def stage_costs(project: Project, axes: Axes | None = None) -> Axes:
    """Wall and CPU seconds of each stage; the peak memory is written beside."""
    manifests = [artifact.manifest for artifact in project.artifacts.values()]
    if not manifests:
        raise InputError(f"{project.path} has no finished stage.", "Run the pipeline first.")
    axes = _axes(axes)
    rows = np.arange(len(manifests))
    cpu = axes.barh(rows + 0.2, [m.cpu_seconds for m in manifests], 0.4, label="CPU")
    axes.barh(rows - 0.2, [m.seconds for m in manifests], 0.4, label="wall")
    axes.bar_label(cpu, [f" {m.peak_memory / 1e9:.1f} GB" for m in manifests])
    axes.set_yticks(rows, [m.stage.replace("_", " ") for m in manifests])
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.legend()
    return axes


def _taken(video: dict[str, Any]) -> int:
    return sum(video["taken"])


def _folder(project: Project, stage: str) -> Path:
    artifact = project.artifacts.get(stage)
    if artifact is None:
        raise InputError(f"{project.path} has no finished {stage}.", "Run the pipeline first.")
    return artifact.path


def _axes(axes: Axes | None) -> Axes:
    if axes is not None:
        return axes
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise EngineUnavailable(
            "Plots need matplotlib, which is not installed.", "pip install 'recon3d[notebook]'"
        ) from error
    return pyplot.subplots(layout="constrained")[1]

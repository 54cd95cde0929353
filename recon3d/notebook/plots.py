"""Plots of what the stages did; each gives the matplotlib Axes that it drew on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import EngineUnavailable, InputError
from recon3d.io.atomic import read_json
from recon3d.layout import DEPTH_MAPS, MATCHES, SCORES, read_frames, read_registration
from recon3d.project.project import Project
from recon3d.stage_table import STAGE_NAMES
from recon3d.types import Floats, Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "depth_coverage",
    "frame_scores",
    "match_matrix",
    "reprojection_errors",
    "stage_costs",
    "view_graph",
]


def frame_scores(project: Project, axes: Axes | None = None) -> Axes:
    """Plot the sharpness of the candidate frames over time; dots mark the chosen ones.

    Parameters
    ----------
    project : Project
    axes : Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        The axes drawn on.

    Raises
    ------
    InputError
        No video was scanned for frames.
    """
    path = _folder(project, "frame_extraction") / SCORES
    with _readable(path, "frame_extraction"):
        videos = [_scan(video) for video in read_json(path)["videos"]]
    if not videos:
        raise InputError("No video was scanned for frames.", "Frame scores exist for videos only.")
    axes = _axes(axes)
    for source, time, sharpness, taken in videos:
        (line,) = axes.plot(time, sharpness, linewidth=0.8, label=source)
        axes.plot(time[taken], sharpness[taken], "o", markersize=4, color=line.get_color())
    frames = sum(int(taken.sum()) for *_, taken in videos)
    axes.set(xlabel="time (s)", ylabel="sharpness", title=f"{frames} frames taken")
    axes.legend()
    return axes


def match_matrix(project: Project, axes: Axes | None = None) -> Axes:
    """Plot the verified matches of each pair of frames, in the order of the frames.

    Parameters
    ----------
    project : Project
    axes : Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        The axes drawn on.
    """
    names, pairs, inliers = _matches(project)
    matrix = np.full((len(names), len(names)), np.nan)
    matrix[pairs[:, 0], pairs[:, 1]] = matrix[pairs[:, 1], pairs[:, 0]] = inliers
    axes = _axes(axes)
    image = axes.imshow(matrix)
    axes.figure.colorbar(image, ax=axes, label="verified matches")
    axes.set(xlabel="frame", ylabel="frame", title=f"{len(pairs)} pairs")
    return axes


def view_graph(project: Project, axes: Axes | None = None) -> Axes:
    """Plot frames as dots and pairs with verified matches as lines; darker lines have more matches.

    Once cameras exist, frames are at their cameras' positions, seen from above; before, they are on a circle
    in their order. Unregistered frames are hollow, in the middle.

    Parameters
    ----------
    project : Project
    axes : Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        The axes drawn on.
    """
    from matplotlib.collections import LineCollection

    names, pairs, inliers = _matches(project)
    artifact = project.artifacts.get("sparse_reconstruction")
    scene = Scene.load(artifact.path) if artifact is not None else None
    places, placed = _circle(len(names)), np.ones(len(names), bool)
    if scene is not None and len(scene):
        seen = _from_above(scene)
        placed = np.array([name in seen for name in names])
        middle = np.mean(list(seen.values()), axis=0)
        places = np.array([seen.get(name, middle) for name in names])
    tied = inliers > 0
    pairs, inliers = pairs[tied], inliers[tied]
    order = np.argsort(inliers)  # the strongest on top
    axes = _axes(axes)
    lines = LineCollection(places[pairs[order]].tolist(), cmap="viridis_r", linewidths=1.0, zorder=1)
    lines.set_array(inliers[order].astype(float))
    lines.set_clim(0, max(float(inliers.max(initial=0)), 1.0))
    axes.add_collection(lines)
    axes.scatter(places[placed, 0], places[placed, 1], s=18, color="#d95f02", zorder=2)
    axes.scatter(
        places[~placed, 0], places[~placed, 1], s=18, facecolor="none", edgecolor="#d95f02", zorder=2
    )
    axes.figure.colorbar(lines, ax=axes, label="verified matches")
    axes.set(xticks=[], yticks=[], aspect="equal", title=f"{len(names)} frames, {len(pairs)} pairs match")
    axes.autoscale_view()
    return axes


def reprojection_errors(project: Project, axes: Axes | None = None) -> Axes:
    """Plot the mean reprojection error of each registered frame, in pixels.

    Parameters
    ----------
    project : Project
    axes : Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        The axes drawn on.
    """
    images = read_registration(_folder(project, "sparse_reconstruction")).images
    errors = np.array([image.error if image.registered else np.nan for image in images], np.float64)
    axes = _axes(axes)
    axes.bar(range(len(errors)), errors)
    registered = sum(image.registered for image in images)
    title = f"{registered} of {len(images)} registered"
    axes.set(xlabel="frame", ylabel="reprojection error (px)", title=title)
    return axes


def depth_coverage(project: Project, axes: Axes | None = None) -> Axes:
    """Plot the share of each view's pixels that have a depth.

    Parameters
    ----------
    project : Project
    axes : Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        The axes drawn on.
    """
    folder = _folder(project, "dense_reconstruction") / DEPTH_MAPS
    shares = []
    for path in sorted(folder.glob("*.npz")):
        # The depth alone is read, not the normals.
        with _readable(path, "dense_reconstruction"), open(path, "rb") as file, np.load(file) as data:
            shares.append(float(np.mean(data["depth"] > 0)))
    axes = _axes(axes)
    axes.bar(range(len(shares)), 100 * np.array(shares))
    mean = f"{np.mean(shares):.0%}" if shares else "none"
    axes.set(xlabel="view", ylabel="pixels with depth (%)", ylim=(0, 100), title=f"{mean} on average")
    return axes


def stage_costs(project: Project, axes: tuple[Axes, Axes] | None = None) -> tuple[Axes, Axes]:
    """Plot wall and CPU seconds of each stage, and its peak memory.

    Parameters
    ----------
    project : Project
    axes : (Axes, Axes), optional
        Where to draw times and memory; by default a new figure.

    Returns
    -------
    (Axes, Axes)
        The axes drawn on.

    Raises
    ------
    InputError
        The project has no finished stage.
    """
    made = project.artifacts
    manifests = [made[stage].manifest for stage in STAGE_NAMES if stage in made]
    if not manifests:
        raise InputError(f"{project.path} has no finished stage.", "Run the pipeline first.")
    if axes is None:
        _, axes = _pyplot().subplots(1, 2, sharey=True, layout="constrained", width_ratios=(3, 2))
    times, memory = axes
    rows = np.arange(len(manifests))
    times.barh(rows + 0.2, [m.cpu_seconds for m in manifests], 0.4, label="CPU")
    times.barh(rows - 0.2, [m.seconds for m in manifests], 0.4, label="wall")
    times.set_yticks(rows, [m.stage.replace("_", " ") for m in manifests])
    times.set(xlabel="seconds", title=f"{sum(m.seconds for m in manifests):.0f} s in all")
    times.invert_yaxis()
    times.legend()
    peaks = [m.peak_memory / 1e9 for m in manifests]
    memory.barh(rows, peaks, 0.4, color="#7570b3")
    memory.set(xlabel="GB", title=f"{max(peaks):.1f} GB at most")
    return times, memory


def _matches(project: Project) -> tuple[list[str], NDArray[np.int32], NDArray[np.int32]]:
    """Names of the frames, indices of the pairs that were matched, and their verified matches."""
    names = read_frames(_folder(project, "frame_extraction")).names
    path = _folder(project, "feature_matching") / MATCHES
    with _readable(path, "feature_matching"), open(path, "rb") as file, np.load(file) as matches:
        pairs, inliers = matches["pairs"], matches["inliers"]
        if pairs.shape != (len(inliers), 2) or pairs.max(initial=-1) >= len(names):
            raise ValueError("its pairs are not those of the frames")
        return names, pairs, inliers


@contextlib.contextmanager
def _readable(path: Path, stage: str) -> Iterator[None]:
    """Turn what a damaged file raises into an error that names it."""
    try:
        yield
    except (OSError, EOFError, LookupError, TypeError, ValueError, BadZipFile) as error:
        trouble = "is missing" if isinstance(error, FileNotFoundError) else f"is damaged: {error}"
        raise InputError(f"{path} {trouble}.", f"Run again with --rerun-from {stage}.") from error


def _circle(count: int) -> Floats:
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.sin(angles), np.cos(angles)], axis=1)


def _from_above(scene: Scene) -> dict[str, Floats]:
    up = np.array([0.0, 1.0, 0.0]) if scene.up is None else scene.up / np.linalg.norm(scene.up)
    right = np.cross(up, [0.0, 0.0, 1.0] if abs(up[2]) < 0.9 else [1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(up, right)])
    return {view.name: axes @ view.center for view in scene}


def _scan(video: dict[str, Any]) -> tuple[str, Floats, Floats, NDArray[np.bool_]]:
    """Source of a video, and time and sharpness of its frames, and whether each was taken."""
    time, sharpness = np.array(video["time"], float), np.array(video["sharpness"], float)
    taken = np.array(video["taken"], bool)
    if not len(time) == len(sharpness) == len(taken):
        raise ValueError("its columns differ in length")
    return str(video["source"]), time, sharpness, taken


def _folder(project: Project, stage: str) -> Path:
    artifact = project.artifacts.get(stage)
    if artifact is None:
        raise InputError(f"{project.path} has no finished {stage}.", "Run the pipeline first.")
    return artifact.path


def _axes(axes: Axes | None) -> Axes:
    made: Axes = _pyplot().subplots(layout="constrained")[1] if axes is None else axes
    return made


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise EngineUnavailable(
            "Plots need matplotlib, which is not installed.", "pip install 'recon3d[notebook]'"
        ) from error
    return pyplot

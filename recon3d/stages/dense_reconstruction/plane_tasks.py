"""PatchMatch on one view: what a task reads, computes and writes, for the engines of this project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recon3d.compute import reads
from recon3d.io.atomic import atomic_path
from recon3d.mvs.initial import inverse_depth_bounds, planes_from_points
from recon3d.mvs.maps import depth_map_of
from recon3d.mvs.stereo import PlaneMap, StereoImage, reduced_camera, refine_planes
from recon3d.mvs.sweeps import Sweeps
from recon3d.stages.dense_reconstruction.view_tasks import Folders, write_raw_map
from recon3d.types import Bytes, Floats32, View

#: Cost of a pixel of disagreement with a neighbour's depth map.
GEOMETRIC_WEIGHT = 0.02
#: Depths with a higher cost are unknown.
_MAX_COST = 0.8


@dataclass(frozen=True, eq=False)
class MatchTask:
    """A round of PatchMatch on one view."""

    folders: Folders
    round: int
    view: View
    sources: tuple[View, ...]
    start_level: int
    schedule: tuple[Sweeps, ...]
    best_views: int
    last: bool
    seed: int


class Start(NamedTuple):
    """What a round on a view starts from, beside the images and the sources' maps."""

    planes: PlaneMap
    bounds: tuple[float, float]


def read_start(task: MatchTask) -> Start:
    """Read what the round starts from: the sparse points, or the planes of the round before.

    Parameters
    ----------
    task : MatchTask

    Returns
    -------
    Start
    """
    folders, name = task.folders, task.view.name
    T = task.view.cam_from_world
    points_cam = np.load(folders.seen(name)) @ T[:3, :3].T + T[:3, 3]
    points_cam = points_cam[points_cam[:, 2] > 0]
    bounds = inverse_depth_bounds(points_cam)
    if task.round == 0:
        camera = reduced_camera(task.view.camera, task.start_level)
        state = planes_from_points(points_cam, camera, bounds, task.seed)
        return Start(PlaneMap.from_state(state), bounds)
    with np.load(folders.states(task.round - 1, name)) as data:
        return Start(PlaneMap(data["state"], data["cost"], data["chosen"]), bounds)


def read_inverse_depth(task: MatchTask, name: str) -> Floats32:
    """Read what the round before found for a view.

    Parameters
    ----------
    task : MatchTask
        Of another round than the first.
    name : str
        The view.

    Returns
    -------
    ndarray of float32, shape (H, W)
        0 where unknown.
    """
    with np.load(task.folders.planes(task.round - 1, name)) as data:
        inverse_depth: Floats32 = data["inverse_depth"]
    return inverse_depth


def files_read(task: MatchTask) -> list[Path]:
    """List the files that a round on a view reads.

    Parameters
    ----------
    task : MatchTask

    Returns
    -------
    list of Path
    """
    folders, names = task.folders, [view.name for view in (task.view, *task.sources)]
    files = [folders.seen(task.view.name), folders.mask(task.view.name), *map(folders.gray, names)]
    if task.round:
        files.append(folders.states(task.round - 1, task.view.name))
        files += [folders.planes(task.round - 1, view.name) for view in task.sources]
    return files


@reads(files_read)
def match(task: MatchTask) -> None:
    """Write the view's planes after this round, computed on the CPU.

    Parameters
    ----------
    task : MatchTask
    """
    start = read_start(task)
    planes = refine_planes(
        stereo_image(task.folders, task.view),
        [stereo_image(task.folders, source) for source in task.sources],
        start.planes,
        start.bounds,
        task.schedule,
        best_views=task.best_views,
        inverse_depths=[read_inverse_depth(task, s.name) for s in task.sources] if task.round else None,
        geometric_weight=GEOMETRIC_WEIGHT,
        seed=task.seed + task.round,
    )
    write_planes(task, planes)


def write_planes(task: MatchTask, planes: PlaneMap) -> None:
    """Write what a round has found; the last one's is the depth map before filtering.

    Parameters
    ----------
    task : MatchTask
    planes : PlaneMap
    """
    folders, name = task.folders, task.view.name
    if task.last:
        write_raw_map(folders, depth_map_of(name, task.view.camera, planes, _MAX_COST))
        return
    with atomic_path(folders.states(task.round, name)) as temporary, open(temporary, "wb") as file:
        np.savez(file, state=planes.state, cost=planes.cost, chosen=planes.chosen)
    with atomic_path(folders.planes(task.round, name)) as temporary, open(temporary, "wb") as file:
        np.savez(file, inverse_depth=np.where(planes.cost < _MAX_COST, planes.state[0], np.float32(0)))


def stereo_image(folders: Folders, view: View) -> StereoImage:
    """Read an image as stereo sees it.

    Parameters
    ----------
    folders : Folders
    view : View

    Returns
    -------
    StereoImage
    """
    gray: Bytes = np.load(folders.gray(view.name))
    return StereoImage(gray, view.camera, view.cam_from_world)

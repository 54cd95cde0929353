"""What the engines of dense_reconstruction share: the plan of a try, and running its tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recon3d.compute import StageContext
from recon3d.stages.dense_reconstruction.view_tasks import Folders
from recon3d.types import Floats, Ints, Scene, View

#: What a worker holds before it loads any image.
BASE_MEMORY = 350 * 2**20

_T = TypeVar("_T")


@dataclass(frozen=True)
class Plan:
    """One try: the views, scaled down and without distortion, and who works with whom.

    Parameters
    ----------
    scene : Scene
        Pinhole views at the size of the depth maps.
    originals : tuple of View
        The same views as they were photographed.
    folders : Folders
    size : int
        Longer side of the depth maps.
    sources, neighbors : list of ndarray of int32
        By view: those that it is matched against, and those that its depth map is compared with.
    active : list of int
        Views that have sources.
    memory : int
        Bytes that a task on one view needs.
    """

    scene: Scene
    originals: tuple[View, ...]
    folders: Folders
    size: int
    sources: list[Ints]
    neighbors: list[Ints]
    active: list[int]
    memory: int

    @property
    def comparing_memory(self) -> int:
        """Bytes that comparing a view's depth map with all its neighbours' needs."""
        pixels = max(v.camera.width * v.camera.height for v in self.scene)
        most = max(len(neighbors) for neighbors in self.neighbors)
        # Depths and normals, read and joined; this view's own arrays.
        return BASE_MEMORY + pixels * (100 + 20 * most)

    def points_seen(self) -> list[Floats]:
        """List the sparse points that each active view sees.

        Returns
        -------
        list of ndarray of float64, shape (N, 3)
            In the world.
        """
        points = self.scene.points
        point_of = np.repeat(np.arange(len(points)), np.diff(points.track_starts))
        order = np.argsort(points.track_views, kind="stable")
        ends = np.cumsum(np.bincount(points.track_views, minlength=len(self.scene)))
        seen = np.split(points.xyz[point_of[order]], ends[:-1])
        return [seen[i] for i in self.active]


def map_missing(
    fn: Callable[[_T], Any],
    items: Sequence[_T],
    products: Sequence[Path],
    names: Sequence[str],
    unit: str,
    memory: int,
    context: StageContext,
) -> None:
    """Run the tasks whose products do not exist yet.

    Parameters
    ----------
    fn : callable
        Called with each item in a worker.
    items : sequence of _T
    products : sequence of Path
        The file that each task writes.
    names : sequence of str
        What errors call each task.
    unit : str
        What the progress counts.
    memory : int
        Bytes that a task needs.
    context : StageContext
    """
    missing = [i for i, product in enumerate(products) if not product.exists()]
    context.map(
        fn,
        [items[i] for i in missing],
        names=[names[i] for i in missing],
        unit=unit,
        done=len(items) - len(missing),
        memory=memory,
    )

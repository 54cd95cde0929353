"""How large the photos are that the surface is fitted to, and how many a task holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recon3d.stages.kept_steps import keep_step
from recon3d.stages.mesh_generation import fit
from recon3d.surface.refinement import SIZES
from recon3d.types import Camera, View

PHONE = Camera("PINHOLE", 4000, 3000, (3000.0, 3000.0, 2000.0, 1500.0))


def _moving(folder: Path, count: int, size: int) -> fit._Moving:
    views = [View(f"{k}.jpg", PHONE, np.eye(4)) for k in range(count)]
    return fit._Moving.of(fit.Fit(folder / "smooth.npz", folder), views, folder, size)


@pytest.mark.parametrize("count", [5, 60, 2000])
def test_photos_are_no_smaller_for_being_many(tmp_path: Path, count: int) -> None:
    """Once 32 million pixels were shared among all: 300 photos were smaller than the depth maps."""
    photos = _moving(tmp_path, count, 800).photos
    assert {photo.longest for photo in photos} == {round(800 * max(SIZES))}
    assert {photo.pixels for photo in photos} == {1280 * 960}


def test_very_large_photos_are_bounded(tmp_path: Path) -> None:
    (photo,) = _moving(tmp_path, 1, 3200).photos
    assert 0.98 * fit.PHOTO_PIXELS <= photo.pixels <= 1.001 * fit.PHOTO_PIXELS
    assert photo.longest > 3200


@pytest.mark.parametrize(("size", "together"), [(400, 5), (1600, 5), (2400, 1)])
def test_a_task_holds_as_many_photos_as_fit(tmp_path: Path, size: int, together: int) -> None:
    """Each photo has four partners: its neighbours."""
    count = 40
    moving = _moving(tmp_path, count, size)
    pairs = [[(k + step) % count for step in (-2, -1, 1, 2)] for k in range(count)]
    keep_step(moving.paired, {"pairs": pairs})
    tasks = moving.compare_tasks(0, 2)
    assert sorted(index for task in tasks for index, _ in task.pairs) == list(range(count))
    assert max(len(task.pairs) for task in tasks) == together
    for task in tasks:
        held = sum(photo.pixels for _, photo in task.photos)
        assert held <= fit._HELD_PIXELS or len(task.pairs) == 1

"""Frames and depth maps, also of a stage that works."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from recon3d import InputError, Project, depth_picture, stage_pictures
from recon3d.layout import DEPTH_MAPS
from tests.synthetic.made_project import CAMERAS, made_project


def put(folder: Path, name: str, when: float) -> Path:
    """A depth map that gets farther from the left to the right, and knows nothing at its lower edge."""
    path = folder / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = np.tile(np.linspace(1, 3, 80, dtype=np.float32), (60, 1))
    depth[50:] = 0
    np.savez(path, depth=depth)
    os.utime(path, (when, when))
    return path


def names(project: Project, kind: str) -> dict[str, bool]:
    return {p.name: p.finished for p in stage_pictures(project, kind)}  # type: ignore[arg-type]


def test_a_stage_that_works_comes_before_what_an_earlier_run_made(tmp_path: Path) -> None:
    project = made_project(tmp_path / "model")
    photos = {f"photo_{i}.jpg": True for i in range(CAMERAS)}
    assert names(project, "frames") == photos
    assert stage_pictures(project, "depth_maps") == ()

    finished = project.artifacts["dense_reconstruction"].path / DEPTH_MAPS
    put(finished, "photo_0.jpg", 1000)
    put(finished, "photo_1.jpg", 1001)
    assert names(project, "depth_maps") == {"photo_0.jpg": True, "photo_1.jpg": True}

    # A later run works; of each view its most finished map counts, whatever folders are in its name.
    work = project.store.begin("dense_reconstruction", "a" * 16)
    first = put(work / ".work/200/planes_0", "left/photo_0.jpg", 2000)
    put(work / ".work/200/planes_0", "photo_1.jpg", 2001)
    better = put(work / ".work/200/raw_maps", "photo_1.jpg", 2002)
    (work / ".work/200/raw_maps/.tmp-x.npz").write_bytes(b"half")
    found = stage_pictures(project, "depth_maps")
    assert [(p.name, p.path, p.finished) for p in found] == [
        ("left/photo_0.jpg", first, False),
        ("photo_1.jpg", better, False),
    ]
    assert found[1].modified_ns == 2002 * 10**9

    # What an interrupted run left is older than what a further run made.
    put(finished, "photo_2.jpg", 3000)
    assert set(names(project, "depth_maps")) == {"photo_0.jpg", "photo_1.jpg", "photo_2.jpg"}


def test_near_is_red_far_is_blue_and_unknown_is_dark(tmp_path: Path) -> None:
    path = put(tmp_path, "view", 1000)
    picture = depth_picture(path)
    assert picture.shape == (60, 80, 3)
    near, far, unknown = picture[10, 2].astype(int), picture[10, 77].astype(int), picture[55, 40]
    assert near[0] > near[2] + 20
    assert far[2] > far[0] + 20
    assert unknown.max() < 40
    assert depth_picture(path, 40).shape == (30, 40, 3)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"view\.npz cannot be read as a depth map"):
        depth_picture(path)
    np.savez(path, depth=np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match=r"view\.npz has no depth yet"):
        depth_picture(path)

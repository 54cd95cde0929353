"""``NUMBA_ENABLE_CUDASIM=1 python -m tests.mvs.on_simulator``: the CUDA kernels, run by numba's simulator.

The variable must be set before numba is loaded, so the tests start this as a process and read its JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from typing import Any

import numpy as np

from recon3d.compute.cuda import own_gpu
from recon3d.mvs import device_check, device_stereo, matching_cost
from recon3d.mvs.stereo import PlaneMap, StereoImage, disparity_step, refine_planes
from recon3d.mvs.sweeps import Sweeps
from recon3d.stages.dense_reconstruction import cuda_engine, engine_choice, plane_tasks
from recon3d.stages.dense_reconstruction.view_tasks import Folders
from recon3d.types import Camera, View
from tests.synthetic.scenes import Plane, arc, render

SIZE = (14, 11)
WALL = Plane(np.array([0.3, 0.2, -0.93]), 0.1)
SCHEDULE = (
    Sweeps(1, 1, areas=8, variations=1, step=4.0, tilt=1.0),
    Sweeps(0, 0, areas=0, variations=0, step=0, tilt=0, views="inherited", narrow=True, polish=(0.35,)),
)


def resized() -> dict[str, Any]:
    """Planes resized on the device, and by NumPy."""
    rng = np.random.default_rng(1)
    planes = PlaneMap(
        rng.uniform(0.1, 1, (3, 7, 11)).astype(np.float32),
        np.ones((7, 11), np.float32),
        rng.integers(0, 2**32, (7, 11), np.uint32),
    )
    made = device_stereo.DevicePlanes.of(planes).resized(23, 13).on_host()
    expected = planes.resized(23, 13)
    return {
        "shape": made.state.shape,
        "state": float(np.abs(made.state - expected.state).max()),
        "rest": bool((made.cost == expected.cost).all() and (made.chosen == expected.chosen).all()),
    }


def packed() -> dict[str, Any]:
    """Images of two sizes at two levels in a device's memory, and by NumPy."""
    rng = np.random.default_rng(3)
    images = {}
    for name, (width, height) in {"a": (9, 7), "b": (5, 8)}.items():
        camera = Camera("PINHOLE", width, height, (9.0, 9.0, width / 2, height / 2))
        images[name] = StereoImage(rng.integers(0, 256, (height, width), np.uint8), camera, np.eye(4))
    made = device_stereo.DeviceImages(images)
    equal = []
    for level in (0, 1):
        reduced, pool, rows = made.at(level)
        for name, (start, width, height) in rows.items():
            expected = matching_cost.pack(images[name].reduced(level).gray)
            there = pool.copy_to_host()[start : start + width * height].reshape(height, width)
            equal.append(bool((there == expected).all() and reduced[name].gray.shape == there.shape))
    own = device_stereo.padded_on_device(images["b"].gray).copy_to_host()
    return {
        "equal": equal,
        "kept": made.at(1)[1] is made.at(1)[1],
        "padded": bool((own == matching_cost.padded(images["b"].gray).ravel()).all()),
    }


def one_round() -> dict[str, Any]:
    """Both colours once, from the same planes, on the device and on the CPU."""
    pictures = [render([WALL], view, detail=2.0) for view in arc(3, size=SIZE)]
    images = {picture.view.name: picture.stereo for picture in pictures}
    reference, *sources = images.values()
    state = np.zeros((3, *reference.gray.shape), np.float32)
    state[0] = (1 / pictures[0].depth) * np.random.default_rng(2).uniform(0.95, 1.05, state[0].shape)
    start = PlaneMap.from_state(state)
    schedule = [Sweeps(0, 1, areas=3, variations=2, step=1.0, tilt=0.3, polish=(0.3,))]
    maps = [(1 / picture.depth).astype(np.float32) for picture in pictures[1:]]
    how: dict[str, Any] = {"best_views": 1, "geometric_weight": 0.02, "seed": 7}
    on_cpu = refine_planes(reference, sources, start, (0.2, 0.6), schedule, inverse_depths=maps, **how)
    names = list(images)
    there = device_stereo.DeviceMaps(zip(names[1:], maps, strict=True), sum(array.size for array in maps))
    made = device_stereo.refine_on_device(
        device_stereo.DeviceImages(images), names[0], names[1:], start, (0.2, 0.6), schedule,
        inverse_depths=there, **how,
    )  # fmt: skip
    off = np.abs(made.state[0] - on_cpu.state[0]) / disparity_step(reference, sources)
    return {
        "same": float((off < 1e-3).mean()),
        "cost": float(np.abs(made.cost - on_cpu.cost).max()),
        "chosen": float((made.chosen == on_cpu.chosen).mean()),
        "moved": float((on_cpu.state[0] != state[0]).mean()),
    }


def block() -> dict[str, Any]:
    """A block of two views in two rounds, matched as tasks of the stage, against the CPU's tasks."""
    pictures = [render([WALL], view, detail=2.0) for view in arc(2, size=SIZE)]
    views = [picture.view for picture in pictures]
    found: dict[str, Any] = {"same": [], "known": []}
    with tempfile.TemporaryDirectory() as name:
        for engine, number in (("cpu", 0), ("cpu", 1), ("cuda", 0), ("cuda", 1)):
            tasks = [
                _task(Folders("", f"{name}/{engine}"), views, index, number, pictures) for index in (0, 1)
            ]
            if engine == "cuda":
                cuda_engine.match_block(cuda_engine.BlockTask(tuple(tasks)))
            else:
                for task in tasks:
                    plane_tasks.match(task)
        for view in views:
            folders = [Folders("", f"{name}/{engine}") for engine in ("cpu", "cuda")]
            a, b = (np.load(folder.states(1, view.name)) for folder in folders)
            found["same"].append(float((np.abs(a["cost"] - b["cost"]) < 1e-4).mean()))
            known = np.load(folders[1].planes(1, view.name))
            found["known"].append(float((known["inverse_depth"] > 0).mean()))
    return found


def _task(
    folders: Folders, views: list[View], index: int, number: int, pictures: list[Any]
) -> plane_tasks.MatchTask:
    for view, picture in zip(views, pictures, strict=True):
        for path, array in (
            (folders.gray(view.name), picture.stereo.gray),
            (folders.seen(view.name), np.array([[x, y, 0.1] for x in (-0.3, 0.3) for y in (-0.3, 0, 0.3)])),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array)
    others = tuple(view for number, view in enumerate(views) if number != index)
    return plane_tasks.MatchTask(folders, number, views[index], others, 1, SCHEDULE, 1, False, index)


def main() -> None:
    """Print everything as JSON."""
    device_check.SIZE = (16, 12)  # a simulated pixel takes milliseconds
    found = {
        "check": asdict(device_check.check_device()),
        "choice": engine_choice.check_engine(),
        "own_gpu": own_gpu(),
        "resized": resized(),
        "packed": packed(),
        "round": one_round(),
        "block": block(),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()

"""``python -m tests.benchmarks.memory [--views N…] [--set SET] [--quality Q] [--workers N]
[--until STAGE] [--options STAGE.OPTION=VALUE…]``.

Peak memory of the dense stage, or also of the mesh and the texture, for many views: a set's views and
points are repeated side by side until there are enough. Prints of each stage the highest sum over the
workers and that of the process that asks them, which holds the scheduler and the plan.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from recon3d.compute import Cluster, StageContext
from recon3d.compute.worker import peak_memory, reset_peak_memory
from recon3d.layout import images_folder
from recon3d.options import resolve_options
from recon3d.pipeline.plan import load_stage
from recon3d.types import Scene, SparsePoints, View
from tests.benchmarks.dense import pose, quiet
from tests.benchmarks.sets import SETS, frames


def repeated(scene: Scene, images: Path, folder: Path, count: int) -> Scene:
    """At least `count` views: copies of the scene in a row, and links to their images in `folder`."""
    copies = -(-count // len(scene))
    points = scene.points
    size = float(np.ptp(np.concatenate([points.xyz, [view.center for view in scene]]), axis=0).max())
    views: list[View] = []
    for copy in range(copies):
        for view in scene:
            name = f"{copy:03d}_{view.name}"
            moved = view.cam_from_world.copy()
            moved[:3, 3] -= moved[:3, 0] * 2 * size * copy
            views.append(replace(view, name=name, cam_from_world=moved))
            (folder / name).symlink_to(images / view.name)
    lengths = np.diff(points.track_starts)
    shift = np.array([2 * size, 0, 0])
    return Scene(
        tuple(views),
        SparsePoints(
            np.concatenate([points.xyz + shift * copy for copy in range(copies)]),
            np.tile(points.rgb, (copies, 1)),
            np.tile(points.error, copies),
            np.concatenate([[0], np.cumsum(np.tile(lengths, copies))]),
            np.concatenate([points.track_views + len(scene) * copy for copy in range(copies)]),
        ),
    )


#: The stages that can be measured, in their order.
STAGES = ("dense_reconstruction", "mesh_generation", "texturing")


def measure(
    name: str,
    quality: str,
    given: dict[str, dict[str, str]],
    views: int,
    workers: int,
    root: Path,
    stages: Sequence[str],
) -> None:
    """Run the stages and print their rows."""
    images = frames(name, root / f"{name}_frames")
    with quiet():
        scene = pose(name, images, root / f"{name}_scene")
    # All copies are meshed: they stand in a row.
    mesh = {"region": "all", **given.get("mesh_generation", {})}
    options = resolve_options(quality, {**given, "mesh_generation": mesh})
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        inputs = {stage: out / stage for stage in ("frame_extraction", "sparse_reconstruction", *stages)}
        photos = images_folder(inputs["frame_extraction"])
        photos.mkdir(parents=True)
        repeated(scene, images, photos, views).save(inputs["sparse_reconstruction"])
        for stage in stages:
            inputs[stage].mkdir()
            cluster = Cluster(workers=workers)
            reset_peak_memory()
            start = time.monotonic()
            context = StageContext(cluster=lambda cluster=cluster: cluster, emit=lambda *_: None)
            load_stage(stage).run(inputs, options[stage], inputs[stage], context)
            wall = time.monotonic() - start
            cluster.close()
            row = {
                "set": name,
                "quality": quality,
                **given.get(stage, {}),
                "stage": stage,
                "workers": workers,
                "workers_peak_mb": round(context.usage.peak_memory / 2**20),
                "own_peak_mb": round(peak_memory() / 2**20),
                "cpu_s": round(context.usage.cpu_seconds),
                "wall_s": round(wall),
                **context.counts,
            }
            print(json.dumps(row), flush=True)


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", nargs="+", type=int, default=[75, 300])
    parser.add_argument("--set", choices=SETS, default="sceaux", dest="name")
    parser.add_argument("--quality", default="high")
    parser.add_argument("--until", choices=STAGES, default=STAGES[0])
    parser.add_argument("--options", nargs="*", default=[], metavar="STAGE.OPTION=VALUE")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "recon3d-benchmarks")
    arguments = parser.parse_args()
    given: dict[str, dict[str, str]] = {}
    for text in arguments.options:
        name, value = text.split("=", 1)
        stage, option = name.split(".", 1)
        given.setdefault(stage, {})[option] = value
    stages = STAGES[: STAGES.index(arguments.until) + 1]
    for views in arguments.views:
        measure(arguments.name, arguments.quality, given, views, arguments.workers, arguments.scratch, stages)


if __name__ == "__main__":
    main()

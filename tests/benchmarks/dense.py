"""``python -m tests.benchmarks.dense SET… [--quality Q…] [--size PIXELS] [--set option=value…]``.

Given poses, prints for each set what the dense stage costs and how good its cloud is: CPU-seconds,
CPU-seconds a megapixel of depth map, peak memory, points, F-score where there is a true surface, and
the ratio to a reference unit: CPU-seconds of ``pycolmap.extract_features`` (CPU, defaults, longer
side at most 1600 pixels) on the same undistorted images, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pycolmap

from recon3d.compute import Cluster, InlineContext, StageContext
from recon3d.compute.worker import peak_memory, reset_peak_memory
from recon3d.evaluation import surface_scores
from recon3d.io.ply import read_mesh, read_point_cloud
from recon3d.io.undistort import load_view_image
from recon3d.options import DenseReconstructionOptions, resolve_options
from recon3d.stages.dense_reconstruction import stage as dense_reconstruction
from recon3d.types import Camera, Scene, SparsePoints, View
from tests.benchmarks.sets import DATA, DISTANCES, SETS, VOXEL, frames


@contextmanager
def quiet() -> Iterator[None]:
    """Send what native code prints to nowhere."""
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def cpu_seconds() -> float:
    """CPU-seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def as_scene(model: pycolmap.Reconstruction) -> Scene:
    """Our scene of COLMAP's model, views by name."""
    ids = sorted(model.images, key=lambda i: model.images[i].name)
    views = []
    for i in ids:
        image, camera = model.images[i], model.cameras[model.images[i].camera_id]
        pose = np.eye(4)
        pose[:3] = image.cam_from_world().matrix()
        lens = Camera(camera.model.name, camera.width, camera.height, tuple(camera.params))
        views.append(View(image.name, lens, pose))
    tracks = [sorted({ids.index(e.image_id) for e in p.track.elements}) for p in model.points3D.values()]
    return Scene(
        tuple(views),
        SparsePoints(
            np.array([p.xyz for p in model.points3D.values()]),
            np.array([p.color for p in model.points3D.values()], np.uint8),
            np.array([p.error for p in model.points3D.values()]),
            np.cumsum([0] + [len(t) for t in tracks]),
            np.concatenate(tracks).astype(np.int32),
        ),
    )


def pose(name: str, images: Path, folder: Path) -> Scene:
    """Known cameras with triangulated points, or structure from motion; kept in `folder`."""
    if (folder / "scene.json").exists():
        return Scene.load(folder)
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "database.db"
    database.unlink(missing_ok=True)
    pycolmap.Database.open(str(database)).close()
    reader = pycolmap.ImageReaderOptions()
    known = SETS[name].poses
    if known:
        truth = pycolmap.Reconstruction(str(DATA / known))
        camera = next(iter(truth.cameras.values()))
        reader.camera_model = camera.model.name
        reader.camera_params = ",".join(map(str, camera.params))
    single = pycolmap.CameraMode.SINGLE
    pycolmap.import_images(str(database), str(images), single, options=reader)
    pycolmap.extract_features(str(database), str(images), camera_mode=single, reader_options=reader)
    pycolmap.match_exhaustive(str(database))
    if known:
        with pycolmap.Database.open(str(database)) as opened:
            ids = {image.name: image.image_id for image in opened.read_all_images()}
        posed = folder / "posed"
        posed.mkdir(exist_ok=True)
        line = f"1 {camera.model.name} {camera.width} {camera.height} {' '.join(map(str, camera.params))}\n"
        (posed / "cameras.txt").write_text(line)
        rows = []
        for image in truth.images.values():
            if image.name in ids:
                x, y, z, w = image.cam_from_world().rotation.quat
                t = " ".join(map(str, image.cam_from_world().translation))
                rows.append(f"{ids[image.name]} {w} {x} {y} {z} {t} 1 {image.name}\n\n")
        (posed / "images.txt").write_text("".join(rows))
        (posed / "points3D.txt").write_text("")
        start = pycolmap.Reconstruction(str(posed))
        model = pycolmap.triangulate_points(start, str(database), str(images), str(posed))
    else:
        models = pycolmap.incremental_mapping(str(database), str(images), str(folder))
        model = max(models.values(), key=lambda m: m.num_reg_images())
    scene = as_scene(model)
    scene.save(folder)
    return scene


def reference_unit(scene: Scene, images: Path) -> float:
    """CPU-seconds of COLMAP's features on the undistorted images."""
    with tempfile.TemporaryDirectory() as folder:
        for view in scene:
            rgb, _ = load_view_image(images, view, 1600)
            cv2.imwrite(str(Path(folder) / f"{view.name}.png"), rgb[..., ::-1])
        database = Path(folder) / "database.db"
        options = pycolmap.FeatureExtractionOptions()
        options.max_image_size = 1600
        options.use_gpu = False
        start = cpu_seconds()
        pycolmap.extract_features(
            str(database), folder, camera_mode=pycolmap.CameraMode.SINGLE, extraction_options=options
        )
        return cpu_seconds() - start


def measure(
    name: str,
    quality: str,
    values: dict[str, str],
    size: int,
    workers: int,
    root: Path,
    keep: Path | None = None,
) -> None:
    """Run the stage on one set and print its row; `keep` receives what the stage made."""
    data = SETS[name]
    images = frames(name, root / f"{name}_frames")
    with quiet():
        scene = pose(name, images, root / f"{name}_scene")
        unit = reference_unit(scene, images)
    values = {"max_image_size": str(size), **values} if size else values
    options = resolve_options(quality, {"dense_reconstruction": values})["dense_reconstruction"]
    assert isinstance(options, DenseReconstructionOptions)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        frame_folder = out / "frames"
        frame_folder.mkdir()
        (frame_folder / "images").symlink_to(images)
        inputs = {"frame_extraction": frame_folder, "sparse_reconstruction": root / f"{name}_scene"}
        started, wall = cpu_seconds(), time.monotonic()
        context: StageContext
        if workers:
            cluster = Cluster(workers=workers)
            wall = time.monotonic()
            context = StageContext(cluster=lambda: cluster, emit=lambda *_: None)
            dense_reconstruction.run(inputs, options, out, context)
            cost, peak = context.usage.cpu_seconds, context.usage.peak_memory
            cluster.close()
        else:
            context = InlineContext()
            reset_peak_memory()
            dense_reconstruction.run(inputs, options, out, context)
            cost, peak = cpu_seconds() - started, peak_memory()
        wall = time.monotonic() - wall
        made = Scene.load(out)
        megapixels = sum(v.camera.width * v.camera.height for v in made) / 1e6
        row = {
            "set": name,
            "quality": quality,
            "size": max(max(v.camera.width, v.camera.height) for v in made),
            "cpu_s": round(cost, 1),
            "wall_s": round(wall, 1),
            "cpu_s_per_mpx": round(cost / megapixels, 2),
            "unit_s": round(unit, 1),
            "units": round(cost / unit, 2),
            "openmvs_units_over_ours": round(data.units * unit / cost, 1),
            "peak_mb": round(peak / 2**20),
            "points": context.counts["points"],
        }
        if data.truth:
            scores = surface_scores(
                read_point_cloud(out / "point_cloud.ply"),
                read_mesh(DATA / data.truth),
                DISTANCES,
                box=data.box,
                voxel=VOXEL,
            )
            for score, reference in zip(scores, data.cloud or (), strict=True):
                row[f"F@{score.distance * 1000:g}mm"] = (
                    f"{score.f_score:.3f} ({score.precision:.3f} {score.recall:.3f}), OpenMVS {reference:.3f}"
                )
        if keep is not None:
            kept = keep / f"{name}_{quality}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(out, kept, symlinks=True, ignore=shutil.ignore_patterns(".tmp-*"))
    print(json.dumps(row), flush=True)


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", choices=SETS)
    parser.add_argument("--quality", nargs="+", default=["high"])
    parser.add_argument("--size", type=int, default=-1, help="0: the preset's; default: the reference's")
    parser.add_argument("--set", nargs="*", default=[], dest="values", metavar="OPTION=VALUE")
    parser.add_argument("--workers", type=int, default=0, help="0: in this process")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "recon3d-benchmarks")
    parser.add_argument("--keep", type=Path, help="folder for what the stage makes")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    values = dict(text.split("=", 1) for text in arguments.values)
    for name in arguments.sets:
        for quality in arguments.quality:
            size = SETS[name].size if arguments.size < 0 else arguments.size
            measure(name, quality, values, size, arguments.workers, arguments.scratch, arguments.keep)


if __name__ == "__main__":
    main()

"""Structure from motion, incremental and global, and triangulation with known poses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pycolmap

from recon3d.colmap.database import write_known_cameras
from recon3d.colmap.intrinsics import refine_cameras
from recon3d.colmap.models import read_given_model
from recon3d.colmap.snapshots import Growing

#: What the mapper asks of pairs and images: the usual, less, or COLMAP's own defaults.
Demands = Literal["usual", "weak", "colmap"]


def map_incrementally(
    database: Path,
    images: Path,
    out: Path,
    *,
    min_model_size: int,
    demands: Demands = "usual",
    seed: int,
    progress: Callable[[int], None],
    growing: Growing | None = None,
    start: tuple[int, int] | Path | None = None,
    fixed_cameras: bool = False,
    names: Sequence[str] = (),
) -> list[Path]:
    """Incremental structure from motion [1]_.

    Parameters
    ----------
    database, images, out : Path
        COLMAP's database, its images, and the folder for the models.
    min_model_size : int
        Images that a model needs to be kept.
    demands : {"usual", "weak", "colmap"}
        What initial pairs and registrations must reach.
    seed : int
    progress : callable
        Receives the number of registered images.
    growing : Growing, optional
        Shows the model after some of the images.
    start : (int, int) or Path, optional
        Ids of two images to start from, or a model to add the other images to. By default the mapper
        chooses a pair.
    fixed_cameras : bool
        Keep the cameras of the database until all images are placed, and only then refine them.
    names : sequence of str
        Images to place; all of the database by default.

    Returns
    -------
    list of Path
        Folders of the models, the one with most images first.

    References
    ----------
    .. [1] Schönberger and Frahm, Structure-from-Motion Revisited, CVPR 2016.
    """
    options = _options(demands, seed)
    options.min_model_size = min_model_size
    options.image_names = list(names)
    options.ba_refine_focal_length = options.ba_refine_extra_params = not fixed_cameras
    if isinstance(start, tuple):
        options.init_image_id1, options.init_image_id2 = start
        options.multiple_models = False  # all would start from this pair
    out.mkdir(parents=True, exist_ok=True)
    if growing is not None:
        options.snapshot_path = str(growing.work)
        options.snapshot_frames_freq = growing.frequency
    registered = [0]

    def next_image() -> None:
        registered[0] += 1
        progress(registered[0] + 2)
        if growing is not None:
            growing.look()

    try:
        pycolmap.incremental_mapping(
            str(database),
            str(images),
            str(out),
            options=options,
            input_path=str(start) if isinstance(start, Path) else "",
            next_image_callback=next_image,
        )
    finally:
        if growing is not None:
            growing.close()
    if isinstance(start, Path):  # COLMAP writes the extended model into the folder itself
        return [out] if (out / "images.bin").is_file() else []
    models = _models(out)
    if fixed_cameras:
        for model in models:
            refine_cameras(model)
    return models


def _options(demands: Demands, seed: int) -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1  # with more, sums and so models differ from run to run
    options.random_seed = seed
    options.mapper.random_seed = seed
    options.triangulation.random_seed = seed
    options.mapper.num_threads = 1
    if demands == "colmap":
        return options
    # Video has small angles between frames.
    options.mapper.init_min_tri_angle = 8.0
    options.ba_global_frames_ratio = 1.4
    options.ba_global_points_ratio = 1.4
    if demands == "weak":
        options.min_num_matches = 10
        options.mapper.init_min_num_inliers = 40
        options.mapper.init_min_tri_angle = 3.0
        options.mapper.abs_pose_min_num_inliers = 15
        options.mapper.abs_pose_min_inlier_ratio = 0.15
        options.mapper.filter_min_tri_angle = 1.0
        options.triangulation.min_angle = 1.0
        options.triangulation.ignore_two_view_tracks = False
    return options


def map_globally(database: Path, images: Path, out: Path, *, seed: int) -> list[Path]:
    """Reconstruct cameras and points by global structure from motion [1]_.

    Parameters
    ----------
    database : Path
        COLMAP's database with verified matches.
    images : Path
        Folder of the images.
    out : Path
        Folder for the models.
    seed : int

    Returns
    -------
    list of Path
        Folders of the models, as from `map_incrementally`.

    References
    ----------
    .. [1] Pan et al., Global Structure-from-Motion Revisited, ECCV 2024.
    """
    out.mkdir(parents=True, exist_ok=True)
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed = seed
    options.num_threads = 1  # only so are its results the same each time
    pycolmap.global_mapping(str(database), str(images), str(out), options=options)
    return _models(out)


def _models(folder: Path) -> list[Path]:
    """Models by size, without those whose images a larger one has all: starts that led nowhere."""
    images = {p: _registered(p) for p in folder.iterdir() if (p / "images.bin").is_file()}
    kept: list[Path] = []
    for path in sorted(images, key=lambda p: (-len(images[p]), p.name)):
        if not any(images[path] <= images[larger] for larger in kept):
            kept.append(path)
    return kept


def _registered(model: Path) -> frozenset[int]:
    return frozenset(pycolmap.Reconstruction(str(model)).reg_image_ids())


def triangulate(database: Path, images: Path, model: Path, out: Path, *, seed: int) -> None:
    """Triangulate points from known poses and cameras, which do not change.

    Parameters
    ----------
    database : Path
        COLMAP's database with verified matches; its cameras become the given ones.
    images : Path
        Folder of the images.
    model : Path
        Folder of the COLMAP model with the cameras.
    out : Path
        Folder for the model with points.
    seed : int
    """
    given = read_given_model(model)
    stored = pycolmap.Database.open(str(database))
    try:
        ids = {image.name: image for image in stored.read_all_images()}
        write_known_cameras(stored, given, ids)
    finally:
        stored.close()
    posed = pycolmap.Reconstruction()
    for camera_id in sorted(given.cameras):
        posed.add_camera_with_trivial_rig(given.camera(camera_id))
    for image_id in sorted(given.reg_image_ids()):
        image = given.image(image_id)
        row = ids[image.name]
        copy = pycolmap.Image(name=image.name, camera_id=image.camera_id, image_id=row.image_id)
        posed.add_image_with_trivial_frame(copy, image.cam_from_world())
    options = _options("colmap", seed)
    out.mkdir(parents=True, exist_ok=True)
    result = pycolmap.triangulate_points(
        posed,
        str(database),
        str(images),
        str(out),
        clear_points=True,
        options=options,
        refine_intrinsics=False,
    )
    result.write(str(out))

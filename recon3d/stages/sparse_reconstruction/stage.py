"""Cameras and sparse points: structure from motion."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from recon3d.compute import StageContext, reads
from recon3d.errors import NoInitialPair, TooFewViews
from recon3d.io.growing_model import GROWING
from recon3d.layout import (
    COMPONENTS,
    DATABASE,
    MATCHES,
    MODEL,
    MODELS,
    CameraGroup,
    Component,
    MappingAttempt,
    RegisteredImage,
    Registration,
    SeenMirror,
    SparseCounts,
    WorldFrame,
    frame_list_file,
    images_folder,
    read_frames,
    read_input_list,
    read_registration,
    write_registration,
)
from recon3d.matching.orientation import find_world, world_axis_up
from recon3d.options import SparseReconstructionOptions
from recon3d.stages.sparse_reconstruction.attempts import Attempts
from recon3d.stages.sparse_reconstruction.choice import component_numbers, components_message, put_first
from recon3d.stages.sparse_reconstruction.intrinsics import describe_groups
from recon3d.stages.sparse_reconstruction.model_parts import parts_of
from recon3d.stages.sparse_reconstruction.more_features import find_more
from recon3d.stages.sparse_reconstruction.placing import needs_more, place_images, settled
from recon3d.stages.sparse_reconstruction.reflections import find_mirrors, mirror_message
from recon3d.stages.sparse_reconstruction.residuals import unusual_residuals
from recon3d.types import Scene

VERSION = 9
#: Options that only choose among what the stage made; the pipeline gives it its own artifact then.
CHOICES = ("component",)

_OWN = "sparse_reconstruction"
_BLUR = 0.35
_ATTEMPTS, _MORE = "attempts", "more"
_UNKNOWN = WorldFrame(up="as the mapper left it", unit="", scale_from="arbitrary")
_FEW_MATCHES = 30
#: An image of a group that was split is left out with such a deviation of its centre, as a share
#: of the cameras' spread and as a multiple of the usual one. Wrong ones have 0.006 to 0.015, and 8 to 30.
_UNCERTAIN, _USUAL = 0.003, 4.0


def run(
    inputs: Mapping[str, Path], options: SparseReconstructionOptions, out_dir: Path, context: StageContext
) -> None:
    """Reconstruct cameras and sparse points, and write ``models/``, the scene and ``registration.json``.

    Parameters
    ----------
    inputs : mapping of str to Path
        The folders of ``frame_extraction`` and ``feature_matching``; with known cameras, that of the
        inputs, too; for a component that is not the first, that of ``sparse_reconstruction``.
    options : SparseReconstructionOptions
    out_dir : Path
    context : StageContext

    Raises
    ------
    NoInitialPair
        No two images are good enough to start from.
    TooFewViews
        Fewer than two images could be placed.
    ReconstructionError
        There is no such component.
    """
    for name in (MODELS, COMPONENTS, _ATTEMPTS):
        shutil.rmtree(out_dir / name, ignore_errors=True)  # of an interrupted run
    (out_dir / GROWING).unlink(missing_ok=True)
    if _OWN in inputs:
        placed = _chosen(inputs[_OWN], options.component, out_dir, context)
    elif "inputs" in inputs:
        placed = Registration((), _given(inputs, out_dir, context))
    else:
        placed = _reconstruct(inputs, options, out_dir, context)
    if "inputs" not in inputs:
        frames = str(inputs["frame_extraction"])
        world = context.call(_orient, frames, str(out_dir), options.upright, context.seed)
        for note in world.notes:
            context.fallback(note)
        placed = replace(placed, world=world)
    if "feature_matching" in inputs and _OWN not in inputs:
        matching = inputs["feature_matching"]
        placed = replace(placed, mirrors=_mirrors(matching, out_dir, context), resting=_resting(matching))
    shutil.rmtree(out_dir / _MORE, ignore_errors=True)
    placed = replace(placed, cameras=_cameras(inputs, out_dir, context))
    _report(inputs, out_dir, placed, options.component if _OWN in inputs else 0, context)
    (out_dir / GROWING).unlink(missing_ok=True)


def _reconstruct(
    inputs: Mapping[str, Path], options: SparseReconstructionOptions, out_dir: Path, context: StageContext
) -> Registration:
    """Place the images; the models are numbered by size."""
    frames, matching = inputs["frame_extraction"], inputs["feature_matching"]
    growing, only_one = out_dir / GROWING, options.mapper == "global"
    attempts = Attempts(frames, matching, options, out_dir / _ATTEMPTS / "usual", growing, context)
    best = place_images(attempts, only_one=only_one, context=context)
    tried = [attempts]
    if not only_one and needs_more(attempts, best):
        context.log("Looking for more features.")
        more = find_more(frames, matching, best.names, out_dir / _MORE, context)
        if more is not None:
            folder = out_dir / _ATTEMPTS / "more"
            again = Attempts(frames, more, options, folder, growing, context, "more features and ")
            found = place_images(again, only_one=only_one, context=context)
            better = found.beats(best)
            best = found if better else best
            tried = [attempts, again] if better else [again, attempts]
    told = len(context.fallbacks)
    best = settled(tried, best, frames, only_one=only_one, context=context)
    if not best.registered:
        shutil.rmtree(out_dir / _ATTEMPTS)
        raise NoInitialPair(
            f"No pair among the {len(attempts.names)} images is good enough to start from.",
            "Take images that overlap by 80 % and move sideways between them; do not only turn the camera.",
        )
    shutil.move(best.folder, out_dir / MODELS)
    shutil.rmtree(out_dir / _ATTEMPTS)
    dropped = context.call(_drop_uncertain, str(out_dir / MODEL), str(frames))
    if dropped:
        context.fallback(_uncertain_message(dropped))
    if tried[-1] is attempts:
        shutil.rmtree(out_dir / _MORE, ignore_errors=True)
    made = tuple(
        MappingAttempt(
            name=each.label + placed.attempt.name,
            registered=placed.registered,
            error=round(placed.error, 3) if placed.registered else None,
            used=placed.folder == best.folder,
        )
        for each in sorted(tried, key=lambda each: each.label)
        for placed in each.made
    )
    # Their reasons; the report lists all images.
    why = tuple(RegisteredImage(name, False, None, 0, None, "its position is uncertain") for name in dropped)
    return Registration(why, _UNKNOWN, (), made, best.confirmed, tuple(context.fallbacks[told:]))


@reads(lambda model, frames: [model, frame_list_file(Path(frames))])
def _drop_uncertain(model: str, frames: str) -> dict[str, float]:
    """Leave out images of groups that were split that are placed badly."""
    from recon3d import colmap

    group = {frame.name: frame.camera for frame in read_frames(Path(frames)).frames}
    cameras = [names for _, names in colmap.camera_groups(Path(model)).values()]
    parts = Counter(number for names in cameras for number in {group[name] for name in names})
    split = [name for names in cameras for name in names if parts[group[name]] > 1]
    if max(map(len, cameras)) < 2:
        return {}
    if not split:
        return {}
    together = parts_of(Path(model), list(itertools.chain.from_iterable(cameras)))
    return colmap.drop_uncertain(Path(model), split, _UNCERTAIN, _USUAL, together)


def _uncertain_message(dropped: Mapping[str, float]) -> str:
    listed = ", ".join(f"{name} ({100 * share:.1f} %)" for name, share in sorted(dropped.items()))
    return (
        f"Left out, because where they were taken is uncertain: {listed} of the cameras' spread. These "
        "images seem to have a camera of their own; add photos that overlap with them."
    )


def _chosen(made: Path, component: int, out_dir: Path, context: StageContext) -> Registration:
    """Take the models of an earlier artifact, another one first."""
    component_numbers(len(list((made / MODELS).iterdir())), component)
    shutil.copytree(made / MODELS, out_dir / MODELS)
    put_first(out_dir / MODELS, component)
    before = read_registration(made)
    for note in before.notes:
        context.fallback(note)
    return before


@reads(lambda frames, out_dir, *_: [frame_list_file(Path(frames)), Path(out_dir) / MODELS])
def _orient(frames: str, out_dir: str, upright: bool, seed: int) -> WorldFrame:
    """Turn every model upright and save the largest as the scene."""
    from recon3d import colmap

    listed = read_frames(Path(frames))
    names = listed.names
    gps = {frame.name: frame.gps for frame in listed.frames}
    described = _UNKNOWN
    for model in sorted((Path(out_dir) / MODELS).iterdir()):
        if upright:
            scene = colmap.read_scene(model, names)
            world = find_world(scene, [gps[view.name] for view in scene], seed)
            colmap.transform_model(model, world.scale, world.rotation, world.translation)
            if model.name == "0":
                source = "GPS" if world.unit else "arbitrary: median distance to the cameras is 1"
                described = WorldFrame(world.how, world.unit, source, world.notes)
    scene = colmap.read_scene(Path(out_dir) / MODEL, names)
    up = np.array([0.0, 1.0, 0.0]) if upright else None
    Scene(scene.views, scene.points, described.unit, up).save(Path(out_dir))
    return described


def _given(inputs: Mapping[str, Path], out_dir: Path, context: StageContext) -> WorldFrame:
    """Take the cameras that the user gave as the truth."""
    folder = inputs["inputs"]
    model = folder / str(read_input_list(folder).poses)
    matching = inputs.get("feature_matching")
    context.call(
        _take_model,
        str(model),
        str(inputs["frame_extraction"]),
        None if matching is None else str(matching),
        str(out_dir),
        context.seed,
    )
    return WorldFrame("world and cameras as given", "", "given")


def _mirrors(matching: Path, out_dir: Path, context: StageContext) -> tuple[SeenMirror, ...]:
    """Look for mirrors with the features that the models were made from."""
    more = out_dir / _MORE / DATABASE
    database = more if more.exists() else matching / DATABASE
    up = Scene.load(out_dir).up
    return context.call(
        find_mirrors, str(out_dir), str(database), None if up is None else tuple(map(float, up))
    )


def _resting(matching: Path) -> float | None:
    with np.load(matching / MATCHES) as data:
        return float(data["resting"]) or None if "resting" in data else None


def _take_model(model: str, frames: str, matching: str | None, out_dir: str, seed: int) -> None:
    from recon3d import colmap

    names = read_frames(Path(frames)).names
    target = Path(out_dir) / MODEL
    target.mkdir(parents=True, exist_ok=True)
    if matching is None:
        colmap.copy_model(Path(model), target)
    else:
        database = Path(out_dir) / DATABASE
        colmap.copy_database(Path(matching) / DATABASE, database)
        colmap.triangulate(database, images_folder(Path(frames)), Path(model), target, seed=seed)
        database.unlink()
    scene = colmap.read_scene(target, names)
    replace(scene, up=world_axis_up(scene)).save(Path(out_dir))


def _cameras(inputs: Mapping[str, Path], out_dir: Path, context: StageContext) -> tuple[CameraGroup, ...]:
    """The cameras of the largest model."""
    groups = context.call(_camera_groups, str(out_dir))
    frames = read_frames(inputs["frame_extraction"]).frames
    cameras, told = describe_groups(
        groups,
        {frame.name: frame.camera for frame in frames},
        {frame.name: frame.focal_px for frame in frames},
    )
    if "inputs" in inputs:
        return tuple(replace(camera, how="given") for camera in cameras)
    for message in told:
        context.fallback(message)
    return cameras


@reads(lambda out_dir: [Path(out_dir) / MODEL])
def _camera_groups(out_dir: str) -> list[tuple[float, list[str]]]:
    from recon3d import colmap

    return list(colmap.camera_groups(Path(out_dir) / MODEL).values())


def _report(
    inputs: Mapping[str, Path],
    out_dir: Path,
    registration: Registration,
    chosen: int,
    context: StageContext,
) -> None:
    """Write registration.json: `registration`, and what became of each image, and why."""
    frames = read_frames(inputs["frame_extraction"]).frames
    statistics = context.call(_statistics, str(out_dir))
    numbers = component_numbers(len(statistics), chosen)
    if len(statistics) > 1:
        components = context.call(_write_components, str(inputs["frame_extraction"]), str(out_dir), numbers)
        context.fallback(components_message(components))
    inliers = _best_inliers(inputs.get("feature_matching"), len(frames))
    sharpness = np.array([frame.sharpness or np.nan for frame in frames], np.float64)
    known = {image.name: image.reason for image in registration.images}
    images: list[RegisteredImage] = []
    for index, frame in enumerate(frames):
        name = frame.name
        component = next((number for number, found in enumerate(statistics) if name in found), None)
        points, error = statistics[component][name] if component is not None else (0, None)
        reason = None
        if component is None:
            reason = known.get(name) or _why(index, sharpness, inliers)
        elif component > 0:
            reason = f"it belongs to another part of the scene (component {numbers[component]})"
        images.append(
            RegisteredImage(
                name=name,
                registered=component == 0,
                component=None if component is None else numbers[component],
                points=points,
                error=error,
                reason=reason,
            )
        )
    registration = replace(registration, images=tuple(images))
    write_registration(out_dir, registration)
    if registration.mirror is not None:
        context.fallback(mirror_message(registration.mirror))
    longer_side = max((max(frame.width, frame.height) for frame in frames), default=0)
    for message in unusual_residuals(images, longer_side):
        context.fallback(message)
    placed = [row for row in images if row.registered]
    if len(placed) < 2:
        raise TooFewViews(f"Only {len(placed)} image could be placed.", "Take more images, closer together.")
    scene = Scene.load(out_dir)
    context.count(
        SparseCounts(
            registered=len(placed),
            images=len(images),
            components=len(statistics),
            points=len(scene.points),
            reprojection_error=round(float(np.mean(scene.points.error)), 3) if len(scene.points) else None,
        )
    )


@reads(lambda out_dir: [Path(out_dir) / MODELS])
def _statistics(out_dir: str) -> list[dict[str, tuple[int, float]]]:
    from recon3d import colmap

    models = sorted((Path(out_dir) / MODELS).iterdir(), key=lambda p: int(p.name))
    return [colmap.image_statistics(model) for model in models]


@reads(lambda frames, out_dir, numbers: [frame_list_file(Path(frames)), Path(out_dir) / MODELS])
def _write_components(frames: str, out_dir: str, numbers: list[int]) -> list[Component]:
    from recon3d import colmap

    folder = Path(out_dir)
    return colmap.write_components(folder / MODELS, folder, read_frames(Path(frames)).names, numbers)


def _best_inliers(matching: Path | None, count: int) -> np.ndarray:
    """Inliers of each image's best pair."""
    best = np.zeros(count, np.int64)
    if matching is not None:
        with np.load(matching / MATCHES) as data:
            for column in (0, 1):
                np.maximum.at(best, data["pairs"][:, column], data["inliers"])
    return best


def _why(index: int, sharpness: np.ndarray, inliers: np.ndarray) -> str:
    if sharpness[index] < _BLUR * np.nanmedian(sharpness):
        return "it is blurred"
    if inliers[index] < _FEW_MATCHES:
        return f"too few matches: {inliers[index]} with its best partner"
    return "its matches do not agree with the model"

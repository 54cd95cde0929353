"""Second attempts: what weak sets get, and what becomes of images that share a camera wrongly."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest

from recon3d import colmap
from recon3d.compute import InlineContext
from recon3d.io.feature_files import read_features
from recon3d.layout import MODEL, features_file, mask_file, read_frames, read_registration
from recon3d.options import SparseReconstructionOptions
from recon3d.stages import sparse_reconstruction
from recon3d.stages.sparse_reconstruction.agreement import agree
from recon3d.stages.sparse_reconstruction.attempts import FIRST, OWN, Attempts
from recon3d.stages.sparse_reconstruction.mapping_tasks import Attempt, Placed
from recon3d.stages.sparse_reconstruction.more_features import find_more
from recon3d.stages.sparse_reconstruction.placing import confirmed
from recon3d.types import SharedCamera
from tests.stages.test_sparse_reconstruction import _features, _frames, _matches
from tests.synthetic.motions import turntable
from tests.synthetic.zooms import photographed, photographers


def _inputs(
    tmp_path: Path, zooms: tuple[float, ...], arc: float = 0.6, features: int = 800
) -> dict[str, Path]:
    frames = photographed(tmp_path / "frames", photographers(zooms, arc), [0] * len(zooms))
    matches = _matches(tmp_path, frames, _features(tmp_path, frames, max_features=features))
    return {"frame_extraction": frames, "feature_matching": matches}


def _attempts(tmp_path: Path, inputs: dict[str, Path], context: InlineContext | None = None) -> Attempts:
    return Attempts(
        inputs["frame_extraction"],
        inputs["feature_matching"],
        SparseReconstructionOptions(),
        tmp_path / "attempts",
        tmp_path / "growing",
        context or InlineContext(),
    )


def test_a_weak_set_gets_what_colmaps_defaults_register(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, (1.0,) * 8, arc=1.45, features=300)
    database = tmp_path / "plain.db"
    shutil.copyfile(inputs["feature_matching"] / "database.db", database)
    images = inputs["frame_extraction"] / "images"
    (tmp_path / "plain").mkdir()
    plain = pycolmap.incremental_mapping(str(database), str(images), str(tmp_path / "plain"))
    out = tmp_path / "sparse"
    out.mkdir()
    context = InlineContext()
    sparse_reconstruction.run(inputs, SparseReconstructionOptions(), out, context)
    registration = read_registration(out)
    registered = sum(row.registered for row in registration.images)
    assert registered >= max(model.num_reg_images() for model in plain.values())
    attempts = {row.name: row for row in registration.attempts}
    assert {"the usual demands", "weaker demands", "COLMAP's default options"} <= set(attempts)
    assert registered == max(row.registered for row in attempts.values())
    assert [row.registered for row in attempts.values() if row.used] == [registered]
    message = next(note for note in context.fallbacks if "at first" in note)
    for row in attempts.values():
        assert row.name.partition(", ")[0] in message
    # The same matches place 4; more features place 6, with the usual demands.
    assert max(row.registered for name, row in attempts.items() if "more features" not in name) == 4
    assert attempts["more features and the usual demands"].registered == registered == 6
    assert "Used: more features and the usual demands." in message
    assert not (out / "more").exists()


def test_the_pairs_imply_the_focal_length(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, (1.0,) * 5)
    database = inputs["feature_matching"] / "database.db"
    assert colmap.calibrate_from_pairs(database, seed=0)
    opened = pycolmap.Database.open(str(database))
    (camera,) = opened.read_all_cameras()
    opened.close()
    assert camera.params[0] == pytest.approx(400, rel=0.05)  # the guess was 480
    models = {}
    for fixed in (True, False):
        (models[fixed],) = colmap.map_incrementally(
            database,
            inputs["frame_extraction"] / "images",
            tmp_path / f"model-{fixed}",
            min_model_size=3,
            seed=0,
            progress=lambda _: None,
            fixed_cameras=fixed,
        )
    # Refined once, in the end, they are as good.
    error = {fixed: colmap.drop_implausible(model)[1] for fixed, model in models.items()}
    assert error[True] == pytest.approx(error[False], rel=0.05)
    ((focal, _),) = colmap.camera_groups(models[True]).values()
    assert focal != pytest.approx(camera.params[0], abs=1e-6)


def test_features_are_not_looked_for_again_where_there_are_many(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, (1.0,) * 3)
    frames, matching = inputs["frame_extraction"], inputs["feature_matching"]
    # Closed, so that SQLite's log is in the file: finished databases are read without one.
    with contextlib.closing(sqlite3.connect(matching / "database.db")) as database:
        database.execute("UPDATE keypoints SET rows = 5000")
        database.commit()
    assert find_more(frames, matching, frozenset(), tmp_path / "more", InlineContext()) is None
    assert not (tmp_path / "more").exists()


def test_more_features_keep_out_hidden_pixels_and_pairs_that_are_placed(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, (1.0,) * 4, arc=0.9, features=400)
    frames, matching = inputs["frame_extraction"], inputs["feature_matching"]
    names = read_frames(frames).names
    hidden = np.full((300, 400), 255, np.uint8)
    hidden[:, :200] = 0
    mask = mask_file(frames / "images", names[0])
    mask.parent.mkdir()
    cv2.imwrite(str(mask), hidden)
    with np.load(matching / "matches.npz") as data:
        pairs, inliers = data["pairs"], data["inliers"].copy()
    inliers[:] = 0
    np.savez(matching / "matches.npz", pairs=pairs, inliers=inliers)
    more = find_more(frames, matching, frozenset(names[:3]), tmp_path / "more", InlineContext())
    assert more is not None
    # Pairs of the first three are placed and did not match.
    with np.load(more / "matches.npz") as data:
        assert data["pairs"].tolist() == [[0, 3], [1, 3], [2, 3]]
    counts = [len(read_features(features_file(more, index))[0]) for index in range(4)]
    positions = read_features(features_file(more, 0))[0][:, 0]
    assert positions.min() >= 200
    assert min(counts[1:]) > 600
    assert colmap.features_per_image(more / "database.db") == round(np.mean(counts))


def test_images_that_are_left_get_cameras_of_their_own(tmp_path: Path) -> None:
    zooms = (1.0,) * 6 + (1.6,) * 2
    inputs = _inputs(tmp_path, zooms)
    frames, matches = inputs["frame_extraction"], inputs["feature_matching"]
    names = read_frames(frames).names
    database = tmp_path / "part.db"
    shutil.copyfile(matches / "database.db", database)
    options = pycolmap.IncrementalPipelineOptions(image_names=names[:6], min_model_size=3)
    folder = tmp_path / "attempts"
    part = folder / "part"
    part.mkdir(parents=True)
    pycolmap.incremental_mapping(str(database), str(frames / "images"), str(part), options=options)
    before = Placed(FIRST, part, (frozenset(names[:6]),), 0.3, ())
    attempts = Attempts(
        frames, matches, SparseReconstructionOptions(), folder, tmp_path / "growing", InlineContext()
    )
    found = attempts.extended(before)
    assert found.registered == 8
    assert found.extends == part
    focals = {name: focal for focal, images in _cameras(found) for name in images}
    assert [focals[name] for name in names] == pytest.approx([400 * zoom for zoom in zooms], rel=0.05)
    assert attempts.extended(found) is found


@pytest.mark.parametrize("with_own", [True, False])
def test_a_bent_model_is_found_out_and_its_groups_are_found_from_scratch(
    tmp_path: Path, with_own: bool
) -> None:
    zooms = (1.0, 1.6) * 4
    inputs = _inputs(tmp_path, zooms)
    frames, context = inputs["frame_extraction"], InlineContext()
    attempts = _attempts(tmp_path, inputs, context)
    names = attempts.names
    bent = attempts.make(Attempt("weaker demands", "weak"), cameras=[SharedCamera(names)])
    assert bent.registered == 8
    right = attempts.make(FIRST, cameras=[SharedCamera(names[::2]), SharedCamera(names[1::2])])
    own = attempts.make(OWN)
    assert agree(right, own, names)
    assert not agree(bent, own, names)
    if not with_own:  # one camera for each image places too few to tell
        attempts.made[-1] = replace(own, models=(frozenset(names[:3]),))
    found = confirmed(attempts, bent, frames, context)
    assert found.confirmed is with_own
    if not with_own:
        assert found.folder == bent.folder
        assert "places only 3 images, too few to confirm the other 8" in context.fallbacks[-1]
        return
    assert agree(found, right, names)
    assert sorted(focal for focal, _ in _cameras(found)) == pytest.approx([400, 640], rel=0.03)
    assert confirmed(attempts, found, frames, context) is found


def _cameras(placed: Placed) -> list[tuple[float, list[str]]]:
    return list(colmap.camera_groups(placed.folder / "0").values())


def test_an_image_with_an_impossible_camera_does_not_count(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, (1.0,) * 5)
    database = tmp_path / "own.db"
    shutil.copyfile(inputs["feature_matching"] / "database.db", database)
    names = read_frames(inputs["frame_extraction"]).names
    colmap.regroup_cameras(database, [SharedCamera((name,)) for name in names])
    images = inputs["frame_extraction"] / "images"
    (model,) = colmap.map_incrementally(
        database, images, tmp_path / "models", min_model_size=3, seed=0, progress=lambda _: None
    )
    assert colmap.drop_implausible(model)[0] == 5
    reconstruction = pycolmap.Reconstruction(str(model))
    image = reconstruction.find_image_with_name(names[3])
    reconstruction.camera(image.camera_id).focal_length = -367.0
    reconstruction.write(str(model))
    left, error = colmap.drop_implausible(model)
    assert left == 4
    assert 0 < error < 1
    kept = [name for _, shared in colmap.camera_groups(model).values() for name in shared]
    assert sorted(kept) == [name for name in names if name != names[3]]


def test_another_pair_avoids_the_images_that_were_placed(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, (1.0,) * 5)
    names = read_frames(inputs["frame_extraction"]).names
    database = inputs["feature_matching"] / "database.db"
    assert colmap.other_initial_pair(database, set(names[:3])) == (4, 5)
    first, second = colmap.other_initial_pair(database, set()) or (0, 0)
    assert 1 <= first < second <= 5


def test_the_models_folder_holds_only_the_best_attempt(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, (1.0, 1.5) * 3)
    out = tmp_path / "sparse"
    out.mkdir()
    sparse_reconstruction.run(inputs, SparseReconstructionOptions(), out, InlineContext())
    assert (out / MODEL / "cameras.bin").is_file()
    assert not (out / "attempts").exists()
    assert len(colmap.camera_groups(out / MODEL)) == 2


def test_another_pair_gives_each_model_once_and_loses_none(tmp_path: Path) -> None:
    photos = []
    for box in range(2):
        for image in turntable(np.arange(0, 40, 10.0), None, (480, 360), seed=100 * box)[0]:
            photos.append(tmp_path / f"{len(photos)}.png")
            cv2.imwrite(str(photos[-1]), image)
    frames = _frames(tmp_path / "frames", photos, 480)
    matches = _matches(tmp_path, frames, _features(tmp_path, frames))
    options = SparseReconstructionOptions()
    growing = tmp_path / "growing"
    attempts = Attempts(frames, matches, options, tmp_path / "attempts", growing, InlineContext())
    first = attempts.make(FIRST)
    assert [len(model) for model in first.models] == [4, 4]
    other = attempts.make(Attempt("another pair", "weak", other_pair=True), known=first)
    # A mapper that starts from a given pair starts every further model from it, too.
    assert sorted(other.models, key=sorted) == sorted(first.models, key=sorted)


def test_an_image_that_lies_far_off_is_placed_anew(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, (1.0,) * 7)
    frames, matching = inputs["frame_extraction"], inputs["feature_matching"]
    options = SparseReconstructionOptions()
    context = InlineContext()
    attempts = Attempts(frames, matching, options, tmp_path / "tries", tmp_path / "growing", context)
    right = attempts.make(FIRST)
    assert attempts.corrected(right) is right
    expected = pycolmap.Reconstruction(str(right.folder / "0"))
    name = read_frames(frames).names[3]
    wrong = replace(right, folder=tmp_path / "wrong")
    (wrong.folder / "0").mkdir(parents=True)
    _misplace(pycolmap.Reconstruction(expected), name).write(str(wrong.folder / "0"))
    _, error = colmap.drop_implausible(wrong.folder / "0")
    found = attempts.corrected(replace(wrong, error=error, confirmed=False))
    assert found.attempt.name == "the usual demands, 1 placed anew"
    assert context.fallbacks == [f"1 image was misplaced at first, and placed anew: {name}."]
    assert not found.confirmed
    assert found.names == right.names
    made = pycolmap.Reconstruction(str(found.folder / "0"))
    both = [_center(model, name) for model in (expected, made)]
    assert np.linalg.norm(both[0] - both[1]) < 0.02 * _spread(expected)


def _misplace(model: pycolmap.Reconstruction, name: str) -> pycolmap.Reconstruction:
    """Move an image away; a few of its points stay, with larger errors, as after a wrong registration."""
    image = next(model.image(k) for k in model.reg_image_ids() if model.image(k).name == name)
    seen = [index for index, point in enumerate(image.points2D) if point.has_point3D()]
    for index in seen[len(seen) // 4 :]:
        model.delete_observation(image.image_id, index)
    pose = image.cam_from_world()
    shift = np.array([0.02, 0.0, 0.0]) * _spread(model)
    image.frame.rig_from_world = pycolmap.Rigid3d(pose.rotation, pose.translation + shift)
    model.update_point_3d_errors()
    return model


def _center(model: pycolmap.Reconstruction, name: str) -> np.ndarray:
    return next(
        model.image(k).projection_center() for k in model.reg_image_ids() if model.image(k).name == name
    )


def _spread(model: pycolmap.Reconstruction) -> float:
    centers = np.array([model.image(k).projection_center() for k in model.reg_image_ids()])
    return float(np.linalg.norm(centers - centers.mean(axis=0), axis=1).max())


def test_an_image_with_a_camera_of_its_own_gets_that_of_its_group(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, (1.0, 1.5) * 4)
    attempts = _attempts(tmp_path, inputs)
    names = attempts.names
    cameras = [SharedCamera(tuple(names[::2])), SharedCamera(tuple(names[1:7:2])), SharedCamera((names[7],))]
    placed = attempts.make(FIRST, cameras=cameras)
    assert placed.registered == len(names)
    tied = attempts.tied(placed)
    assert [camera.images for camera in tied.cameras] == [tuple(names[::2]), tuple(names[1::2]), ()]
    assert tied.names == placed.names
    # With nothing left to do, it is the same, and further attempts can be made.
    assert attempts.tied(tied) is tied
    assert attempts.make(FIRST, cameras=tied.cameras).registered == len(names)


def test_an_image_that_is_zoomed_keeps_its_camera(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, (1.0,) * 7 + (1.5,))
    attempts = _attempts(tmp_path, inputs)
    names = attempts.names
    placed = attempts.make(FIRST, cameras=[SharedCamera(tuple(names[:7])), SharedCamera((names[7],))])
    assert placed.registered == len(names)
    assert attempts.tied(placed) is placed

"""Sets that match well and still give no depth, or two motions at once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from recon3d.compute import InlineContext
from recon3d.compute.reading import declared_reads
from recon3d.errors import ReconstructionError
from recon3d.evaluation import pose_errors
from recon3d.io.feature_files import read_features
from recon3d.layout import DATABASE, features_file, frame_list_file, read_registration
from recon3d.matching.resting import Resting
from recon3d.options import SparseReconstructionOptions
from recon3d.stages import sparse_reconstruction
from recon3d.stages.feature_matching.blocks import read_block
from recon3d.stages.feature_matching.motion_tasks import MovingMatching, match_moving
from recon3d.stages.feature_matching.verdicts import no_pairs
from recon3d.types import Scene
from tests.synthetic.frames import extract, match, write_frames
from tests.synthetic.media import texture
from tests.synthetic.motions import slid, turned, turntable

SMALL = (480, 360)


@pytest.mark.parametrize("focal", [0.7, 1.2])
def test_a_camera_that_only_turns_is_refused(tmp_path: Path, focal: float) -> None:
    images = turned(texture(1100, 600), np.linspace(-12, 12, 6), SMALL, focal)
    with pytest.raises(ReconstructionError, match=r"only turned, by up to 2\d°") as caught:
        match(tmp_path, write_frames(tmp_path / "frames", images))
    assert "sideways" in caught.value.hint


def test_a_camera_that_slides_along_a_wall_has_not_turned(tmp_path: Path) -> None:
    images = slid(texture(1100, 600), np.linspace(-0.2, 0.2, 6), SMALL)
    context = InlineContext()
    match(tmp_path, write_frames(tmp_path / "frames", images), context)
    assert context.counts["verified_pairs"] == 15
    assert not context.fallbacks


def test_a_camera_that_does_not_move_is_refused(tmp_path: Path) -> None:
    images = turned(texture(1100, 600), [0.0], SMALL)
    still = [
        np.clip(images[0] + np.random.default_rng(k).normal(0, 3, images[0].shape), 0, 255) for k in range(4)
    ]
    frames = write_frames(tmp_path / "frames", [image.astype(np.uint8) for image in still])
    with pytest.raises(ReconstructionError, match="did not move") as caught:
        match(tmp_path, frames)
    assert "Walk around" in caught.value.hint


def test_a_stretch_of_a_video_that_turns_is_told(tmp_path: Path) -> None:
    walked, _ = turntable(np.arange(0, 50, 10.0), None, SMALL)
    frames = write_frames(
        tmp_path / "frames",
        [*walked, *turned(texture(1100, 600), np.linspace(-10, 10, 6), SMALL)],
        video=True,
    )
    context = InlineContext()
    match(tmp_path, frames, context)
    (message,) = context.fallbacks
    assert message.startswith("The camera only turned in clip.mp4 from 2.5 to 5.0 s (6 frames).")


def test_an_object_on_a_turntable_is_reconstructed_before_a_still_wall(tmp_path: Path) -> None:
    images, truth = turntable(np.arange(0, 80, 10.0), texture(700, 520, seed=7))
    frames = write_frames(tmp_path / "frames", images)
    context = InlineContext()
    matches = match(tmp_path, frames, context)
    (message,) = context.fallbacks
    assert "a background that does not turn with the object: 9" in message  # 90 to 99 %
    out = tmp_path / "sparse"
    out.mkdir()
    inputs = {"frame_extraction": frames, "feature_matching": matches}
    sparse_reconstruction.run(inputs, SparseReconstructionOptions(), out, InlineContext())
    # Dense reconstruction leaves the wall out, too.
    assert 0.8 < (read_registration(out).resting or 0) < 0.95
    scene = Scene.load(out)
    assert len(scene) == len(images)
    errors = pose_errors(scene, Scene(tuple(truth), scene.points))
    assert np.max(errors.rotation) < 3.0  # degrees; the wall does not turn at all
    assert np.max(errors.position) < 0.08  # of a distance of 3
    assert np.mean(scene.points.error) < 0.6


def test_a_burnt_in_date_is_left_out(tmp_path: Path) -> None:
    images, _ = turntable(np.arange(0, 70, 10.0), None)
    for image in images:
        cv2.putText(
            image, "27.11.2026 08:15 CAM 4", (30, 460), cv2.FONT_HERSHEY_DUPLEX, 1.0, (255, 255, 255), 2
        )
    context = InlineContext()
    match(tmp_path, write_frames(tmp_path / "frames", images), context)
    (message,) = context.fallbacks
    assert "a logo, a date" in message or "a background" in message


def test_images_that_look_alike_without_a_rigid_scene_are_told_from_images_that_share_nothing() -> None:
    gloss = no_pairs(3, np.array([200, 90, 10]))
    assert "2 of the 3 pairs" in gloss.message
    assert "Mirrors" in gloss.hint
    nothing = no_pairs(3, np.array([0, 3, 10]))
    assert "None of the 3 pairs" in nothing.message
    assert (DATABASE in nothing.message) is False


def test_matching_again_without_what_rests_reads_the_images_of_its_pairs(tmp_path: Path) -> None:
    images, _ = turntable(np.arange(0, 40, 10.0), None, SMALL)
    frames = write_frames(tmp_path / "frames", images)
    features = extract(tmp_path, frames)
    counts = [len(read_features(features_file(features, index))[0]) for index in range(4)]
    resting = Resting(tuple(np.zeros(count, bool) for count in counts), 0.5)
    block, pairs = tmp_path / "block.pickle", ((0, 1),)
    task = MovingMatching(str(frames), str(features), str(block), pairs, resting, "SIMPLE_RADIAL", 0)
    assert declared_reads(match_moving, (task,)) == [
        frame_list_file(frames),
        features_file(features, 0),
        features_file(features, 1),
    ]
    for index in (2, 3):
        features_file(features, index).unlink()
    matched, (matches,), _ = read_block(Path(match_moving(task)))
    assert matched == pairs
    assert len(matches) > 50

"""A video from within a room: one model, though the camera turns more than it moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recon3d.compute import InlineContext
from recon3d.evaluation import pose_errors
from recon3d.layout import read_registration
from recon3d.options import SparseReconstructionOptions
from recon3d.stages import sparse_reconstruction
from recon3d.types import Scene
from tests.stages.test_sparse_reconstruction import _features, _matches
from tests.synthetic.frames import write_frames
from tests.synthetic.room import filmed, walk


@pytest.mark.slow
def test_a_walk_through_a_room_is_one_model(tmp_path: Path) -> None:
    views = walk(40, (320, 180))
    frames = write_frames(tmp_path / "frames", filmed(views), video=True)
    matches = _matches(tmp_path, frames, _features(tmp_path, frames, max_features=500), overlap=5)
    out = tmp_path / "sparse"
    out.mkdir()
    context = InlineContext()
    inputs = {"frame_extraction": frames, "feature_matching": matches}
    sparse_reconstruction.run(inputs, SparseReconstructionOptions(), out, context)
    registration = read_registration(out)
    placed = {attempt.name: attempt.registered for attempt in registration.attempts}
    assert placed["the usual demands"] < 20
    assert context.counts["registered"] >= 36
    assert context.counts["components"] == 1
    (camera,) = registration.cameras
    assert camera.focal_px == pytest.approx(240, rel=0.02)
    scene, truth = Scene.load(out), Scene(tuple(views))
    spread = np.linalg.norm([view.center for view in truth], axis=1).max()
    errors = pose_errors(scene, truth).position / spread
    assert np.median(errors) < 0.02
    assert errors.max() < 0.06
    (message,) = context.fallbacks
    assert "Used: the focal length that the pairs imply." in message

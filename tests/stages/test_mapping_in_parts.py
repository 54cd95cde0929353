"""A set that is larger than a part: its parts are mapped at the same time and joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recon3d import colmap
from recon3d.compute import InlineContext
from recon3d.evaluation import pose_errors
from recon3d.layout import read_registration
from recon3d.options import SparseReconstructionOptions
from recon3d.stages import sparse_reconstruction
from recon3d.stages.sparse_reconstruction.attempts import FROM_PAIRS, Attempts
from recon3d.types import Scene
from tests.stages.test_sparse_reconstruction import _features, _frames, _matches, surveyed


class Logged(InlineContext):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def log(self, message: str) -> None:
        self.told.append(message)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("parts")
    photos = sorted((data_dir / "strecha_fountain-P11_1600" / "images").glob("*.jpg"))
    frames = _frames(folder / "frames", photos, 640)
    matches = _matches(folder, frames, _features(folder, frames, max_features=1500))
    return {"frame_extraction": frames, "feature_matching": matches}


def _mapped(inputs: dict[str, Path], out: Path, part_size: int) -> tuple[Scene, Logged]:
    out.mkdir()
    context = Logged()
    options = SparseReconstructionOptions(part_size=part_size)
    sparse_reconstruction.run(inputs, options, out, context)
    return Scene.load(out), context


@pytest.fixture(scope="module")
def in_parts(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene, Logged]:
    out = tmp_path_factory.mktemp("mapped") / "parts"
    return out, *_mapped(inputs, out, 6)


def test_parts_give_the_cameras_of_the_whole(
    inputs: dict[str, Path], in_parts: tuple[Path, Scene, Logged], tmp_path: Path, data_dir: Path
) -> None:
    whole, quiet = _mapped(inputs, tmp_path / "whole", 11)
    assert not [message for message in quiet.told if "parts" in message]
    out, parts, context = in_parts
    (told,) = [message for message in context.told if "parts" in message]
    assert told.startswith("Mapping 11 images in 2 parts of ")
    assert len(parts) == len(whole) == 11
    assert not context.fallbacks
    truth = surveyed(data_dir / "strecha_fountain-P11_1600")
    errors = [pose_errors(scene, truth) for scene in (whole, parts)]
    assert np.median(errors[1].position) < 1.2 * np.median(errors[0].position) + 0.002  # metres
    assert errors[1].position.max() < 1.2 * errors[0].position.max() + 0.005
    assert len(parts.points) > 0.9 * len(whole.points)
    # Nothing of the parts is left, and the report knows one attempt.
    assert [path.name for path in (out / "models").iterdir()] == ["0"]
    (attempt,) = read_registration(out).attempts
    assert (attempt.name, attempt.registered, attempt.used) == ("the usual demands", 11, True)


def test_parts_are_repeatable(
    inputs: dict[str, Path], in_parts: tuple[Path, Scene, Logged], tmp_path: Path
) -> None:
    _, first, _ = in_parts
    second, _ = _mapped(inputs, tmp_path / "again", 6)
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.cam_from_world, b.cam_from_world)
    assert np.array_equal(first.points.xyz, second.points.xyz)


def test_focal_lengths_from_pairs_are_refined_for_all_parts_together(
    inputs: dict[str, Path], in_parts: tuple[Path, Scene, Logged], tmp_path: Path
) -> None:
    options = SparseReconstructionOptions(part_size=6)
    frames, matching = inputs["frame_extraction"], inputs["feature_matching"]
    attempts = Attempts(frames, matching, options, tmp_path / "tries", tmp_path / "growing", Logged())
    placed = attempts.make(FROM_PAIRS)
    (camera,) = {view.camera.params for view in colmap.read_scene(placed.folder / "0", attempts.names)}
    (usual,) = {view.camera.params for view in in_parts[1]}
    assert camera[0] == pytest.approx(usual[0], rel=0.004)
    # The parts' own focal lengths, kept, give the girl 1.03 times the usual error.
    (attempt,) = read_registration(in_parts[0]).attempts
    assert placed.error < 1.01 * attempt.error

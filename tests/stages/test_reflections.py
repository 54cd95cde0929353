"""Mirrors and still water, from pictures to the sentence about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from recon3d.compute import InlineContext
from recon3d.layout import Registration, read_registration
from recon3d.options import SparseReconstructionOptions
from recon3d.stages import sparse_reconstruction
from tests.stages.test_sparse_reconstruction import _features, _matches
from tests.synthetic.frames import write_frames
from tests.synthetic.media import Image
from tests.synthetic.mirrored import bedroom, lake


def placed(tmp_path: Path, photos: list[Image], features: int) -> tuple[Registration, InlineContext]:
    frames = write_frames(tmp_path / "frames", photos)
    matches = _matches(tmp_path, frames, _features(tmp_path, frames, max_features=features, first_octave=-1))
    out = tmp_path / "sparse"
    out.mkdir()
    context = InlineContext()
    inputs = {"frame_extraction": frames, "feature_matching": matches}
    sparse_reconstruction.run(inputs, SparseReconstructionOptions(), out, context)
    return read_registration(out), context


def test_still_water_is_told(tmp_path: Path) -> None:
    registration, context = placed(tmp_path, lake(6, (320, 240)).photos(), 600)
    mirror = registration.mirror
    assert mirror is not None
    assert mirror.level
    assert mirror.pairs > 20
    assert 0.35 < mirror.share < 0.6
    (message,) = context.fallbacks
    assert message.startswith("Still water shows the scene a second time: ")
    assert f"{mirror.share:.0%} of the points lie behind it" in message


def test_the_same_houses_without_water_reflect_nothing(tmp_path: Path) -> None:
    registration, context = placed(tmp_path, lake(6, (320, 240)).photos(reflecting=False), 600)
    assert registration.mirrors == ()
    assert context.fallbacks == []


@pytest.mark.slow
@pytest.mark.parametrize("reflecting", [True, False])
def test_a_wardrobe_with_a_mirror(tmp_path: Path, reflecting: bool) -> None:
    registration, context = placed(tmp_path, bedroom(10, (400, 300)).photos(reflecting=reflecting), 1200)
    assert all(image.registered for image in registration.images)
    assert (registration.mirror is not None) == reflecting
    if registration.mirror is not None:
        assert not registration.mirror.level
        assert registration.mirror.pairs > 10
        assert "A mirror shows the scene a second time" in context.fallbacks[0]

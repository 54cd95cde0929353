"""Images without features are named with the cause."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from recon3d.compute import InlineContext
from recon3d.errors import TooFewViews
from recon3d.io.feature_files import read_features
from recon3d.layout import features_file
from recon3d.matching.sift import detect_sift
from recon3d.options import FeatureExtractionOptions
from recon3d.selection.plainness import plainness
from recon3d.stages import feature_extraction
from tests.synthetic.frames import extract, write_frames
from tests.synthetic.media import Image, texture

SHOWN = texture(480, 360)


def _noisy(image: np.ndarray, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).normal(0, 1.5, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _wall() -> Image:
    """A painted wall in uneven light."""
    y, x = np.mgrid[:360, :480]
    return _noisy(np.repeat((190 + 0.04 * x - 0.05 * y)[..., None], 3, axis=2))


DARK = _noisy(0.05 * SHOWN)
BRIGHT = _noisy(np.clip(8.0 * SHOWN + 230, 0, 255))
BLURRED = _noisy(cv2.GaussianBlur(texture(480, 360).astype(np.float32), (0, 0), 15))


def test_causes() -> None:
    found = [plainness(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)) for image in (DARK, BRIGHT, BLURRED, _wall())]
    assert found == ["dark", "overexposed", "blurred", "plain"]


def test_images_without_features_are_named_with_the_cause(tmp_path: Path) -> None:
    images = [SHOWN, texture(480, 360, seed=1), DARK, BLURRED, _wall()]
    context = InlineContext()
    extract(tmp_path, write_frames(tmp_path / "frames", images), context)
    (message,) = context.fallbacks
    assert message.startswith("3 of 5 images have nearly no features")
    for part in ("Too dark: 002.png", "Blurred: 003.png", "Without texture: 004.png"):
        assert part in message
    assert context.counts["images"] == 5


def test_a_wall_without_texture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        TooFewViews, match=r"Of 3 images none has features .* Without texture: 000\.png"
    ) as caught:
        extract(tmp_path, write_frames(tmp_path / "frames", [_wall()] * 3))
    assert "newspaper" in caught.value.hint


def test_one_useful_image_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(TooFewViews, match="only 1 has") as caught:
        extract(tmp_path, write_frames(tmp_path / "frames", [SHOWN, DARK, DARK]))
    assert "Light the scene" in caught.value.hint


def test_a_set_with_texture_is_not_judged(tmp_path: Path) -> None:
    context = InlineContext()
    extract(tmp_path, write_frames(tmp_path / "frames", [SHOWN, texture(480, 360, seed=1)]), context)
    assert not context.fallbacks


def test_features_are_opencvs_where_asked_for(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    frames = write_frames(tmp_path / "frames", [SHOWN, texture(480, 360, seed=1)])
    options = FeatureExtractionOptions(detector="opencv", max_features=300)
    context = InlineContext()
    feature_extraction.run({"frame_extraction": frames}, options, tmp_path / "out", context)
    keypoints, descriptors = read_features(features_file(tmp_path / "out", 0))
    gray = cv2.imread(str(tmp_path / "frames" / "images" / "000.png"), cv2.IMREAD_GRAYSCALE)
    expected = detect_sift(np.asarray(gray, np.uint8), 1600, 300, "auto")
    assert np.abs(keypoints - expected[0]).max() < 1e-3
    assert np.array_equal(descriptors, expected[1])
    assert context.counts["features_per_image"] == 300

import cv2
import numpy as np
import pytest

from recon3d.selection.sharpness import blur, sharpness, shrink
from tests.synthetic.media import texture

GRAY = cv2.cvtColor(texture(480, 360), cv2.COLOR_BGR2GRAY)


def motion_blurred(image: np.ndarray, length: int, degrees: float) -> np.ndarray:
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), degrees, 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(image, -1, kernel / kernel.sum())


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135])
def test_motion_blur_in_any_direction_lowers_it_and_longer_blur_more(degrees: float) -> None:
    values = [sharpness(GRAY)] + [sharpness(motion_blurred(GRAY, n, degrees)) for n in (5, 9, 17)]
    assert values[1] < 0.7 * values[0]
    assert values[0] > values[1] > values[2] > values[3]


def test_it_is_proportional_to_contrast_and_zero_without_any() -> None:
    half = (GRAY.astype(np.float64) / 2).round().astype(np.uint8)
    assert sharpness(half) == pytest.approx(sharpness(GRAY) / 2, rel=0.05)
    assert sharpness(np.full((100, 100), 77, np.uint8)) == 0
    assert sharpness(np.zeros((2, 2), np.uint8)) == 0


def test_direction_of_the_detail_does_not_matter() -> None:
    assert sharpness(np.ascontiguousarray(GRAY.T)) == pytest.approx(sharpness(GRAY), rel=1e-6)


def test_blur_finds_outliers_on_a_content_that_changes_tenfold() -> None:
    times = np.arange(300) / 30
    content = np.exp(np.linspace(0, np.log(10), 300))
    rng = np.random.default_rng(0)
    values = content * np.exp(rng.normal(0, 0.02, 300))
    bad = np.arange(7, 300, 13)
    values[bad] *= 0.6
    result = blur(values, times)
    assert np.all(result >= 0)
    assert result[bad].min() > np.delete(result, bad).max()
    assert result[bad].mean() == pytest.approx(-np.log(0.6), abs=0.1)


def test_blur_of_few_frames() -> None:
    assert len(blur(np.zeros(0), np.zeros(0))) == 0
    assert blur(np.array([3.0]), np.array([0.0])) == pytest.approx([0.0])
    assert blur(np.array([4.0, 2.0]), np.array([0.0, 0.1]))[1] == pytest.approx(np.log(2), abs=1e-6)


def test_shrink_averages_and_keeps_small_images() -> None:
    checker = (np.indices((64, 128)).sum(axis=0) % 2 * 200).astype(np.uint8)
    small = shrink(checker, 32)
    assert small.shape == (16, 32)
    assert np.all(small == 100)
    assert shrink(checker, 128) is checker

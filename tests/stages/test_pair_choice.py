"""Which photos of a large set are matched, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from recon3d.compute import InlineContext
from recon3d.compute.reading import declared_reads
from recon3d.io.feature_files import write_features
from recon3d.layout import MATCHES, Frame, FrameList, features_file
from recon3d.matching.retrieval import describe_image, learn_words
from recon3d.options import FeatureMatchingOptions
from recon3d.stages import feature_matching
from recon3d.stages.feature_matching import descriptions, stage
from recon3d.stages.feature_matching.descriptions import describe_all, read_vectors
from recon3d.stages.feature_matching.pair_choice import (
    ChosenPairs,
    Reason,
    describe_choice,
    is_by_retrieval,
    is_exhaustive,
    photo_pairs,
)
from recon3d.stages.feature_matching.partners import find_partners
from tests.benchmarks.retrieval import altered, needed_pairs, recall
from tests.synthetic.frames import extract, write_frames

_METRE = 1 / 111_320


def _photo(name: str, east: float | None = None) -> Frame:
    gps = None if east is None else (0.0, east * _METRE, None)
    return Frame(f"{name}.jpg", "photo", f"{name}.jpg", None, 100, 80, None, None, gps, 0)


def test_what_looks_alike_and_what_was_taken_beside_it_are_paired() -> None:
    # 1 and 2 share features with 0; 3 was taken right after 1; 4 and 5 stand beside each other, far away.
    frames = [
        _photo("a", 0.0),
        _photo("IMG_07", 100.0),
        _photo("b", 200.0),
        _photo("IMG_08", 300.0),
        _photo("c", 900.0),
        _photo("d", 910.0),
    ]
    options = FeatureMatchingOptions(gps_neighbors=1, number_neighbors=1)
    found = photo_pairs(FrameList(tuple(frames)), [(0, 1), (0, 2)], options)
    assert found[0, 1] == Reason.SIMILAR | Reason.GPS
    assert found[0, 2] == Reason.SIMILAR
    assert found[1, 3] == Reason.NUMBER
    assert found[4, 5] == Reason.GPS
    assert list(found) == sorted(found)
    only_alike = options.model_copy(update={"gps_neighbors": 0, "number_neighbors": 0})
    assert list(photo_pairs(FrameList(tuple(frames)), [(0, 1)], only_alike)) == [(0, 1)]


def test_the_choice_is_told_with_its_reasons_and_the_pairs_of_an_image() -> None:
    chosen = ChosenPairs([(0, 1), (0, 2), (1, 3)], "SIMPLE_RADIAL", np.array([1, 3, 4], np.uint8))
    assert describe_choice(chosen, 4) == (
        "3 of 6 pairs of images are matched, 2 an image (1 to 2): "
        "2 look alike, 1 are near by GPS, 1 have near numbers."
    )


def test_few_photos_are_matched_exhaustively_and_many_are_not() -> None:
    photos = FrameList(tuple(_photo(f"p{k}") for k in range(61)))
    options = FeatureMatchingOptions()
    assert not is_exhaustive(photos, options)
    assert is_exhaustive(FrameList(photos.frames[:60]), options)
    assert is_by_retrieval(photos, options)
    assert not is_by_retrieval(FrameList(photos.frames[:60]), options)
    assert not is_by_retrieval(replace(photos, sequences=(tuple(photos.names[:5]),)), options)
    assert not is_exhaustive(replace(photos, sequences=(tuple(photos.names[:5]),)), options)
    assert is_exhaustive(photos, FeatureMatchingOptions(matcher="exhaustive"))


def _write_features(folder: Path, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = [rng.integers(0, 90, (60, 128)).astype(np.uint8) for _ in range(count)]
    for index, descriptors in enumerate(found):
        write_features(features_file(folder, index), (np.zeros((60, 6), np.float32), descriptors))
    return found


def test_blocks_of_descriptions_are_those_of_the_whole_set_and_are_kept(tmp_path: Path) -> None:
    found = _write_features(tmp_path, 20)
    words = learn_words(found, 0)
    files = describe_all(tmp_path, 20, tmp_path / "out", InlineContext())
    assert len(files) == 2
    assert np.array_equal(read_vectors(files), np.array([describe_image(d, words) for d in found]))
    made = np.full((10, 3), 7, np.float32)
    np.save(files[0], made)
    Path(files[1]).unlink()
    assert describe_all(tmp_path, 20, tmp_path / "out", InlineContext()) == files
    assert np.array_equal(np.load(files[0]), made)  # of the interrupted run
    assert Path(files[1]).exists()


def test_large_sets_are_described_by_components(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _write_features(tmp_path, 20)
    monkeypatch.setattr(descriptions, "_WHOLE", 12)
    monkeypatch.setattr(descriptions, "_MOST", 7)
    vectors = read_vectors(describe_all(tmp_path, 20, tmp_path / "out", InlineContext()))
    assert vectors.shape == (20, 11)  # twelve images have eleven differences
    monkeypatch.setattr(descriptions, "_MOST", 3)
    again = describe_all(tmp_path, 20, tmp_path / "again", InlineContext())
    assert np.array_equal(read_vectors(again), vectors)  # with the blocks of other workers
    whole = np.array([describe_image(d, learn_words(found, 0)) for d in found])
    centered = whole - whole[np.linspace(0, 19, 12).astype(int)].mean(axis=0)
    inside = np.linspace(0, 19, 12).astype(int)
    expected = centered[inside] / np.linalg.norm(centered[inside], axis=1, keepdims=True)
    # Among the images that the components come from, nothing is lost.
    assert np.allclose(vectors[inside] @ vectors[inside].T, expected @ expected.T, atol=1e-4)


@pytest.mark.parametrize("whole", [1024, 30])
def test_learning_reads_what_it_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int) -> None:
    _write_features(tmp_path, 160)
    monkeypatch.setattr(descriptions, "_WHOLE", whole)
    for name in ("all", "declared"):
        (tmp_path / name).mkdir()
        call = (str(tmp_path), 160, str(tmp_path / name), 0)
        descriptions.learn(*call)
        declared = declared_reads(descriptions.learn, call)
        assert declared is not None
        for index in range(160):
            if (file := features_file(tmp_path, index)) not in declared:
                file.unlink(missing_ok=True)
        assert 40 <= len(declared) <= 70
        assert all(file.exists() for file in declared)
    learned = [np.load(tmp_path / name / "learned.npz") for name in ("all", "declared")]
    assert len(learned[0].files) == (1 if whole > 160 else 3)
    assert all(np.array_equal(learned[0][key], learned[1][key]) for key in learned[0].files)


def test_photos_that_share_features_are_partners_and_an_empty_one_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scenes = [rng.gamma(0.4, 40, (200, 128)) for _ in range(4)]
    for index in range(16):
        seen = scenes[index % 4][rng.permutation(200)[:120]] + rng.normal(0, 3, (120, 128))
        descriptors = np.clip(seen, 0, 255).astype(np.uint8)[: 0 if index == 15 else None]
        keypoints = np.ones((len(descriptors), 6), np.float32)
        write_features(features_file(tmp_path, index), (keypoints, descriptors))
    context = InlineContext()
    files = describe_all(tmp_path, 16, tmp_path / "out", context, largest=True)
    pairs = find_partners(files, 2, tmp_path / "out", context)
    same = {(i, j) for i in range(15) for j in range(i + 1, 15) if i % 4 == j % 4}
    assert same <= set(pairs)
    assert all((i, j) in same or j == 15 for i, j in pairs)


@pytest.mark.parametrize(
    ("pairs", "workers", "size"), [(0, 2, 1), (55, 2, 7), (1770, 2, 55), (125_000, 64, 122), (10**6, 2, 200)]
)
def test_blocks_grow_with_the_pairs_of_a_worker(pairs: int, workers: int, size: int) -> None:
    assert stage._block_size(pairs, workers) == size


def test_pairs_by_retrieval_are_those_that_mapping_needs(data_dir: Path, tmp_path: Path) -> None:
    images, rng = [], np.random.default_rng(0)
    for name in ("gt_dancinggirl_photos", "strecha_fountain-P11_1600"):
        for path in sorted((data_dir / name / "images").iterdir())[:3]:
            image = cv2.imread(str(path))
            small = cv2.resize(image, None, fx=360 / max(image.shape), fy=360 / max(image.shape))
            images += [small, altered(small, rng)]
    frames = write_frames(tmp_path / "frames", images)
    features = extract(tmp_path, frames)
    made = {}
    for matcher in ("exhaustive", "retrieval"):
        out = tmp_path / matcher
        out.mkdir()
        options = FeatureMatchingOptions(matcher=matcher, neighbors=5, number_neighbors=0)
        inputs = {"frame_extraction": frames, "feature_extraction": features}
        feature_matching.run(inputs, options, out, InlineContext())
        with np.load(out / MATCHES) as arrays:
            made[matcher] = dict(arrays)
    assert not (tmp_path / "retrieval" / "descriptions").exists()
    assert "reasons" not in made["exhaustive"]
    assert set(made["retrieval"]["reasons"].tolist()) == {Reason.SIMILAR}
    pairs = made["retrieval"]["pairs"]
    assert len(pairs) < 0.5 * len(made["exhaustive"]["pairs"])
    needed = needed_pairs(made["exhaustive"]["pairs"], made["exhaustive"]["inliers"], len(images), 10)
    assert len(needed) > len(images)
    assert recall(needed, pairs) >= 0.97

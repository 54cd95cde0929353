"""Which images look alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from recon3d.matching import retrieval
from recon3d.matching.retrieval import Components, describe_image, learn_words, most_similar


def _places(count: int, views: int, seed: int) -> list[np.ndarray]:
    """Descriptors of `views` images of each of `count` places: same features, new noise."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        base = rng.gamma(0.5, 60, (300, 128))
        for _ in range(views):
            seen = base[rng.random(300) < 0.6] + rng.normal(0, 8, (1, 128))
            images.append(np.clip(seen, 0, 255).astype(np.uint8))
    return images


def test_images_of_one_place_find_each_other() -> None:
    images = _places(6, 4, seed=0)
    words = learn_words(images, seed=0)
    vectors = np.array([describe_image(d, words) for d in images])
    pairs = most_similar(vectors, 3)
    same = [i // 4 == j // 4 for i, j in pairs]
    assert np.mean(same) > 0.9
    assert np.array_equal(words, learn_words(images, seed=0))


def test_features_go_to_the_nearest_word() -> None:
    image = np.concatenate(_places(4, 1, seed=3))
    words = learn_words([image], seed=0)
    values = image.astype(np.float32) / 512
    _, nearest = cKDTree(words).query(values)
    expected = np.zeros_like(words)
    for value, word in zip(values, nearest, strict=True):
        expected[word] += value - words[word]
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-12)
    expected /= np.linalg.norm(expected)
    assert np.allclose(describe_image(image, words), expected.ravel(), atol=1e-6)


def test_an_image_without_features_matches_nothing_wrongly() -> None:
    images = [*_places(2, 2, seed=1), np.zeros((0, 128), np.uint8)]
    words = learn_words(images, seed=0)
    vectors = np.array([describe_image(d, words) for d in images])
    assert np.isfinite(vectors).all()
    assert not vectors[-1].any()
    assert not Components.of(vectors).project(vectors)[-1].any()


def test_components_keep_who_looks_like_whom() -> None:
    images = _places(20, 4, seed=2)
    words = learn_words(images, seed=0)
    vectors = np.array([describe_image(d, words) for d in images])
    short = Components.of(vectors[::2], 24).project(vectors)
    assert short.shape == (80, 24)
    assert np.allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)
    same = [i // 4 == j // 4 for i, j in most_similar(short, 3)]
    assert np.mean(same) > 0.9


@pytest.mark.parametrize("groups", [None, [k % 3 - 1 for k in range(50)]])
def test_blocks_find_what_a_whole_table_finds(
    groups: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.integers(-2, 3, (50, 5)).astype(np.float32)  # many are equally similar
    table = vectors @ vectors.T
    places = np.arange(50)
    table[np.abs(places[:, None] - places) <= 2] = -np.inf
    if groups is not None:
        member = np.array(groups)
        table[(member[:, None] == member) & (member >= 0)] = -np.inf
    best = np.argsort(-table, axis=1, kind="stable")[:, :6]
    expected = {
        (min(i, j), max(i, j)) for i in range(50) for j in best[i].tolist() if np.isfinite(table[i, j])
    }
    monkeypatch.setattr(retrieval, "_ROWS", 7)
    assert most_similar(vectors, 6, apart=2, groups=groups) == sorted(expected)


def test_close_ones_can_be_left_out() -> None:
    vectors = np.eye(6, dtype=np.float32)
    assert all(j - i > 2 for i, j in most_similar(vectors, 2, apart=2))


def test_one_video_finds_the_other() -> None:
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(0, 0.1, (5, 20)) + np.eye(20)[k] for k in range(2)])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    groups = [0] * 5 + [1] * 4 + [-1]
    assert not any(i < 5 <= j for i, j in most_similar(vectors, 3))
    pairs = most_similar(vectors, 3, groups=groups)
    assert pairs
    assert all(i < 5 <= j for i, j in pairs if j != 9)
    assert any(i >= 5 and j == 9 for i, j in pairs)  # a photo may have partners anywhere

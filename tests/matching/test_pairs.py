"""Which images are matched."""

from __future__ import annotations

import numpy as np

from recon3d.matching.pairs import all_pairs, describe_image, learn_words, most_similar, sequential_pairs


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


def test_an_image_without_features_matches_nothing_wrongly() -> None:
    images = [*_places(2, 2, seed=1), np.zeros((0, 128), np.uint8)]
    words = learn_words(images, seed=0)
    vectors = np.array([describe_image(d, words) for d in images])
    assert np.isfinite(vectors).all()
    assert not vectors[-1].any()


def test_neighbours_and_far_partners() -> None:
    pairs = sequential_pairs(30, 3)
    assert (0, 1) in pairs
    assert (0, 3) in pairs
    assert (0, 4) not in pairs
    assert (0, 6) in pairs
    assert (0, 12) in pairs
    assert all(i < j < 30 for i, j in pairs)
    assert len(set(pairs)) == len(pairs)


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


def test_all_pairs() -> None:
    assert all_pairs(4) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]

"""Depths that reach over an outline are found by their colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from recon3d.mvs.silhouette import beyond_outlines

SHAPE = (120, 160)
SKY, STONE = (200, 215, 235), (120, 90, 60)


def disk(radius):
    y, x = np.indices(SHAPE)
    return np.hypot(x - 80, y - 60) <= radius


def picture(mask, inside=STONE, outside=SKY, noise=12.0):
    rgb = np.where(mask[..., None], inside, outside) + np.random.default_rng(0).normal(0, noise, (*SHAPE, 3))
    return np.clip(cv2.GaussianBlur(rgb, (0, 0), 0.6), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("behind", [0.0, 3.0], ids=["sky", "wall"])
def test_what_reaches_over_is_found_and_the_thing_stays(behind):
    depth = np.where(disk(43), 2.0, behind).astype(np.float32)
    beyond = beyond_outlines(depth, picture(disk(40)), 3)
    assert beyond[disk(43) & ~disk(41)].mean() > 0.95
    assert beyond[disk(39)].mean() < 0.002
    assert not beyond[~disk(44)].any()


def test_single_missing_depths_change_little():
    missing = np.random.default_rng(1).random(SHAPE) < 0.05
    depth = np.where(disk(43) & ~missing, 2.0, 0).astype(np.float32)
    beyond = beyond_outlines(depth, picture(disk(40)), 3)
    assert beyond[disk(43) & ~disk(41) & ~missing].mean() > 0.9
    assert beyond[disk(39)].mean() < 0.002


def test_a_true_outline_loses_nothing():
    depth = np.where(disk(40), 2.0, 0).astype(np.float32)
    assert beyond_outlines(depth, picture(disk(40)), 3)[disk(39)].mean() < 0.002


def test_where_both_look_alike_nothing_is_said():
    depth = np.where(disk(43), 2.0, 0).astype(np.float32)
    assert not beyond_outlines(depth, picture(disk(40), inside=STONE, outside=STONE), 3).any()


def test_a_thing_thinner_than_a_patch_stays():
    wire = np.zeros(SHAPE, bool)
    wire[:, 79:82] = True
    depth = np.where(wire, 2.0, 0).astype(np.float32)
    assert not beyond_outlines(depth, picture(wire), 3).any()


def test_slanted_ground_with_texture_stays():
    rows = np.indices(SHAPE)[0]
    depth = (200.0 / (rows + 10)).astype(np.float32)
    checker = ((np.indices(SHAPE) // 9).sum(axis=0) % 2).astype(bool)
    assert beyond_outlines(depth, picture(checker, outside=(235, 230, 220)), 3).mean() < 0.02


def test_maps_that_know_all_or_nothing():
    rgb = picture(disk(40))
    assert not beyond_outlines(np.zeros(SHAPE, np.float32), rgb, 3).any()
    assert not beyond_outlines(np.ones(SHAPE, np.float32), rgb, 3).any()

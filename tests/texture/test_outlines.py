"""Meshes that are larger than the thing, before a sky: what photos show behind it is not painted on it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from recon3d.texture.outlines import shows_behind
from recon3d.types import Floats, Mesh, TexturedMesh, View
from tests.synthetic.box import SKY, box_mesh, cast, looking_at, rate
from tests.texture.test_assemble import lookup, random_weights
from tests.texture.whole import texture_mesh

UP = np.array([0.0, 1.0, 0.0])


def head(bulge: float, steps: int = 24) -> Mesh:
    """A sphere of radius 1 whose crown is too high: a surface that was closed where no photo looks."""
    box = box_mesh(steps)
    cube = box.vertices / np.abs(box.vertices).max(axis=0)
    # Evenly spread angles make faces of about the same size.
    direction = np.tan(cube * np.pi / 4)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    crown = np.clip((direction[:, 1] - 0.85) / 0.15, 0, 1)
    return Mesh(direction * (1 + bulge * crown[:, None]), box.faces)


def skin(points: Floats) -> Floats:
    """Colour of the head by direction, in gray levels."""
    direction = points / np.maximum(np.linalg.norm(points, axis=-1, keepdims=True), 1e-9)
    x, y, z = np.moveaxis(direction, -1, 0)
    shade = 1 + 0.25 * np.sin(7 * x + 2) * np.cos(5 * z) + 0.1 * np.sin(9 * y)
    return np.asarray(shade[..., None] * np.array([150.0, 105.0, 70.0]))


def orbit(count: int, height: float = 0.35) -> list[View]:
    views = []
    for k in range(count):
        angle = 2 * np.pi * k / count
        center = np.array([3.6 * np.sin(angle), height, 3.6 * np.cos(angle)])
        views.append(looking_at(center, np.zeros(3), UP, 340.0, (320, 240), name=f"{k:03d}.png"))
    return views


def photograph(mesh: Mesh, view: View) -> np.ndarray:
    depth, points, _ = cast(mesh, view)
    noise = np.random.default_rng(int(1e6 * abs(view.center[0]))).normal(0, 2, (*depth.shape, 1))
    color = np.where(np.isfinite(depth)[..., None], skin(points), np.array(SKY, float)) + noise
    return np.clip(np.rint(color), 0, 255).astype(np.uint8)


def crown_errors(textured: TexturedMesh) -> tuple[np.ndarray, np.ndarray]:
    """Errors of colours in gray levels, of the crown and of the rest above the neck."""
    points, colors = lookup(textured, random_weights(len(textured)))
    error = np.abs(colors - skin(points)).max(axis=1)
    up = points[:, 1] / np.linalg.norm(points, axis=1)
    return error[up > 0.9], error[np.abs(up) < 0.8]


@pytest.mark.parametrize("count", [8, 2])
def test_the_sky_is_not_painted_on_a_crown_that_is_too_high(count: int) -> None:
    views = orbit(count)
    photos = [photograph(head(0.0), view) for view in views]
    mesh = head(0.09)
    textured, _ = texture_mesh(
        mesh, views, rate(mesh, views, photos).candidates(), photos.__getitem__, texture_size=1024
    )
    crown, rest = crown_errors(textured)
    # 0.09 are 10 pixels. With the sky on it, a tenth of the crown is wrong by more than 100.
    assert np.quantile(crown, 0.98) < 45
    assert np.median(crown) < 15
    if count > 2:
        assert np.quantile(rest, 0.98) < 20


def test_colours_of_vertices_that_are_the_sky_s_are_not_used_either() -> None:
    views = orbit(8)
    photos = [photograph(head(0.0), view) for view in views]
    mesh = head(0.09)
    colors = np.clip(np.rint(skin(mesh.vertices)), 0, 255)
    colors[np.linalg.norm(mesh.vertices, axis=1) > 1.03] = SKY
    mesh = replace(mesh, colors=colors.astype(np.uint8))
    candidates = rate(mesh, views, photos).candidates()
    textured, _ = texture_mesh(mesh, views, candidates, photos.__getitem__, texture_size=1024)
    crown, _ = crown_errors(textured)
    assert np.quantile(crown, 0.98) < 45


def disks(outside: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A disk of 70 pixels in a photo, and what of the mesh's disk of 80 lies beyond it."""
    y, x = np.mgrid[:240, :320] + 0.5
    away = np.hypot(x - 160, y - 120)
    photo = np.where((away < 70)[..., None], inside, outside)
    nearest = np.where(away < 80, 0.5, 0.0).astype(np.float32)
    return nearest, np.clip(photo, 0, 255).astype(np.uint8), (away >= 70) & (away < 80)


def texture(mean: tuple[int, int, int], spread: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (240, 320))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.asarray(mean, float) + (spread * smooth / smooth.std())[..., None]


@pytest.mark.parametrize(
    ("outside", "inside"),
    [
        (texture(SKY, 3, 0), texture((120, 90, 60), 20, 1)),
        (texture((60, 80, 50), 18, 0), texture((205, 200, 195), 8, 1)),
        (texture((250, 250, 250), 2, 0), texture((170, 170, 165), 6, 1)),
    ],
    ids=["bronze before the sky", "marble before trees", "plaster before a white wall"],
)
def test_pixels_that_show_what_is_behind_are_found(outside: np.ndarray, inside: np.ndarray) -> None:
    nearest, photo, wrong = disks(outside, inside)
    found = shows_behind(nearest, photo)
    assert np.count_nonzero(found & wrong) > 0.9 * np.count_nonzero(wrong)
    # Around them one pixel more, which mixes both.
    assert np.count_nonzero(found & ~wrong) < 0.25 * np.count_nonzero(wrong)


def test_nothing_is_found_where_both_sides_look_alike() -> None:
    ground = texture((120, 110, 100), 25, 0)
    nearest, photo, _ = disks(ground, ground)
    assert shows_behind(nearest, photo).mean() < 0.001


def test_nothing_is_found_where_the_outline_is_right() -> None:
    nearest, photo, wrong = disks(texture(SKY, 3, 0), texture((120, 90, 60), 25, 1))
    assert shows_behind(np.where(wrong, 0, nearest).astype(np.float32), photo).mean() < 0.002


def test_what_is_behind_may_be_a_surface_too() -> None:
    nearest, photo, wrong = disks(texture(SKY, 3, 0), texture((120, 90, 60), 20, 1))
    found = shows_behind(np.where(nearest > 0, nearest, 0.3).astype(np.float32), photo)
    assert np.count_nonzero(found & wrong) > 0.9 * np.count_nonzero(wrong)


def test_a_photo_full_of_the_surface_and_one_without_it_have_no_outline() -> None:
    photo = texture((120, 110, 100), 25, 0).astype(np.uint8)
    for value in (0.0, 0.5):
        assert not shows_behind(np.full((240, 320), value, np.float32), photo).any()

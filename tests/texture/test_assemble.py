"""A box of known colours, photographed with other exposures, an occluder and a passer-by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recon3d.texture import texels
from recon3d.threads import Threads
from recon3d.types import Mesh, TexturedMesh, View
from tests.synthetic.box import box_mesh, joined, panel, photograph, rate, ring, true_color
from tests.texture.whole import texture_mesh


def lookup(mesh: TexturedMesh, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and their texture's colours at barycentric `weights` (F, 3) of each face."""
    points = np.einsum("fk,fkc->fc", weights, mesh.vertices[mesh.faces])
    uv = np.einsum("fk,fkc->fc", weights, mesh.uv[mesh.face_uv])
    height, width = mesh.texture.shape[:2]
    x, y = uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * height - 0.5
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    t = mesh.texture.astype(float)
    top = t[y0, x0] * (1 - fx) + t[y0, np.minimum(x0 + 1, width - 1)] * fx
    y1 = np.minimum(y0 + 1, height - 1)
    bottom = t[y1, x0] * (1 - fx) + t[y1, np.minimum(x0 + 1, width - 1)] * fx
    return points, top * (1 - fy) + bottom * fy


def random_weights(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet([1, 1, 1], count)


def errors(mesh: TexturedMesh) -> np.ndarray:
    """Colour error of each face, after one gain for each channel: absolute exposure cannot be known."""
    points, colors = lookup(mesh, random_weights(len(mesh)))
    truth = true_color(points)
    gain = np.median((truth / np.maximum(colors, 1))[points[:, 1] > -0.69], axis=0)
    return np.abs(colors * gain - truth).max(axis=1)


def exposures(count: int) -> np.ndarray:
    return np.random.default_rng(7).uniform(0.85, 1.15, (count, 3))


@pytest.fixture(scope="module")
def setting() -> tuple[Mesh, list[View], list[np.ndarray]]:
    mesh, views = box_mesh(20), ring(10)
    photos = [photograph(mesh, v, g) for v, g in zip(views, exposures(10), strict=True)]
    return mesh, views, photos


def test_levelling_evens_out_the_exposures(setting: tuple[Mesh, list[View], list[np.ndarray]]) -> None:
    mesh, views, photos = setting
    candidates = rate(mesh, views, photos).candidates()
    level, counts = texture_mesh(mesh, views, candidates, photos.__getitem__, texture_size=1024)
    raw, _ = texture_mesh(
        mesh, views, candidates, photos.__getitem__, texture_size=1024, seam_levelling=False
    )
    seen = candidates.counts > 0
    assert counts.faces_seen == seen.sum()
    assert counts.faces_unseen == (~seen).sum() >= 2 * 20 * 20
    assert np.median(errors(level)[seen]) < 1
    assert np.quantile(errors(level)[seen], 0.99) < 3
    assert np.quantile(errors(raw)[seen], 0.95) > 15


def test_coordinates_are_in_range_and_the_result_repeats_with_any_number_of_threads(
    setting: tuple[Mesh, list[View], list[np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh, views, photos = setting
    monkeypatch.setattr(texels, "_LEAST_CHARTS", 1)
    monkeypatch.setattr(texels, "_LEAST_ROWS", 16)
    results = []
    for count in (1, 3):
        candidates = rate(mesh, views, photos).candidates()
        with Threads(count) as threads:
            given = (mesh, views, candidates, photos.__getitem__)
            results.append(texture_mesh(*given, texture_size=1024, threads=threads)[0])
    first, second = results
    np.testing.assert_array_equal(first.texture, second.texture)
    np.testing.assert_array_equal(first.uv, second.uv)
    assert first.uv.min() >= 0
    assert first.uv.max() <= 1
    assert first.face_uv.min() >= 0
    assert first.face_uv.max() < len(first.uv)
    np.testing.assert_array_equal(first.faces, mesh.faces)


def test_faces_that_no_photo_sees_go_on_with_the_colours_around(
    setting: tuple[Mesh, list[View], list[np.ndarray]],
) -> None:
    mesh, views, photos = setting
    candidates = rate(mesh, views, photos).candidates()
    textured, _ = texture_mesh(mesh, views, candidates, photos.__getitem__, texture_size=1024)
    bottom = (mesh.vertices[mesh.faces][:, :, 1] < -0.699).all(axis=1)
    assert bottom.sum() == 800
    points, colors = lookup(textured, random_weights(len(mesh)))
    assert colors[bottom].min() > 30
    # Beside the bottom's edge the colours are those of the side next to it.
    edge = bottom & (np.abs(points[:, 2]) > 0.57)
    assert np.median(errors(textured)[edge]) < 18
    assert np.median(errors(textured)[edge]) < 0.5 * np.median(errors(textured)[bottom])
    # With colours of its own, the mesh keeps their pattern there.
    own = replace(mesh, colors=np.rint(true_color(mesh.vertices)).astype(np.uint8))
    textured, _ = texture_mesh(own, views, candidates, photos.__getitem__, texture_size=1024)
    assert np.median(errors(textured)[bottom]) < 15


def test_a_hidden_background_is_not_painted_by_what_is_in_front() -> None:
    scene = joined(box_mesh(20), panel((0.0, 0.0, 1.0)))
    views = ring(10)
    photos = [photograph(scene, v) for v in views]
    candidates = rate(scene, views, photos).candidates()
    textured, _ = texture_mesh(scene, views, candidates, photos.__getitem__, texture_size=1024)
    points, colors = lookup(textured, random_weights(len(scene)))
    red = np.abs(colors - true_color(np.array([0, 0, 1.0]))).max(axis=1) < 40
    box = points[:, 2] < 0.8
    assert not red[box & (candidates.counts > 0)].any()
    assert red[~box & (points[:, 2] > 0.995)].all()


def test_a_passer_by_is_not_painted(setting: tuple[Mesh, list[View], list[np.ndarray]]) -> None:
    mesh, views, photos = setting
    passed = [photo.copy() for photo in photos]
    passed[0][90:150, 130:200] = (255, 0, 255)
    candidates = rate(mesh, views, passed).candidates()
    textured, counts = texture_mesh(mesh, views, candidates, passed.__getitem__, texture_size=1024)
    _, colors = lookup(textured, random_weights(len(mesh)))
    magenta = (colors[:, 0] - colors[:, 1] > 120) & (colors[:, 2] - colors[:, 1] > 120)
    assert counts.outliers > 50
    assert not magenta[candidates.counts >= 3].any()


def test_a_small_texture_scales_the_photos(setting: tuple[Mesh, list[View], list[np.ndarray]]) -> None:
    mesh, views, photos = setting
    candidates = rate(mesh, views, photos).candidates()
    textured, counts = texture_mesh(mesh, views, candidates, photos.__getitem__, texture_size=256)
    assert textured.texture.shape == (256, 256, 3)
    assert counts.atlas_size == 256
    assert counts.scale < 1
    seen = candidates.counts > 0
    assert np.quantile(errors(textured)[seen], 0.9) < 5


def test_nothing_seen_gives_one_gray(setting: tuple[Mesh, list[View], list[np.ndarray]]) -> None:
    mesh, views, photos = setting
    none = rate(mesh, [], []).candidates()
    textured, counts = texture_mesh(mesh, views, none, photos.__getitem__, texture_size=1024)
    assert counts.faces_seen == counts.charts == counts.views_used == 0
    _, colors = lookup(textured, random_weights(len(mesh)))
    np.testing.assert_allclose(colors, 128)

from __future__ import annotations

import numpy as np
import pytest

from recon3d.texture import raster
from recon3d.texture.face_visibility import CandidateTable, ViewFaces, seen_faces
from recon3d.types import Mesh, View
from tests.synthetic.box import box_mesh, cast, joined, looking_at, panel, photograph, ring

UP = np.array([0.0, 1.0, 0.0])


def homogeneous(mesh: Mesh, view: View) -> np.ndarray:
    return mesh.vertices @ view.projection[:, :3].T + view.projection[:, 3]


def test_z_buffer_equals_ray_casting() -> None:
    mesh = joined(box_mesh(5), panel((0.1, 0.2, 1.0)))
    for view in ring(3):
        width, height = view.camera.width, view.camera.height
        inverse = raster.inverse_depth(homogeneous(mesh, view), mesh.faces, width, height)
        depth, _, _ = cast(mesh, view)
        # A pixel centre on an edge may fall to either side.
        differs = np.isfinite(depth) != (inverse > 0)
        assert differs.mean() < 1e-3
        both = np.isfinite(depth) & (inverse > 0)
        error = np.abs(1 / inverse[both] - depth[both])
        assert np.quantile(error, 0.999) < 1e-4
        assert both.mean() > 0.2


def test_z_buffer_with_triangles_that_pass_the_camera() -> None:
    # A floor that goes on behind the camera, 1 below it: below the horizon all pixels see it.
    floor = Mesh(
        np.array([[-50.0, -1, -50], [50, -1, -50], [50, -1, 50], [-50, -1, 50]]),
        np.array([[0, 2, 1], [0, 3, 2]], np.int32),
    )
    view = looking_at(np.zeros(3), np.array([0, 0, -1.0]), UP, 100.0, (64, 48))
    inverse = raster.inverse_depth(homogeneous(floor, view), floor.faces, 64, 48)
    rows = np.arange(48) + 0.5 - 24
    expected = np.where(rows / 100 > 1 / 50, rows / 100, 0)
    np.testing.assert_allclose(inverse, np.broadcast_to(expected[:, None], (48, 64)), atol=1e-6)


def naive_shares(mesh: Mesh, view: View) -> np.ndarray:
    """Share of each face's own pixels in which ray casting meets no other face first."""
    first = cast(mesh, view)[0]
    shares = np.full(len(mesh), np.nan)
    for f in range(len(mesh)):
        alone = cast(Mesh(mesh.vertices, mesh.faces[f : f + 1]), view)[0]
        covered = np.isfinite(alone)
        if covered.sum() >= 4:
            shares[f] = np.mean(first[covered] >= alone[covered] - 1e-3)
    return shares


def test_seen_faces_equal_a_ray_casting_twin() -> None:
    mesh = joined(box_mesh(4), panel((0.1, 0.2, 1.0)))
    view = ring(5, size=(160, 120))[0]
    seen = seen_faces(mesh, view, photograph(mesh, view))
    shares = naive_shares(mesh, view)
    corners = mesh.vertices[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    toward = view.center - corners.mean(axis=1)
    length = np.linalg.norm(normal, axis=1) * np.linalg.norm(toward, axis=1)
    cosine = np.einsum("ij,ij->i", normal, toward) / length
    sure = ~np.isnan(shares) & (np.abs(shares - 0.75) > 0.1) & (np.abs(cosine - 0.1) > 0.02)
    expected = (shares > 0.75) & (cosine > 0.1)
    got = np.isin(np.arange(len(mesh)), seen.faces)
    assert sure.sum() > 60
    assert expected[sure].sum() > 20
    np.testing.assert_array_equal(got[sure], expected[sure])


def test_faces_outside_behind_and_invalid_are_not_seen() -> None:
    mesh = box_mesh(4)
    view = ring(4, size=(160, 120))[0]
    photo = photograph(mesh, view)
    assert len(seen_faces(mesh, view, photo).faces)
    none = seen_faces(mesh, view, photo, valid=np.zeros(len(mesh.vertices), bool))
    assert len(none.faces) == 0
    inside_out = Mesh(mesh.vertices, mesh.faces[:, ::-1].copy())
    turned = seen_faces(inside_out, view, photo).faces
    assert not np.intersect1d(turned, seen_faces(mesh, view, photo).faces).size
    view = looking_at(view.center, 2 * view.center, UP, 100.0, (160, 120))
    assert len(seen_faces(mesh, view, photo).faces) == 0


def test_quality_prefers_close_frontal_and_sharp() -> None:
    square = panel((0.0, 0.0, 0.0))
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)

    def quality(center: tuple[float, float, float], photo: np.ndarray) -> float:
        view = looking_at(np.array(center), np.zeros(3), UP, 200.0, (160, 120))
        return float(seen_faces(square, view, photo).quality.mean())

    frontal = quality((0, 0, 2), noise)
    assert frontal > 1.2 * quality((0, 0, 3), noise)
    assert frontal > 1.2 * quality((1.6, 0, 1.2), noise)
    assert frontal > 2 * quality((0, 0, 2), np.full_like(noise, 128))


def test_the_background_beside_an_outline_counts_little() -> None:
    wall = joined(box_mesh(24), panel((0.0, 0.0, 1.4), half=0.2))
    view = looking_at(np.array([0, 0, 4.0]), np.zeros(3), UP, 300.0, (320, 240))
    seen = seen_faces(wall, view, photograph(wall, view))
    middle = wall.vertices[wall.faces[seen.faces]].mean(axis=1)
    front = np.abs(middle[:, 2] - 0.6) < 1e-6
    # The panel's outline as it falls on the wall.
    distance = np.abs(np.abs(middle[:, :2]).max(axis=1) - 0.2 * 3.4 / 2.6)
    per_area = seen.quality / seen.area
    beside, away = front & (distance < 0.02), front & (distance > 0.2)
    assert beside.sum() > 5
    assert per_area[beside].max() < 0.5 * np.median(per_area[away])


@pytest.mark.parametrize("size", [1, 3, 8])
def test_candidate_table_keeps_the_best(size: int) -> None:
    rng = np.random.default_rng(1)
    table = CandidateTable(20, size)
    kept: list[list[tuple[int, float]]] = [[] for _ in range(20)]
    largest = np.zeros(20)
    for view in range(12):
        faces = np.flatnonzero(rng.random(20) < 0.6).astype(np.int32)
        quality = rng.random(len(faces)).astype(np.float32)
        color = np.full((len(faces), 3), view, np.uint8)
        area = rng.random(len(faces)).astype(np.float32)
        table.add(view, ViewFaces(faces, quality, color, area))
        largest[faces] = np.maximum(largest[faces], area)
        for f, q in zip(faces, quality, strict=True):
            kept[f].append((view, float(q)))
    candidates = table.candidates()
    np.testing.assert_allclose(candidates.pixels, largest)
    for f, entries in enumerate(kept):
        best = sorted(sorted(entries, key=lambda e: -e[1])[:size])
        count = candidates.counts[f]
        assert candidates.view[f, :count].tolist() == [v for v, _ in best]
        np.testing.assert_allclose(candidates.quality[f, :count], [q for _, q in best])
        assert candidates.color[f, :count, 0].tolist() == [v for v, _ in best]
        assert (candidates.view[f, count:] == -1).all()

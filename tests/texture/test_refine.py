from __future__ import annotations

import numpy as np

from recon3d.texture.refine import pixel_sizes, split_large_faces
from recon3d.texture.topology import face_pairs
from recon3d.types import Mesh
from tests.synthetic.box import box_mesh, ring


def area(mesh: Mesh) -> float:
    c = mesh.vertices[mesh.faces]
    return float(np.linalg.norm(np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]), axis=1).sum() / 2)


def edge_pixels(mesh: Mesh, pixel: np.ndarray) -> np.ndarray:
    ends = np.stack([mesh.faces, mesh.faces[:, [1, 2, 0]]], axis=-1)
    length = np.linalg.norm(mesh.vertices[ends[..., 0]] - mesh.vertices[ends[..., 1]], axis=-1)
    return length / pixel[ends].mean(axis=-1)


def test_long_edges_are_halved_without_cracks() -> None:
    views = ring(5)
    coarse = box_mesh(1)
    colors = np.random.default_rng(0).integers(0, 255, (8, 3)).astype(np.uint8)
    coarse = Mesh(coarse.vertices, coarse.faces, colors)
    fine, _ = split_large_faces(coarse, views, max_edge=50.0)
    assert edge_pixels(coarse, pixel_sizes(coarse.vertices, views)).max() > 200
    # Pixel sizes are interpolated on the way, so that the bound holds up to a few per cent.
    assert edge_pixels(fine, pixel_sizes(fine.vertices, views)).max() < 60
    assert np.isclose(area(fine), area(coarse))
    assert len(face_pairs(fine.faces)) == 3 * len(fine) // 2
    np.testing.assert_array_equal(fine.vertices[:8], coarse.vertices)
    assert fine.colors is not None
    assert len(fine.colors) == len(fine.vertices)
    # Normals point as before.
    c = fine.vertices[fine.faces]
    normal = np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0])
    assert (np.einsum("ij,ij->i", normal, c.mean(axis=1)) > 0).all()


def test_a_mesh_of_small_faces_is_left_alone() -> None:
    mesh = box_mesh(8)
    assert split_large_faces(mesh, ring(4), max_edge=500.0)[0] is mesh
    assert split_large_faces(mesh, [])[0] is mesh


def test_the_number_of_faces_is_bounded() -> None:
    mesh = box_mesh(1)
    fine, _ = split_large_faces(mesh, ring(4), max_edge=0.5)
    assert 10_000 < len(fine) <= 2 * len(mesh) + 10_000 + 2

"""What is left of a cloud or a surface when only so much is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.conversion import split_at_seams
from recon3d.rendering.texels import nearest_texels
from recon3d.types import Bytes, Floats, Mesh, PointCloud, TexturedMesh


@dataclass(frozen=True)
class Budget:
    """How much is sent: at most so many points, triangles and texture pixels a side."""

    points: int = 1_000_000
    faces: int = 500_000
    texture: int = 4096


def cluster_vertices(mesh: Mesh, max_faces: int) -> Mesh:
    """Coarsen a mesh: the vertices of each grid cell become their mean.

    Parameters
    ----------
    mesh : Mesh
    max_faces : int
        Most faces of the result.

    Returns
    -------
    Mesh

    Notes
    -----
    Rossignac and Borrel, "Multi-resolution 3D approximations for rendering complex scenes", 1993.
    """
    if len(mesh.faces) <= max_faces:
        return mesh
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    area = float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2
    # A surface of n cells has about 2 n triangles.
    cell = (2 * area / max_faces) ** 0.5 or 1e-9
    while True:
        keys = np.floor((mesh.vertices - mesh.vertices.min(axis=0)) / cell).astype(np.int64)
        sizes = keys.max(axis=0) + 1
        flat = (keys[:, 0] * sizes[1] + keys[:, 1]) * sizes[2] + keys[:, 2]
        _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
        faces = inverse[mesh.faces]
        whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        if whole.sum() <= max_faces:
            break
        cell *= 1.2

    def mean(values: NDArray[np.generic]) -> Floats:
        columns = [np.bincount(inverse, values[:, i].astype(np.float64)) / counts for i in range(3)]
        return np.stack(columns, axis=1)

    colors = None if mesh.colors is None else mean(mesh.colors).round().astype(np.uint8)
    return Mesh(mean(mesh.vertices), faces[whole].astype(np.int32), colors)


def finite_points(cloud: PointCloud, notes: list[str]) -> PointCloud:
    """Leave out points that are nowhere, as other programs' files may have them.

    Parameters
    ----------
    cloud : PointCloud
    notes : list of str
        Receives how many were left out, in words.

    Returns
    -------
    PointCloud
    """
    finite: NDArray[np.bool_] = np.all(np.isfinite(cloud.points), axis=1)
    if finite.all():
        return cloud
    notes.append(f"{np.sum(~finite):,} points without finite coordinates left out")
    colors = None if cloud.colors is None else cloud.colors[finite]
    return PointCloud(cloud.points[finite], colors=colors)


def finite_mesh(mesh: Mesh | TexturedMesh, notes: list[str]) -> Mesh | TexturedMesh:
    """Leave out triangles that are nowhere, as other programs' files may have them.

    Parameters
    ----------
    mesh : Mesh or TexturedMesh
    notes : list of str
        Receives how many were left out, in words.

    Returns
    -------
    Mesh or TexturedMesh
    """
    finite: NDArray[np.bool_] = np.all(np.isfinite(mesh.vertices), axis=1)
    if finite.all():
        return mesh
    whole = finite[mesh.faces].all(axis=1)
    notes.append(f"{np.sum(~whole):,} triangles without finite coordinates left out")
    # No triangle that is left uses the others; they only must not count as extent.
    somewhere = np.median(mesh.vertices[finite], axis=0) if finite.any() else np.zeros(3)
    vertices = np.where(finite[:, None], mesh.vertices, somewhere)
    if isinstance(mesh, TexturedMesh):
        return replace(mesh, vertices=vertices, faces=mesh.faces[whole], face_uv=mesh.face_uv[whole])
    return replace(mesh, vertices=vertices, faces=mesh.faces[whole])


def thin_points(cloud: PointCloud, origin: Floats, budget: Budget, notes: list[str]) -> dict[str, object]:
    """Choose the points that are sent.

    Parameters
    ----------
    cloud : PointCloud
    origin : ndarray of float64, shape (3,)
        Subtracted from all positions.
    budget : Budget
    notes : list of str
        Receives what was thinned, in words.

    Returns
    -------
    dict of str to object
        Fields of `Content`.
    """
    if len(cloud) > budget.points:
        notes.append(f"{budget.points:,} of {len(cloud):,} points")
    keep = np.random.default_rng(0).permutation(len(cloud))[: budget.points]
    colors = None if cloud.colors is None else cloud.colors[keep]
    return {"points": (cloud.points[keep] - origin).astype(np.float32), "point_colors": colors}


def thin_mesh(
    mesh: Mesh | TexturedMesh, origin: Floats, budget: Budget, notes: list[str]
) -> dict[str, object]:
    """Coarsen the surface that is sent.

    Parameters
    ----------
    mesh : Mesh or TexturedMesh
    origin : ndarray of float64, shape (3,)
        Subtracted from all positions.
    budget : Budget
    notes : list of str
        Receives what was thinned, in words.

    Returns
    -------
    dict of str to object
        Fields of `Content`.
    """
    if isinstance(mesh, TexturedMesh):
        return _textured(mesh, origin, budget, notes)
    return _plain(mesh, origin, budget, notes)


def _plain(mesh: Mesh, origin: Floats, budget: Budget, notes: list[str]) -> dict[str, object]:
    coarse = cluster_vertices(mesh, budget.faces)
    if coarse is not mesh:
        notes.append(f"{len(coarse.faces):,} of {len(mesh.faces):,} triangles")
    return {
        "vertices": (coarse.vertices - origin).astype(np.float32),
        "faces": coarse.faces.astype(np.uint32),
        "vertex_colors": coarse.colors,
    }


def _textured(mesh: TexturedMesh, origin: Floats, budget: Budget, notes: list[str]) -> dict[str, object]:
    if len(mesh.faces) > budget.faces:
        plain = Mesh(mesh.vertices, mesh.faces, _vertex_colors(mesh))
        notes.append("its vertices' colours instead of the texture")
        return _plain(plain, origin, budget, notes)
    vertices, uv, faces = split_at_seams(mesh)
    texture = mesh.texture
    scale = budget.texture / max(texture.shape[:2])
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in texture.shape[:2])
        notes.append(f"texture {width} x {height} of {texture.shape[1]} x {texture.shape[0]}")
        texture = np.asarray(cv2.resize(texture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return {
        "vertices": (vertices - origin).astype(np.float32),
        "faces": faces.astype(np.uint32),
        "uv": uv,
        "texture": texture,
    }


def _vertex_colors(mesh: TexturedMesh) -> Bytes:
    colors = np.zeros((len(mesh.vertices), 3), np.uint8)
    colors[mesh.faces.ravel()] = nearest_texels(mesh.texture, mesh.uv)[mesh.face_uv.ravel()]
    return colors

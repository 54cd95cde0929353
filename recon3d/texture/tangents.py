"""Normals and tangents of a textured surface: the frames in which normal maps are read.

Tangents follow MikkTSpace [1]_: programs that compute tangents by themselves get the same.

References
----------
.. [1] Mikkelsen, Simulation of Wrinkled Surfaces Revisited, 2008.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recon3d.conversion import split_at_seams
from recon3d.kernels import kernel
from recon3d.surface.normals import vertex_normals
from recon3d.types import Floats, Floats32, Ints, Mesh, TexturedMesh

_compiled = kernel(_nrt=False)


@dataclass(frozen=True, eq=False)
class ShadedMesh:
    """A mesh as graphics processors want it: one vertex for each pair of vertex and texture coordinate.

    Parameters
    ----------
    vertices : ndarray of float64, shape (W, 3)
    normals : ndarray of float32, shape (W, 3)
        Unit vectors. A seam of the texture is no edge.
    tangents : ndarray of float32, shape (W, 4)
        As `vertex_tangents` gives them.
    uv : ndarray of float32, shape (W, 2)
        (0, 0) is the lower left corner of the texture.
    faces : ndarray of int64, shape (F, 3)
    """

    vertices: Floats
    normals: Floats32
    tangents: Floats32
    uv: Floats32
    faces: NDArray[np.int64]


def split_for_shading(mesh: TexturedMesh) -> ShadedMesh:
    """Split a mesh where its texture has seams.

    Parameters
    ----------
    mesh : TexturedMesh

    Returns
    -------
    ShadedMesh
    """
    both = np.hstack([mesh.vertices, shading_normals(Mesh(mesh.vertices, mesh.faces))])
    split, uv, faces = split_at_seams(replace(mesh, vertices=both))
    vertices, normals = np.ascontiguousarray(split[:, :3]), split[:, 3:].astype(np.float32)
    return ShadedMesh(vertices, normals, vertex_tangents(vertices, normals, uv, faces), uv, faces)


def shading_normals(mesh: Mesh) -> Floats32:
    """Compute normals that all are of length 1, as glTF asks for.

    Parameters
    ----------
    mesh : Mesh

    Returns
    -------
    ndarray of float32, shape (V, 3)
        Those of vertices without faces of any area are +y.
    """
    normals = vertex_normals(mesh)
    normals[np.linalg.norm(normals, axis=1) < 0.5] = 0.0, 1.0, 0.0
    return normals


def vertex_tangents(
    vertices: Floats, normals: Floats32, uv: Floats32, faces: Ints | NDArray[np.int64]
) -> Floats32:
    """Compute the direction in which u grows, and on which side v does.

    Parameters
    ----------
    vertices : ndarray of float64, shape (W, 3)
        Each with one texture coordinate; see `recon3d.conversion.split_at_seams`.
    normals : ndarray of float32, shape (W, 3)
        Unit vectors.
    uv : ndarray of float32, shape (W, 2)
        (0, 0) is the lower left corner of the texture.
    faces : ndarray of int, shape (F, 3)

    Returns
    -------
    ndarray of float32, shape (W, 4)
        Unit tangents, orthogonal to the normals; and 1, or -1 where the texture is mirrored: v grows
        along this times the cross product of normal and tangent. Where faces have no area in the
        texture, any tangent.
    """
    sums = np.zeros((len(vertices), 4))
    _add_tangents(vertices, normals, uv, np.asarray(faces, np.int32), sums)
    length = np.linalg.norm(sums[:, :3], axis=1)
    lost = np.flatnonzero(length < 1e-6)
    # The axis that is least along the normal, turned into its plane.
    axis = np.eye(3)[np.abs(normals[lost]).argmin(axis=1)]
    along = np.einsum("nc,nc->n", axis, normals[lost])
    sums[lost, :3] = axis - along[:, None] * normals[lost]
    sums[:, :3] /= np.linalg.norm(sums[:, :3], axis=1, keepdims=True)
    sums[:, 3] = np.where(sums[:, 3] < 0, -1.0, 1.0)
    return sums.astype(np.float32)


@_compiled
def _add_tangents(vertices: Floats, normals: Floats32, uv: Floats32, faces: Ints, sums: Floats) -> None:
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        # float32 would lose the area of faces that are small in the texture.
        au, av = np.float64(uv[a, 0]), np.float64(uv[a, 1])
        bu, bv = uv[b, 0] - au, uv[b, 1] - av
        cu, cv = uv[c, 0] - au, uv[c, 1] - av
        area = bu * cv - bv * cu
        if area == 0.0:
            continue
        side = 1.0 if area > 0.0 else -1.0
        tx = side * ((vertices[b, 0] - vertices[a, 0]) * cv - (vertices[c, 0] - vertices[a, 0]) * bv)
        ty = side * ((vertices[b, 1] - vertices[a, 1]) * cv - (vertices[c, 1] - vertices[a, 1]) * bv)
        tz = side * ((vertices[b, 2] - vertices[a, 2]) * cv - (vertices[c, 2] - vertices[a, 2]) * bv)
        for k in range(3):
            v, left, right = faces[f, k], faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
            nx, ny, nz = np.float64(normals[v, 0]), np.float64(normals[v, 1]), np.float64(normals[v, 2])
            along = tx * nx + ty * ny + tz * nz
            x, y, z = tx - along * nx, ty - along * ny, tz - along * nz
            length = math.sqrt(x * x + y * y + z * z)
            if length <= 0.0:
                continue
            # The angle of the corner, seen along the normal.
            px, py, pz = (
                vertices[left, 0] - vertices[v, 0],
                vertices[left, 1] - vertices[v, 1],
                vertices[left, 2] - vertices[v, 2],
            )
            qx, qy, qz = (
                vertices[right, 0] - vertices[v, 0],
                vertices[right, 1] - vertices[v, 1],
                vertices[right, 2] - vertices[v, 2],
            )
            along = px * nx + py * ny + pz * nz
            px, py, pz = px - along * nx, py - along * ny, pz - along * nz
            along = qx * nx + qy * ny + qz * nz
            qx, qy, qz = qx - along * nx, qy - along * ny, qz - along * nz
            lengths = math.sqrt((px * px + py * py + pz * pz) * (qx * qx + qy * qy + qz * qz))
            if lengths <= 0.0:
                continue
            angle = math.acos(min(max((px * qx + py * qy + pz * qz) / lengths, -1.0), 1.0))
            sums[v, 0] += angle * x / length
            sums[v, 1] += angle * y / length
            sums[v, 2] += angle * z / length
            sums[v, 3] += angle * side

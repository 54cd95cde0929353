"""Meshes and clouds as objects of trimesh and Open3D."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import EngineUnavailable

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]


class _Mesh(Protocol):
    @property
    def vertices(self) -> Floats: ...
    @property
    def faces(self) -> Ints: ...
    @property
    def colors(self) -> Bytes | None: ...
    @property
    def normals(self) -> Floats32 | None: ...


class _TexturedMesh(Protocol):
    @property
    def vertices(self) -> Floats: ...
    @property
    def faces(self) -> Ints: ...
    @property
    def uv(self) -> Floats32: ...
    @property
    def face_uv(self) -> Ints: ...
    @property
    def texture(self) -> Bytes: ...


class _Cloud(Protocol):
    @property
    def points(self) -> Floats: ...
    @property
    def normals(self) -> Floats32 | None: ...
    @property
    def colors(self) -> Bytes | None: ...


def trimesh_of(mesh: _Mesh) -> Any:
    """Convert a mesh with the colours and normals of its vertices.

    Parameters
    ----------
    mesh : Mesh

    Returns
    -------
    trimesh.Trimesh
    """
    trimesh = _trimesh()
    return trimesh.Trimesh(
        mesh.vertices, mesh.faces, vertex_normals=mesh.normals, vertex_colors=mesh.colors, process=False
    )


def textured_trimesh_of(mesh: _TexturedMesh) -> Any:
    """Convert a mesh with its texture; vertices are split where the texture has a seam.

    Parameters
    ----------
    mesh : TexturedMesh

    Returns
    -------
    trimesh.Trimesh
    """
    trimesh = _trimesh()
    from PIL import Image

    vertices, uv, faces = split_at_seams(mesh)
    material = trimesh.visual.material.SimpleMaterial(image=Image.fromarray(mesh.texture))
    visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    return trimesh.Trimesh(vertices, faces, visual=visual, process=False)


def open3d_of(mesh: _Mesh) -> Any:
    """Convert a mesh with the colours and normals of its vertices.

    Parameters
    ----------
    mesh : Mesh

    Returns
    -------
    open3d.geometry.TriangleMesh
    """
    import open3d as o3d

    made = _plain_open3d(mesh.vertices, mesh.faces)
    if mesh.colors is not None:
        made.vertex_colors = o3d.utility.Vector3dVector(mesh.colors / 255.0)
    if mesh.normals is not None:
        made.vertex_normals = o3d.utility.Vector3dVector(mesh.normals.astype(np.float64))
    return made


def textured_open3d_of(mesh: _TexturedMesh) -> Any:
    """Convert a mesh with its texture.

    Parameters
    ----------
    mesh : TexturedMesh

    Returns
    -------
    open3d.geometry.TriangleMesh
    """
    import open3d as o3d

    made = _plain_open3d(mesh.vertices, mesh.faces)
    made.triangle_uvs = o3d.utility.Vector2dVector(mesh.uv[mesh.face_uv.ravel()].astype(np.float64))
    made.triangle_material_ids = o3d.utility.IntVector(np.zeros(len(mesh.faces), np.int32))
    # Open3D looks up v from the first row of the picture.
    flipped: Any = np.ascontiguousarray(mesh.texture[::-1])
    made.textures = [o3d.geometry.Image(flipped)]
    return made


def open3d_cloud_of(cloud: _Cloud) -> Any:
    """Convert a cloud with its colours and normals.

    Parameters
    ----------
    cloud : PointCloud

    Returns
    -------
    open3d.geometry.PointCloud
    """
    import open3d as o3d

    made = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud.points))
    if cloud.colors is not None:
        made.colors = o3d.utility.Vector3dVector(cloud.colors / 255.0)
    if cloud.normals is not None:
        made.normals = o3d.utility.Vector3dVector(cloud.normals.astype(np.float64))
    return made


def split_at_seams(mesh: _TexturedMesh) -> tuple[Floats, Floats32, NDArray[np.int64]]:
    """Make one vertex of each pair of vertex and texture coordinate.

    Parameters
    ----------
    mesh : TexturedMesh

    Returns
    -------
    vertices : ndarray of float64, shape (W, 3)
    uv : ndarray of float32, shape (W, 2)
        (0, 0) is the lower left corner of the texture.
    faces : ndarray of int64, shape (F, 3)
    """
    pair = mesh.faces.astype(np.int64) * len(mesh.uv) + mesh.face_uv
    pairs, faces = np.unique(pair, return_inverse=True)
    uv = mesh.uv[pairs % len(mesh.uv)].astype(np.float32)
    return mesh.vertices[pairs // len(mesh.uv)], uv, faces.reshape(-1, 3)


def _plain_open3d(vertices: Floats, faces: Ints) -> Any:
    import open3d as o3d

    return o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(vertices), o3d.utility.Vector3iVector(faces.astype(np.int32))
    )


def _trimesh() -> Any:
    try:
        import trimesh
    except ImportError as error:
        raise EngineUnavailable("trimesh is not installed.", "pip install trimesh") from error
    return trimesh

"""Pictures of clouds and meshes without a graphics card: for reports, documents and tests."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.rendering.occlusion import ambient_light
from recon3d.rendering.splatting import Bytes, Floats, PinholeCamera, background, splat_points

Floats32 = NDArray[np.float32]

_PLAIN = np.array([196.0, 192.0, 186.0])


class Cloud(Protocol):
    """Points to draw."""

    @property
    def points(self) -> Floats:
        """Positions, shape (N, 3)."""
        ...

    @property
    def colors(self) -> Bytes | None:
        """RGB, shape (N, 3)."""
        ...


class Surface(Protocol):
    """Triangles to draw: with a texture, with colours of their vertices, or plain."""

    @property
    def vertices(self) -> Floats:
        """Positions, shape (V, 3)."""
        ...

    @property
    def faces(self) -> NDArray[np.int32]:
        """Indices of vertices, shape (F, 3)."""
        ...


def render_points(
    cloud: Cloud, camera: PinholeCamera, cam_from_world: Floats, *, radius: float | None = None
) -> Bytes:
    """Picture of a cloud: square splats, the nearest in front.

    Parameters
    ----------
    cloud : PointCloud
    camera : Camera
        Pinhole.
    cam_from_world : ndarray of float64, shape (4, 4)
    radius : float, optional
        Radius of a point in the world; by default such that a typical cloud closes.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    return splat_points(cloud.points, cloud.colors, camera, cam_from_world, radius=radius)


def render_mesh(
    mesh: Surface,
    camera: PinholeCamera,
    cam_from_world: Floats,
    *,
    shaded: bool | None = None,
    fine: bool = False,
) -> Bytes:
    """Picture of a mesh by ray casting.

    Parameters
    ----------
    mesh : Mesh or TexturedMesh
    camera : Camera
        Pinhole.
    cam_from_world : ndarray of float64, shape (4, 4)
    shaded : bool, optional
        Light the surface from the camera; by default meshes are, textured ones are not.
    fine : bool
        Smooth edges, and soft shadows in corners.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    drawn = mesh_layer(mesh, camera, cam_from_world, shaded=shaded, fine=fine)
    return over(drawn, background(camera))


def over(layer: Bytes, picture: Bytes) -> Bytes:
    """Lay a partly transparent picture over another.

    Parameters
    ----------
    layer : ndarray of uint8, shape (H, W, 4)
        RGB and opacity.
    picture : ndarray of uint8, shape (H, W, 3)

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    opacity = layer[..., 3:].astype(np.float64) / 255
    mixed: Bytes = np.rint(opacity * layer[..., :3] + (1 - opacity) * picture).astype(np.uint8)
    return mixed


def mesh_layer(
    mesh: Surface,
    camera: PinholeCamera,
    cam_from_world: Floats,
    *,
    shaded: bool | None = None,
    fine: bool = False,
) -> Bytes:
    """Picture of a mesh without a background.

    Parameters
    ----------
    mesh : Mesh or TexturedMesh
    camera : Camera
        Pinhole.
    cam_from_world : ndarray of float64, shape (4, 4)
    shaded : bool, optional
        Light the surface from the camera; by default meshes are, textured ones are not.
    fine : bool
        Smooth edges, and soft shadows in corners.

    Returns
    -------
    ndarray of uint8, shape (H, W, 4)
        RGB and opacity.
    """
    finer = 2 if fine else 1
    width, height = camera.width, camera.height
    color, hit, depth, normal = _cast(mesh, width, height, camera.K, finer, cam_from_world, shaded)
    if fine:
        light = ambient_light(depth[::2, ::2], normal[::2, ::2], float(camera.K[0, 0]))
        color *= light.repeat(2, axis=0).repeat(2, axis=1)[..., None]
    # Colours count as much as they cover.
    covered = hit.reshape(height, finer, width, finer).mean(axis=(1, 3))
    summed = (color * hit[..., None]).reshape(height, finer, width, finer, 3).mean(axis=(1, 3))
    out = np.empty((height, width, 4), np.uint8)
    out[..., :3] = np.clip(np.rint(summed / np.maximum(covered, 1e-9)[..., None]), 0, 255)
    out[..., 3] = np.rint(255 * covered)
    return out


def _cast(
    mesh: Surface,
    width: int,
    height: int,
    K: Floats,
    finer: int,
    cam_from_world: Floats,
    shaded: bool | None,
) -> tuple[Floats32, NDArray[np.bool_], Floats32, Floats32]:
    """Colour, whether there is any, depth and normal of each pixel, `finer` of them a side in one."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    tensor = o3d.core.Tensor.from_numpy
    scene.add_triangles(tensor(mesh.vertices.astype(np.float32)), tensor(mesh.faces.astype(np.uint32)))
    v, u = ((np.mgrid[0 : height * finer, 0 : width * finer] + 0.5) / finer).astype(np.float32)
    directions = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], axis=-1)
    directions = directions.astype(np.float32)
    rotation = cam_from_world[:3, :3]
    rays = np.empty((*u.shape, 6), np.float32)
    rays[..., :3], rays[..., 3:] = -rotation.T @ cam_from_world[:3, 3], directions @ rotation
    cast = scene.cast_rays(tensor(rays))
    # Directions have a z of one, so that the ray's parameter is the depth.
    depth = cast["t_hit"].numpy()
    hit = np.isfinite(depth)
    face = cast["primitive_ids"].numpy()[hit].astype(np.int64)
    uv = cast["primitive_uvs"].numpy()[hit]
    weights = np.stack([1 - uv.sum(axis=1), uv[:, 0], uv[:, 1]], axis=1)
    texture: Bytes | None = getattr(mesh, "texture", None)
    colors: Bytes | None = getattr(mesh, "colors", None)
    picture = np.zeros((*hit.shape, 3), np.float32)
    if texture is not None:
        uv_of, corner_of = mesh.uv, mesh.face_uv  # type: ignore[attr-defined]
        places = np.zeros((*hit.shape, 2), np.float32)
        places[hit] = np.einsum("nk,nkc->nc", weights, uv_of[corner_of[face]])
        picture[hit] = _sample(texture, places)[hit]
    elif colors is not None and shaded is not True:
        picture[hit] = np.einsum("nk,nkc->nc", weights, colors[mesh.faces[face]].astype(np.float32))
    else:
        picture[hit] = _PLAIN
    normal = np.zeros((*hit.shape, 3), np.float32)
    normal[hit] = cast["primitive_normals"].numpy()[hit] @ rotation.T.astype(np.float32)
    toward = -np.einsum("hwc,hwc->hw", normal, directions) / np.linalg.norm(directions, axis=-1)
    normal *= np.where(toward < 0, -1, 1).astype(np.float32)[..., None]
    if shaded if shaded is not None else texture is None:
        picture *= (0.35 + 0.65 * np.abs(toward)).astype(np.float32)[..., None]
    return picture, hit, depth, normal


def _sample(texture: Bytes, uv: Floats32) -> Floats32:
    """Bilinear lookup; (0, 0) is the texture's lower left corner."""
    height, width = texture.shape[:2]
    x, y = uv[..., 0] * width - 0.5, (1 - uv[..., 1]) * height - 0.5
    found = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)

"""Pictures of clouds and meshes without a graphics card: for reports, documents and tests."""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.rendering.occlusion import ambient_light
from recon3d.rendering.splatting import Bytes, Floats, PinholeCamera, background, splat_points

Floats32 = NDArray[np.float32]
Ints = NDArray[np.int32]

_PLAIN = np.array([196.0, 192.0, 186.0])
#: Rows of a picture that are drawn at once, and places of a texture in a row: memory, and OpenCV, want few.
_BAND, _WIDEST = 120, 4096


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
    textured = getattr(mesh, "texture", None) is not None
    lit = not textured if shaded is None else shaded
    scene = raycasting_scene(mesh.vertices, mesh.faces)
    color = np.zeros((height * finer, width * finer, 3), np.float32)
    hit = np.zeros(color.shape[:2], bool)
    depth, normal = np.zeros((height, width), np.float32), np.zeros((height, width, 3), np.float32)
    for first in range(0, height, _BAND):
        rows = slice(first, min(first + _BAND, height))
        fine_rows = slice(rows.start * finer, rows.stop * finer)
        rays, directions = _rays(camera, cam_from_world, fine_rows, finer)
        cast = {name: value.numpy() for name, value in scene.cast_rays(rays).items()}
        # Directions have a z of one, so that the ray's parameter is the depth.
        met = np.isfinite(cast["t_hit"])
        hit[fine_rows], depth[rows] = met, cast["t_hit"][::finer, ::finer]
        if not met.any():
            continue
        shades = _colors(mesh, cast["primitive_ids"][met], cast["primitive_uvs"][met], plain=shaded is True)
        rotation = cam_from_world[:3, :3].T.astype(np.float32)
        if lit:
            _, toward = _facing(cast["primitive_normals"][met] @ rotation, directions[met])
            shades *= (0.35 + 0.65 * toward)[:, None]
        color[fine_rows][met] = shades
        if fine:
            some = (slice(None, None, finer),) * 2
            facing, _ = _facing(
                cast["primitive_normals"][some][met[some]] @ rotation, directions[some][met[some]]
            )
            normal[rows][met[some]] = facing
    if fine:
        light = ambient_light(depth, normal, float(camera.K[0, 0]))
        color *= light.repeat(finer, axis=0).repeat(finer, axis=1)[..., None]
    # Colours count as much as they cover.
    covered, summed = np.zeros((height, width)), np.zeros((height, width, 3), np.float32)
    for y in range(finer):
        for x in range(finer):
            covered += hit[y::finer, x::finer]
            summed += color[y::finer, x::finer]
    out = np.empty((height, width, 4), np.uint8)
    out[..., :3] = np.clip(np.rint(summed / np.maximum(covered, 1e-9)[..., None]), 0, 255)
    out[..., 3] = np.rint(255 / finer**2 * covered)
    return out


def raycasting_scene(vertices: Floats, faces: Ints) -> Any:
    """Make ready a surface that rays are cast on.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)

    Returns
    -------
    open3d.t.geometry.RaycastingScene
    """
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    tensor = o3d.core.Tensor.from_numpy
    scene.add_triangles(tensor(vertices.astype(np.float32)), tensor(faces.astype(np.uint32)))
    return scene


def _rays(camera: PinholeCamera, cam_from_world: Floats, rows: slice, finer: int) -> tuple[Any, Floats32]:
    """Rays through some rows of pixels, `finer` of them a side of a pixel, and their directions."""
    import open3d as o3d

    K, rotation = camera.K, cam_from_world[:3, :3].astype(np.float32)
    v, u = (
        (np.arange(first, stop) + 0.5) / finer
        for first, stop in ((rows.start, rows.stop), (0, camera.width * finer))
    )
    x, y = ((u - K[0, 2]) / K[0, 0]).astype(np.float32), ((v - K[1, 2]) / K[1, 1]).astype(np.float32)
    directions, rays = (np.empty((len(y), len(x), size), np.float32) for size in (3, 6))
    directions[..., 0], directions[..., 1], directions[..., 2] = x, y[:, None], 1
    rays[..., :3] = -cam_from_world[:3, :3].T @ cam_from_world[:3, 3]
    for axis in range(3):
        down = y * rotation[1, axis] + rotation[2, axis]
        np.add(x * rotation[0, axis], down[:, None], out=rays[..., 3 + axis])
    return o3d.core.Tensor.from_numpy(rays), directions


def _colors(mesh: Surface, face: NDArray[np.uint32], uv: Floats32, *, plain: bool) -> Floats32:
    """Colours of points on faces, shape (N, 3)."""
    texture: Bytes | None = getattr(mesh, "texture", None)
    colors: Bytes | None = getattr(mesh, "colors", None)
    weights = np.stack([1 - (uv[:, 0] + uv[:, 1]), uv[:, 0], uv[:, 1]], axis=1)
    if texture is not None:
        uv_of, corner_of = mesh.uv, mesh.face_uv  # type: ignore[attr-defined]
        return _sample(texture, np.einsum("nk,nkc->nc", weights, uv_of[corner_of[face]]))
    if colors is None or plain:
        return np.tile(_PLAIN.astype(np.float32), (len(face), 1))
    mixed: Floats32 = np.einsum("nk,nkc->nc", weights, colors[mesh.faces[face]].astype(np.float32))
    return mixed


def _facing(normal: Floats32, directions: Floats32) -> tuple[Floats32, Floats32]:
    """Normals turned towards the camera, and the cosine under which it sees them."""
    toward = -np.einsum("nc,nc->n", normal, directions) / np.sqrt(
        np.einsum("nc,nc->n", directions, directions)
    )
    return normal * np.where(toward < 0, -1, 1).astype(np.float32)[:, None], np.abs(toward)


def _sample(texture: Bytes, uv: Floats32) -> Floats32:
    """Bilinear lookup, shape (N, 3); (0, 0) is the texture's lower left corner."""
    height, width = texture.shape[:2]
    # OpenCV wants two dimensions, none of them long.
    places = np.zeros((-(-len(uv) // _WIDEST), _WIDEST, 2), np.float32)
    places.reshape(-1, 2)[: len(uv)] = uv
    x, y = places[..., 0] * width - 0.5, (1 - places[..., 1]) * height - 0.5
    found = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32).reshape(-1, 3)[: len(uv)]

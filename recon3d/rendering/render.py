"""Pictures of clouds and meshes without a graphics card: for reports, documents and tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.types import Bytes, Camera, Floats, Mesh, PointCloud, TexturedMesh

_TOP, _BOTTOM = np.array([246.0, 247.0, 249.0]), np.array([206.0, 211.0, 219.0])
_PLAIN = np.array([196.0, 192.0, 186.0])
_FIELD_OF_VIEW = 40.0
#: Points that tell how dense a cloud is.
_SAMPLE = 50_000


def orbit_view(
    points: Floats,
    azimuth: float = 30.0,
    elevation: float = 15.0,
    *,
    size: tuple[int, int] = (960, 720),
    zoom: float = 1.0,
    up: Floats | None = None,
) -> tuple[Camera, Floats]:
    """Camera that looks at the middle of what it shall show.

    Parameters
    ----------
    points : ndarray, shape (N, 3)
        What shall be in the picture; the outermost 2 % may fall outside.
    azimuth, elevation : float
        Degrees around and above the horizon; azimuth 0 looks along -z.
    size : tuple of int
        Width and height in pixels.
    zoom : float
        More than 1 comes closer.
    up : ndarray, shape (3,), optional
        +y by default.

    Returns
    -------
    camera : Camera
    cam_from_world : ndarray of float64, shape (4, 4)
    """
    low, high = np.percentile(points, [1, 99], axis=0)
    middle, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    y = np.array([0.0, 1.0, 0.0]) if up is None else np.asarray(up, np.float64) / np.linalg.norm(up)
    start = np.array([0.0, 0.0, 1.0]) if abs(y[2]) < 0.9 else np.array([0.0, -1.0, 0.0])
    z = start - (start @ y) * y
    z /= np.linalg.norm(z)
    x = np.cross(y, z)
    a, e = np.radians(azimuth), np.radians(elevation)
    outward = np.cos(e) * (np.sin(a) * x + np.cos(a) * z) + np.sin(e) * y
    focal = 0.5 * size[1] / np.tan(np.radians(_FIELD_OF_VIEW) / 2)
    distance = max(radius, 1e-9) / np.sin(np.radians(_FIELD_OF_VIEW) / 2) / zoom
    return look_at(middle + distance * outward, middle, y, focal, size)


def look_at(
    center: Floats, target: Floats, up: Floats, focal: float, size: tuple[int, int]
) -> tuple[Camera, Floats]:
    """Camera at `center` that looks at `target`, as `orbit_view` returns it."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = -rotation @ center
    width, height = size
    camera = Camera("PINHOLE", width, height, (focal, focal, width / 2, height / 2))
    return camera, pose


def render_points(
    cloud: PointCloud, camera: Camera, cam_from_world: Floats, *, radius: float | None = None
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
    picture = _background(camera)
    points = cloud.points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    front = points[:, 2] > 1e-6
    points = points[front]
    if not len(points):
        return picture
    colors = np.full((len(points), 3), 90, np.uint8) if cloud.colors is None else cloud.colors[front]
    pixels = camera.project(points)
    if radius is None:
        # Of every n-th point of a surface, neighbours are sqrt(n) times as far apart.
        count = min(len(points), _SAMPLE)
        tree = cKDTree(points[np.random.default_rng(0).choice(len(points), count, replace=False)])
        distance, _ = tree.query(tree.data[:5000], k=min(4, count))
        radius = float(np.median(distance[:, -1])) * (count / len(points)) ** 0.5 if count > 3 else 0.0
    reach = np.clip(camera.K[0, 0] * radius / points[:, 2], 0, 6)
    depth = np.full(camera.height * camera.width, np.inf)
    owner = np.full(camera.height * camera.width, -1, np.int64)
    columns, rows = np.floor(pixels).astype(np.int64).T
    rings = [np.flatnonzero(reach >= ring - 0.5) for ring in range(7)]
    for dy in range(-6, 7):
        for dx in range(-6, 7):
            hit = rings[max(abs(dx), abs(dy))]
            column, row = columns[hit] + dx, rows[hit] + dy
            inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
            hit, cell = hit[inside], (row * camera.width + column)[inside]
            if not len(hit):
                continue
            nearer = points[hit, 2] < depth[cell]
            hit, cell = hit[nearer], cell[nearer]
            np.minimum.at(depth, cell, points[hit, 2])
            won = points[hit, 2] == depth[cell]
            owner[cell[won]] = hit[won]
    flat = picture.reshape(-1, 3)
    flat[owner >= 0] = colors[owner[owner >= 0]]
    return picture


def render_mesh(
    mesh: Mesh | TexturedMesh, camera: Camera, cam_from_world: Floats, *, shaded: bool | None = None
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

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    tensor = o3d.core.Tensor.from_numpy
    scene.add_triangles(tensor(mesh.vertices.astype(np.float32)), tensor(mesh.faces.astype(np.uint32)))
    v, u = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    K = camera.K
    directions = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], axis=-1)
    rotation = cam_from_world[:3, :3]
    center = -rotation.T @ cam_from_world[:3, 3]
    world = directions @ rotation
    rays = np.concatenate([np.broadcast_to(center, world.shape), world], axis=-1).astype(np.float32)
    cast = scene.cast_rays(tensor(rays))
    hit = np.isfinite(cast["t_hit"].numpy())
    face = cast["primitive_ids"].numpy()[hit].astype(np.int64)
    uv = cast["primitive_uvs"].numpy()[hit].astype(np.float64)
    weights = np.stack([1 - uv.sum(axis=1), uv[:, 0], uv[:, 1]], axis=1)
    if isinstance(mesh, TexturedMesh):
        corners = mesh.uv[mesh.face_uv[face]]
        color = _sample(mesh.texture, np.einsum("nk,nkc->nc", weights, corners))
    elif mesh.colors is not None and shaded is not True:
        color = np.einsum("nk,nkc->nc", weights, mesh.colors[mesh.faces[face]].astype(np.float64))
    else:
        color = np.broadcast_to(_PLAIN, (len(face), 3))
    if shaded if shaded is not None else isinstance(mesh, Mesh):
        normal = cast["primitive_normals"].numpy()[hit].astype(np.float64)
        toward = -world[hit] / np.linalg.norm(world[hit], axis=1, keepdims=True)
        light = np.abs(np.einsum("nc,nc->n", normal, toward))
        color = color * (0.35 + 0.65 * light[:, None])
    picture = _background(camera)
    picture[hit] = np.clip(np.round(color), 0, 255).astype(np.uint8)
    return picture


def _background(camera: Camera) -> Bytes:
    blend = np.linspace(0, 1, camera.height)[:, None, None]
    picture = (1 - blend) * _TOP + blend * _BOTTOM
    return np.ascontiguousarray(np.broadcast_to(picture, (camera.height, camera.width, 3)).astype(np.uint8))


def _sample(texture: Bytes, uv: NDArray[Any]) -> NDArray[np.float64]:
    """Bilinear lookup; (0, 0) is the texture's lower left corner."""
    height, width = texture.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    upper = texture[y0, x0] * (1 - fx) + texture[y0, x1] * fx
    lower = texture[y1, x0] * (1 - fx) + texture[y1, x1] * fx
    sampled: NDArray[np.float64] = upper * (1 - fy) + lower * fy
    return sampled

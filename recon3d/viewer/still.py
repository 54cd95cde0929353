"""The viewer's picture drawn in software: where there is no browser, or a file is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.rendering.opening import surface_sample
from recon3d.rendering.render import mesh_layer, over
from recon3d.rendering.splatting import PinholeCamera, background
from recon3d.rendering.texels import nearest_texels
from recon3d.types import Bytes, Camera, Floats
from recon3d.viewer.view_content import Content

#: Splats of a quick picture at most.
_QUICK = 120_000
#: Triangles whose size is looked at for the width of a dot.
_TELLING = 50_000
#: Width of a dot, in distances between dots that lie at random.
_OVERLAP = 2.5
_ORANGE = (255, 154, 26)
#: Cameras this near to the eye are left out, in radii of the model.
_NEAR = 1.0


def draw(
    content: Content,
    cam_from_scene: Floats,
    field_of_view: float,
    size: tuple[int, int],
    *,
    layers: Sequence[str] = ("mesh", "points", "cameras"),
    style: str = "textured",
    point_size: float = 2.0,
    background: str = "#15181c",
    box: tuple[Floats, Floats] | None = None,
) -> Bytes:
    """Draw a viewer's content.

    Parameters
    ----------
    content : Content
    cam_from_scene : ndarray of float64, shape (4, 4)
        The scene is the world relative to `Content.origin`.
    field_of_view : float
        From the upper to the lower edge, in degrees.
    size : tuple of int
        Width and height in pixels.
    layers : sequence of {"mesh", "points", "cameras"}
    style : {"textured", "shaded", "wireframe"}
        Wireframes are drawn shaded.
    point_size : float
        Pixels.
    background : str
        "#rrggbb".
    box : (ndarray, ndarray) of float64, shape (3,), optional
        Lowest and highest corner of what is drawn.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    width, height = size
    focal = 0.5 * height / np.tan(np.radians(field_of_view) / 2)
    camera = Camera("PINHOLE", width, height, (focal, focal, width / 2, height / 2))
    color = [int(background[i : i + 2], 16) for i in (1, 3, 5)]
    picture: Bytes = np.full((height, width, 3), color, np.uint8)
    if "mesh" in layers and content.vertices is not None and content.faces is not None:
        faces = content.faces
        if box is not None:
            faces = faces[_inside(content.vertices, box)[faces].all(axis=1)]
        if len(faces):
            mesh = content.surface(faces, colored=style == "textured")
            lit = None if style == "textured" else True
            picture = over(mesh_layer(mesh, camera, cam_from_scene, shaded=lit, fine=True), picture)
    if "points" in layers and content.points is not None:
        inside = _inside(content.points, box)
        colors = None if content.point_colors is None else content.point_colors[inside]
        _splat(picture, content.points[inside], colors, camera, cam_from_scene, round(point_size))
    if "cameras" in layers and content.frusta is not None:
        _lines(picture, content.frusta, camera, cam_from_scene, box)
    return picture


def quick_picture(content: Content, size: tuple[int, int] = (640, 400)) -> Bytes:
    """Draw a small picture within tenths of a second; surfaces are drawn as dots, too.

    Parameters
    ----------
    content : Content
    size : (int, int)
        Width and height in pixels.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB.
    """
    camera, pose = content.opening.camera(size)
    picture = background(camera)
    if content.vertices is not None and content.faces is not None and len(content.faces):
        inside = _in_picture(content.vertices, camera, pose)
        first, second, third = content.faces.T
        faces = content.faces[inside[first] | inside[second] | inside[third]]
        # Of more triangles than dots, some will do: a dot is wider than they are.
        part = max(1, len(faces) // (2 * _QUICK))
        faces = faces[::part]
        eye = content.opening.eye(size[0] / size[1])
        points, normals, face, shares = surface_sample(content.vertices, faces, _QUICK, eye)
        colors = _colors(content, faces[face], shares, normals)
        # Dots as wide as they are apart in the picture; some of the triangles tell how far that is.
        step = max(1, len(faces) // _TELLING)
        corners = content.vertices[faces[::step]].astype(np.float64)
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        seen = area / 2 / np.maximum(((corners.mean(axis=1) - eye) ** 2).sum(axis=1), 1e-12)
        side = _OVERLAP * camera.focal * (part * step * seen.sum() / len(points)) ** 0.5
        _splat(picture, points.astype(np.float32), colors, camera, pose, int(np.clip(np.ceil(side), 2, 9)))
    elif content.points is not None:
        dots, shades = content.points[:_QUICK], content.point_colors
        side = 0.7 * (size[0] * size[1] / max(len(dots), 1)) ** 0.5
        shades = None if shades is None else shades[:_QUICK]
        _splat(picture, dots, shades, camera, pose, int(np.clip(np.ceil(side), 2, 6)))
    if content.frusta is not None and content.vertices is None:
        # Cameras near the eye would be bars across the picture.
        eye = content.opening.eye(size[0] / size[1])
        far = np.linalg.norm(content.frusta[:, 0, 0] - eye, axis=1) > _NEAR * content.extent[1]
        _lines(picture, content.frusta[far], camera, pose, None)
    return picture


def encode_png(picture: Bytes) -> bytes:
    """Encode a picture as PNG.

    Parameters
    ----------
    picture : ndarray of uint8, shape (H, W, 3)
        RGB.

    Returns
    -------
    bytes
    """
    _, data = cv2.imencode(".png", picture[..., ::-1])
    return bytes(data.tobytes())


def _inside(positions: NDArray[Any] | None, box: tuple[Floats, Floats] | None) -> NDArray[np.bool_]:
    points = np.asarray(positions)
    if box is None:
        return np.ones(len(points), bool)
    kept: NDArray[np.bool_] = np.all((points >= box[0]) & (points <= box[1]), axis=1)
    return kept


def _in_picture(vertices: NDArray[Any], camera: PinholeCamera, pose: Floats) -> NDArray[np.bool_]:
    """Vertices that a picture shows or nearly shows."""
    x, y, z = pose[:3, :3].astype(np.float32) @ vertices.T + pose[:3, 3:].astype(np.float32)
    right, below = 0.6 * camera.width / camera.K[0, 0], 0.6 * camera.height / camera.K[0, 0]
    near = (z > 1e-9) & (np.abs(x) <= right * z) & (np.abs(y) <= below * z)
    return np.asarray(near if near.any() else np.ones(len(vertices), bool))


def _colors(content: Content, corners: NDArray[Any], shares: Floats, normals: Floats) -> NDArray[np.uint8]:
    """Colours of places on the surface, given by their triangles' corners and shares of these."""
    if content.texture is not None and content.uv is not None:
        uv = np.einsum("nk,nkc->nc", shares, content.uv[corners])
        return nearest_texels(content.texture, uv)
    if content.vertex_colors is not None:
        return np.asarray(np.einsum("nk,nkc->nc", shares, content.vertex_colors[corners]), np.uint8)
    light = 0.35 + 0.65 * np.abs(normals @ np.array([0.4, 0.6, 0.69]))
    return np.asarray(light[:, None] * (196, 192, 186), np.uint8)


def _splat(
    picture: Bytes,
    points: NDArray[np.float32],
    colors: NDArray[np.uint8] | None,
    camera: PinholeCamera,
    cam_from_scene: Floats,
    side: int,
) -> None:
    """Square dots, the near ones over the far ones."""
    seen = points @ cam_from_scene[:3, :3].T + cam_from_scene[:3, 3]
    front = np.flatnonzero(seen[:, 2] > 1e-9)
    front = front[np.argsort(-seen[front, 2], kind="stable")]
    x, y = np.floor(camera.project(seen[front])).T
    # With a margin, for dots of which only a part is in the picture.
    fits = (x >= -side) & (x < camera.width + side) & (y >= -side) & (y < camera.height + side)
    front = front[fits]
    nearest = np.full((camera.height + 2 * side, camera.width + 2 * side), -1.0)
    nearest[y[fits].astype(np.int64) + side, x[fits].astype(np.int64) + side] = np.arange(len(front))
    # The later in this order, the nearer: of the dots that cover a pixel, the last counts.
    last = side - side // 2 - 1
    nearest = cv2.dilate(nearest, np.ones((side, side), np.uint8), anchor=(last, last))
    shown = nearest[side:-side, side:-side].astype(np.int64)
    covered = shown >= 0
    chosen = front[shown[covered]]
    picture[covered] = 200 if colors is None else colors[chosen]


def _lines(
    picture: Bytes,
    frusta: NDArray[np.float32],
    camera: PinholeCamera,
    cam_from_scene: Floats,
    box: tuple[Floats, Floats] | None,
) -> None:
    lines = frusta.reshape(-1, 2, 3).astype(np.float64)
    seen = lines @ cam_from_scene[:3, :3].T + cam_from_scene[:3, 3]
    kept = np.all(seen[..., 2] > 1e-6, axis=1)
    if box is not None:
        kept &= _inside(lines.reshape(-1, 3), box).reshape(-1, 2).all(axis=1)
    ends = camera.project(seen[kept])
    near = np.all(np.abs(ends) < 1e5, axis=(1, 2))
    for first, second in np.round(ends[near]).astype(int):
        cv2.line(picture, tuple(first.tolist()), tuple(second.tolist()), _ORANGE, 1, cv2.LINE_AA)

"""The choice of the first view of a model: which side it shows.

The camera looks from where a photo was taken, from the side on which most of the subject is seen and
lit, and the subject fills the picture. What the photos' middles show is the subject; a table or a
street around it is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.rendering.framing import Opening, Photos, axes, level_axis
from recon3d.rendering.texels import nearest_texels
from recon3d.rendering.viewpoint import Floats

Bytes = NDArray[np.uint8]

#: Points that decide, and photos that are rated, at most.
_SAMPLE, _PHOTOS = 6_000, 48
#: Directions in which the subject's extent is measured, and the share of it that may lie outside.
_DIRECTIONS, _OUTSIDE = 48, 0.01
#: What is so many times as far from the subject's middle as half of it does not belong to it.
_FAR = 4.0
#: A point this far from a photo's middle counts 1/e of one in it; in half image diagonals.
_CENTRAL = 0.75
#: Cells a side of the grid that tells what hides what, and the thickness of its surfaces.
_CELLS, _THICK = 40, 0.06
#: Points around one that tell how much there is to see.
_NEIGHBORS = 8
#: The best elevation in degrees; and how much the first photo counts more than the last.
_ELEVATION, _FIRST = 12.0, 0.02
#: The greatest elevation in degrees: a picture from above has no up.
_STEEPEST = 60.0
#: A ground: this cosine between its normals and up, the share of all points in it, the share of the
#: others above it, its thickness in sizes of the model, and the share of the subject that is no ground.
_FLAT, _GROUND, _ABOVE, _GROUND_THICK, _STANDING = 0.9, 0.2, 0.9, 0.015, 0.1
#: A subject is a landscape when its height is below this share of its lesser width, and the camera is this
#: share of its height above it. It is seen from this elevation in degrees at least, or it would be a strip.
_LOW, _OVER, _LANDSCAPE = 0.4, 0.2, 40.0
#: Points that tell which part of a photo the model covers, at least.
_LEAST_SHOWN = 50
#: This share of the points behind a photo's camera means that it stands inside the scene.
_BEHIND = 0.05


def opening_of(shown: Any, photos: Photos | None = None, up: Floats | None = None) -> Opening:
    """Choose the first view of a cloud or a mesh.

    Parameters
    ----------
    shown : PointCloud, Mesh or TexturedMesh
    photos : Photos, optional
        Without any, the camera may stand on every side.
    up : ndarray of float64, shape (3,), optional
        +y by default.

    Returns
    -------
    Opening
    """
    if not hasattr(shown, "faces"):
        return find_opening(shown.points, normals=shown.normals, colors=shown.colors, photos=photos, up=up)
    points, normals, face, _ = surface_sample(shown.vertices, shown.faces)
    colors: Bytes | None = getattr(shown, "colors", None)
    texture: Bytes | None = getattr(shown, "texture", None)
    if colors is not None:
        colors = colors[shown.faces[face, 0]]
    elif texture is not None:
        colors = nearest_texels(texture, shown.uv[shown.face_uv[face]].mean(axis=1))
    return find_opening(points, normals=normals, colors=colors, photos=photos, up=up)


def find_opening(
    points: NDArray[Any],
    *,
    normals: NDArray[Any] | None = None,
    colors: Bytes | None = None,
    photos: Photos | None = None,
    up: Floats | None = None,
) -> Opening:
    """Choose the first view of a model.

    Parameters
    ----------
    points : ndarray of float, shape (N, 3)
        Evenly on the surface, or a cloud.
    normals : ndarray of float, shape (N, 3), optional
        Pointing outward.
    colors : ndarray of uint8, shape (N, 3), optional
    photos : Photos, optional
        Without any, the camera may stand on every side.
    up : ndarray of float64, shape (3,), optional
        +y by default.

    Returns
    -------
    Opening
    """
    keep = np.random.default_rng(0).permutation(len(points))[:_SAMPLE]
    points = np.asarray(points[keep], np.float64)
    normals = None if normals is None else np.asarray(normals[keep], np.float64)
    shades = None if colors is None else colors[keep].astype(np.float64) @ (0.299, 0.587, 0.114)
    upward = np.array([0.0, 1.0, 0.0]) if up is None else np.asarray(up, np.float64)
    upward = upward / np.linalg.norm(upward)
    some = photos if photos is not None and len(photos) else None
    weights = _subject(points, some)
    if normals is not None:
        weights = _above_ground(points, normals, weights, upward)
    weights = _near(points, weights)
    frame = _outline(points, weights)
    telling = weights * _detail(points, normals, shades)
    middle = (frame.max(axis=0) + frame.min(axis=0)) / 2
    size = float(np.linalg.norm(np.ptp(frame, axis=0))) or 1.0
    if some is None:
        angles = np.arange(24) * (2 * np.pi / 24)
        x, y, z = axes(level_axis(upward), upward)
        rise = np.radians(_ELEVATION)
        ways = np.cos(rise) * (np.sin(angles)[:, None] * x + np.cos(angles)[:, None] * z) + np.sin(rise) * y
        rated = np.zeros(0, np.int64)
        worth = np.ones(len(ways))
    else:
        rated = np.unique(np.linspace(0, len(some) - 1, min(len(some), _PHOTOS)).round().astype(np.int64))
        ways = some.centers[rated] - middle
        ways /= np.maximum(np.linalg.norm(ways, axis=1, keepdims=True), 1e-12)
        ahead = -np.einsum("nc,nc->n", ways, some.cam_from_world[rated, 2, :3])
        level = -some.cam_from_world[rated, 1, :3] @ upward
        # A photo that was taken past the subject, or lying on its side, is a poor witness.
        worth = (0.05 + np.clip(ahead, 0, 1)) * (0.5 + 0.5 * np.clip(level, 0, 1))
        worth *= 1 + _FIRST * (1 - rated / max(len(some) - 1, 1))
    worth = worth * [_seen(points, normals, shades, telling, way, middle, size) for way in ways]
    rise = np.degrees(np.arcsin(np.clip(ways @ upward, -1, 1))) - _ELEVATION
    worth *= np.exp(-((rise / 35) ** 2))
    best = int(np.argmax(worth))
    if some is None:
        return _framed(frame, middle, ways[best], upward, None, None)
    chosen = int(rated[best])
    if _is_landscape(frame, some.centers[chosen], upward):
        return _framed(
            frame, middle, _at_elevation(ways[best], upward, _LANDSCAPE, _STEEPEST), upward, None, chosen
        )
    if _inside(points, some.centers[chosen], -some.cam_from_world[chosen, 2, :3]):
        return _as_taken(points, some, chosen, upward)
    way = _at_elevation(ways[best], upward, -_STEEPEST, _STEEPEST)
    return _framed(frame, middle, way, upward, None, chosen)


def surface_sample(
    vertices: NDArray[Any], faces: NDArray[Any], count: int = _SAMPLE, eye: Floats | None = None
) -> tuple[Floats, Floats, NDArray[np.int64], Floats]:
    """Choose points evenly on a surface, or evenly as they are seen.

    Parameters
    ----------
    vertices : ndarray of float, shape (V, 3)
    faces : ndarray of int, shape (F, 3)
    count : int
    eye : ndarray of float64, shape (3,), optional
        More points where the surface is near to it.

    Returns
    -------
    (ndarray of float64, ndarray of float64, ndarray of int64, ndarray of float64)
        Points and unit normals of shape (N, 3), the face of each, shape (N,), and the shares of its
        corners, shape (N, 3).
    """
    rng = np.random.default_rng(0)
    # Axis by axis: a surface of many triangles is gone through in a third of the time.
    columns = np.ascontiguousarray(np.asarray(vertices, np.float64).T)
    corners = [[axis[index] for axis in columns] for index in np.ascontiguousarray(faces.T)]
    (ux, uy, uz), (vx, vy, vz) = (
        [b - a for a, b in zip(corners[0], corners[k], strict=True)] for k in (1, 2)
    )
    across = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx]
    area = np.sqrt(across[0] ** 2 + across[1] ** 2 + across[2] ** 2)
    wanted = area
    if eye is not None:
        x, y, z = (((a + b + c) / 3 - e) ** 2 for a, b, c, e in zip(*corners, eye, strict=True))
        wanted = area / np.maximum(x + y + z, 1e-12)
    total = wanted.sum()
    if not total > 0:
        wanted, total = np.ones(len(faces)), float(len(faces))
    chosen = np.searchsorted(np.cumsum(wanted) / total, (np.arange(count) + rng.random(count)) / count)
    chosen = np.minimum(chosen, len(faces) - 1).astype(np.int64)
    first, second = np.sort(rng.random((2, count)), axis=0)
    shares = np.stack([first, second - first, 1 - second], axis=1)
    points: Floats = np.einsum("nk,nkc->nc", shares, np.asarray(vertices, np.float64)[faces[chosen]])
    normals = np.stack([axis[chosen] for axis in across], axis=1)
    return points, normals / np.maximum(area[chosen], 1e-300)[:, None], chosen, shares


def _subject(points: Floats, photos: Photos | None) -> Floats:
    """How much each point belongs to what the photos are about."""
    if photos is None:
        return np.ones(len(points))
    rated = np.unique(np.linspace(0, len(photos) - 1, min(len(photos), _PHOTOS)).round().astype(np.int64))
    weights = np.zeros(len(points))
    for index in rated:
        pose, tangent = photos.cam_from_world[index], photos.tangents[index]
        seen = points @ pose[:3, :3].T + pose[:3, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            across = seen[:, :2] / seen[:, 2:3]
        shown = (seen[:, 2] > 0) & np.all(np.abs(across) <= tangent, axis=1)
        off = np.linalg.norm(across[shown], axis=1) / np.linalg.norm(tangent)
        # Most photos look past some of the subject; what is in the middle of many counts.
        weights[shown] += np.exp(-((off / _CENTRAL) ** 2))
    if weights.max() <= 0:
        return np.ones(len(points))
    # Where few points are seen at all, the best of them count.
    usual = float(np.quantile(weights, 0.98)) or float(weights.max())
    return np.asarray(np.minimum(weights / usual, 1.0) ** 2)


def _above_ground(points: Floats, normals: Floats, weights: Floats, up: Floats) -> Floats:
    """Weights without the ground on which the subject stands, if there are both."""
    height = points @ up
    low, high = np.quantile(height, [0.005, 0.995])
    flat = normals @ up > _FLAT
    thick = _GROUND_THICK * float(np.linalg.norm(np.quantile(points, 0.99, 0) - np.quantile(points, 0.01, 0)))
    if flat.mean() < _GROUND or high <= low or thick <= 0:
        return weights
    count, edges = np.histogram(height[flat], bins=np.arange(low - thick, high + 2 * thick, thick))
    place = int(np.argmax(count))
    ground = flat & (np.abs(height - (edges[place] + edges[place + 1]) / 2) < 1.5 * thick)
    others = ~ground & ~flat
    rest = np.where(height < edges[place + 1] + 0.5 * thick, 0.0, weights)
    if ground.mean() < _GROUND or not others.any() or np.mean(height[others] > edges[place]) < _ABOVE:
        return weights
    return rest if rest.sum() > _STANDING * weights.sum() else weights


def _near(points: Floats, weights: Floats) -> Floats:
    """Weights without what lies far from the rest, such as a house behind the subject."""
    order = [np.argsort(points[:, axis]) for axis in range(3)]
    middle = np.array([points[rows, axis][_half(weights[rows])] for axis, rows in enumerate(order)])
    distance = np.linalg.norm(points - middle, axis=1)
    rows = np.argsort(distance)
    return np.where(distance > _FAR * distance[rows][_half(weights[rows])], 0.0, weights)


def _half(weights: Floats) -> int:
    """The row at which half of the weight is reached."""
    return min(int(np.searchsorted(np.cumsum(weights), weights.sum() / 2)), len(weights) - 1)


def _outline(points: Floats, weights: Floats) -> Floats:
    """Points around the subject: its extent in many directions, without the outermost few."""
    i = np.arange(_DIRECTIONS) + 0.5
    height, angle = 1 - 2 * i / _DIRECTIONS, i * np.pi * (3 - 5**0.5)
    flat = np.sqrt(1 - height**2)
    ways = np.stack([flat * np.cos(angle), height, flat * np.sin(angle)], axis=1)
    total = weights.sum()
    outline = []
    for way in ways:
        along = points @ way
        order = np.argsort(along)
        place = np.searchsorted(np.cumsum(weights[order]), (1 - _OUTSIDE) * total)
        outline.append(points[order[min(int(place), len(order) - 1)]])
    return np.array(outline)


def _detail(points: Floats, normals: Floats | None, shades: Floats | None) -> Floats:
    """How much each point's surroundings tell: faces and letters do, backs do not."""
    detail = np.ones(len(points))
    if len(points) < 4 * _NEIGHBORS:
        return detail
    _, near = cKDTree(points).query(points, k=_NEIGHBORS, workers=1)
    parts = []
    if normals is not None:
        parts.append(1 - np.linalg.norm(normals[near].mean(axis=1), axis=1))
    if shades is not None:
        parts.append(shades[near].std(axis=1))
    for part in parts:
        usual = float(np.quantile(part, 0.9))
        detail += np.minimum(part / usual, 1.5) if usual > 0 else 0.0
    return detail


def _seen(
    points: Floats,
    normals: Floats | None,
    shades: Floats | None,
    weights: Floats,
    way: Floats,
    middle: Floats,
    size: float,
) -> float:
    """How much of the subject is seen from a side, and how well it is lit."""
    x, y, z = axes(way, level_axis(way)) @ (points - middle).T
    cells = np.clip((np.stack([x, y], axis=1) / size + 0.5) * _CELLS, 0, _CELLS - 1).astype(np.int64)
    cell = cells[:, 0] * _CELLS + cells[:, 1]
    front = np.full(_CELLS * _CELLS, -np.inf)
    np.maximum.at(front, cell, z)
    open_ = z >= front[cell] - _THICK * size
    facing = np.ones(len(points)) if normals is None else np.clip(normals @ way, 0, 1)
    share = weights * open_ * facing
    total = share.sum()
    if total <= 0:
        return 0.0
    if shades is None:
        return float(total / weights.sum())
    light = float((share * shades).sum() / total)
    spread = float(np.sqrt((share * (shades - light) ** 2).sum() / total))
    return float(total / weights.sum()) * (light + 0.4 * spread) / 255


def _inside(points: Floats, center: Floats, back: Floats) -> bool:
    """Whether some of the scene is behind a camera."""
    offset = points - center
    depth = offset @ back
    return bool(np.mean(depth > 0.5 * np.linalg.norm(offset, axis=1)) > _BEHIND)


def _as_taken(points: Floats, photos: Photos, index: int, up: Floats) -> Opening:
    """What the photo shows of the model, from its place: from inside a room there is no way back."""
    pose, tangent = photos.cam_from_world[index], photos.tangents[index]
    seen = points @ pose[:3, :3].T + pose[:3, 3]
    seen = seen[seen[:, 2] > 0]
    depth = float(np.median(seen[:, 2]))
    across = seen[:, :2] / seen[:, 2:]
    shown = across[np.all(np.abs(across) <= tangent, axis=1)]
    low, high = -tangent, tangent
    if len(shown) >= _LEAST_SHOWN:
        # Without the sky above, which is no part of the model.
        low, high = np.quantile(shown, [_OUTSIDE, 1 - _OUTSIDE], axis=0)
    place, rows = photos.centers[index], pose[:3, :3]

    def at(x: float, y: float) -> Floats:
        point: Floats = place + depth * (x * rows[0] + y * rows[1] + rows[2])
        return point

    target = at(*((low + high) / 2))
    frame = np.array([at(x, y) for x in (low[0], high[0]) for y in (low[1], high[1])])
    distance = float(np.linalg.norm(target - place))
    return Opening(target, (place - target) / distance, up, frame, distance, index)


def _is_landscape(frame: Floats, center: Floats, up: Floats) -> bool:
    """Whether the subject is wide to all sides against its height, and the photo was taken from above it."""
    height = frame @ up
    flat = frame - height[:, None] * up
    flat = flat - flat.mean(axis=0)
    sides = np.linalg.svd(flat, full_matrices=False)[2][:2]
    above = center @ up - height.max() > _OVER * np.ptp(height)
    return bool(above and np.ptp(height) < _LOW * np.ptp(flat @ sides.T, axis=0).min())


def _at_elevation(way: Floats, up: Floats, lowest: float, highest: float) -> Floats:
    """A direction turned up or down into a range of degrees; one that is vertical has nowhere to turn."""
    rise = float(np.degrees(np.arcsin(np.clip(way @ up, -1, 1))))
    flat = way - float(way @ up) * up
    if lowest <= rise <= highest or np.linalg.norm(flat) < 1e-9:
        return way
    angle = np.radians(np.clip(rise, lowest, highest))
    turned: Floats = np.cos(angle) * flat / np.linalg.norm(flat) + np.sin(angle) * up
    return turned


def _framed(
    frame: Floats, middle: Floats, back: Floats, up: Floats, limit: float | None, photo: int | None
) -> Opening:
    """Centre the subject in the picture."""
    opening = Opening(middle, back, up, frame, limit, photo)
    across = axes(back, up)
    for _ in range(3):
        distance = opening.distance(4 / 3)
        x, y, z = across @ (frame - opening.target).T
        depth = np.maximum(distance - z, 1e-3 * distance)
        shift = [distance * (np.max(v / depth) + np.min(v / depth)) / 2 for v in (x, y)]
        target = opening.target + shift[0] * across[0] + shift[1] * across[1]
        opening = Opening(target, back, up, frame, limit, photo)
    return opening

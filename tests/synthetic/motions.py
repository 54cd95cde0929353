"""Pictures of flat and boxy things by a camera that turns, slides or watches a turntable."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.types import Camera, View
from tests.synthetic.media import Image, texture
from tests.synthetic.shapes import looking

Floats = NDArray[np.float64]
#: Half sides of the box on the turntable; it stands on y = 0 with y up.
BOX = np.array([0.5, 0.4, 0.35])


def intrinsics(size: tuple[int, int], focal: float = 1.2) -> Floats:
    """K of a camera whose focal length is `focal` times its longer side."""
    f = focal * max(size)
    return np.array([[f, 0, size[0] / 2], [0, f, size[1] / 2], [0, 0, 1]])


def turned(
    photo: Image, yaws: Sequence[float], size: tuple[int, int] = (640, 480), focal: float = 1.2
) -> list[Image]:
    """Views of a photo by a camera that only turns: the photo warped by K R K⁻¹, with noise."""
    K, shown = intrinsics(size, focal), intrinsics(photo.shape[1::-1], focal)
    shown[:2, :2] = K[:2, :2]
    moves = []
    for k, yaw in enumerate(yaws):
        rotation = cv2.Rodrigues(np.array([0.02 * np.sin(3.0 * k), np.radians(yaw), 0.01 * np.cos(k)]))[0]
        moves.append(K @ rotation @ np.linalg.inv(shown))
    return _warped(photo, moves, size)


def slid(
    photo: Image, shifts: Sequence[float], size: tuple[int, int] = (640, 480), focal: float = 1.2
) -> list[Image]:
    """Views of a photo on a wall by a camera that slides along it without turning.

    `shifts` are in units of the distance to the wall.
    """
    K, shown = intrinsics(size, focal), intrinsics(photo.shape[1::-1], focal)
    shown[:2, :2] = K[:2, :2]
    moves = []
    for k, shift in enumerate(shifts):
        step = np.array([shift, 0.05 * np.sin(k), 0.0])
        moves.append(K @ (np.eye(3) + np.outer(step, [0, 0, 1])) @ np.linalg.inv(shown))
    return _warped(photo, moves, size)


def _warped(photo: Image, moves: Sequence[Floats], size: tuple[int, int]) -> list[Image]:
    views = []
    for k, move in enumerate(moves):
        view = cv2.warpPerspective(photo, move, size, borderMode=cv2.BORDER_REFLECT)
        noise = np.random.default_rng(k).normal(0, 3, view.shape)
        views.append(np.clip(view + noise, 0, 255).astype(np.uint8))
    return views


def turntable(
    angles: Sequence[float], wall: Image | None, size: tuple[int, int] = (640, 480), seed: int = 100
) -> tuple[list[Image], list[View]]:
    """Photos of a textured box that turns before a fixed camera.

    Parameters
    ----------
    angles : sequence of float
        Degrees that the box has turned.
    wall : ndarray, optional
        The still background, larger than `size`; plain grey by default.
    size : (int, int)
    seed : int
        Of the box's texture.

    Returns
    -------
    images : list of ndarray
    views : list of View
        The camera as the box sees it.
    """
    K = intrinsics(size)
    camera = Camera.pinhole(*size, K)
    background = np.full((size[1], size[0], 3), 120, np.uint8) if wall is None else wall[: size[1], : size[0]]
    skins = [texture(400, 400, seed=seed + face) for face in range(5)]
    images, views = [], []
    for k, angle in enumerate(angles):
        turn = np.radians(angle)
        center = np.array([2.6 * np.sin(turn), 1.5, 2.6 * np.cos(turn)])
        view = looking(center, np.array([0, 0.35, 0]), np.array([0.0, 1.0, 0.0]), f"{k:03d}.png", camera)
        image = background.astype(np.float64)
        for face, (corners, normal) in enumerate(_faces()):
            if normal @ (center - corners[0]) <= 0:
                continue
            seen = np.array([camera.project((view.cam_from_world @ [*c, 1])[:3]) for c in corners])
            skin = skins[face]
            flat = np.array([[0, 0], [400, 0], [400, 400], [0, 400]], np.float32)
            move = cv2.getPerspectiveTransform(flat, seen.astype(np.float32))
            mask = cv2.warpPerspective(np.ones((400, 400)), move, size)[..., None]
            image = image * (1 - mask) + cv2.warpPerspective(skin, move, size) * mask
        image += np.random.default_rng(k).normal(0, 2, image.shape)
        images.append(np.clip(image, 0, 255).astype(np.uint8))
        views.append(view)
    return images, views


def _faces() -> list[tuple[Floats, Floats]]:
    """Corners and outward normal of the box's sides and top."""
    x, y, z = BOX
    sides = []
    for u, v in (((1, 0), (0, 1)), ((0, 1), (-1, 0)), ((-1, 0), (0, -1)), ((0, -1), (1, 0))):
        # A side faces u; v runs along it. u and v are directions in x and z.
        out, along = np.array([u[0] * x, u[1] * z]), np.array([v[0] * x, v[1] * z])
        (ax, az), (bx, bz) = out + along, out - along
        corners = np.array([[ax, 2 * y, az], [bx, 2 * y, bz], [bx, 0, bz], [ax, 0, az]])
        sides.append((corners, np.array([u[0], 0.0, u[1]])))
    top = np.array([[-x, 2 * y, -z], [x, 2 * y, -z], [x, 2 * y, z], [-x, 2 * y, z]])
    return [*sides, (top, np.array([0.0, 1.0, 0.0]))]

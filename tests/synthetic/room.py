"""A video that someone takes of a furnished room from within: mostly turning, in small steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Camera, View
from tests.synthetic.scenes import Plane, Sphere, render
from tests.synthetic.shapes import looking

#: Half of the room's length, width and height in metres; its middle is the origin.
HALF = np.array([2.5, 2.0, 1.3])
_PLAIN = np.array([1.0, 0.0, 0.0])


def furnished() -> list[Plane | Sphere]:
    """Walls, floor and ceiling, and round furniture along the walls."""
    sides = [
        Plane(sign * axis, size)
        for axis, size in zip(np.eye(3), HALF[[0, 2, 1]], strict=True)
        for sign in (1, -1)
    ]
    rng = np.random.default_rng(4)
    furniture = []
    for k in range(14):
        angle = 2 * np.pi * k / 14
        place = 0.85 * np.array([HALF[0] * np.cos(angle), 0.0, HALF[1] * np.sin(angle)])
        furniture.append(Sphere(place + np.array([0, rng.uniform(0.2, 1.0), 0]), rng.uniform(0.25, 0.45)))
    return [*sides, *furniture]


def walk(count: int, size: tuple[int, int] = (480, 270)) -> list[View]:
    """Once around on a small circle, looking outwards: each step turns more than it moves."""
    width, height = size
    K = np.array([[0.75 * width, 0, width / 2], [0, 0.75 * width, height / 2], [0, 0, 1]])
    camera = Camera.pinhole(width, height, K)
    views = []
    for k in range(count):
        angle = 2 * np.pi * 1.15 * k / count
        center = 0.8 * np.array([np.cos(angle), 0.05 * np.sin(5 * angle), np.sin(angle)])
        target = center + np.array([np.cos(angle + 0.3), 0.05, np.sin(angle + 0.3)])
        views.append(looking(center, target, np.array([0.0, -1.0, 0.0]), f"{k:03d}.png", camera))
    return views


def filmed(views: list[View], plain: bool = True) -> list[NDArray[np.uint8]]:
    """Pictures of the room; `plain` takes the texture of one wall away."""
    shapes = furnished()
    pictures = []
    for view in views:
        picture = render(shapes, view, detail=16.0)
        image = picture.rgb
        if plain:
            x, y = np.meshgrid(np.arange(image.shape[1]) + 0.5, np.arange(image.shape[0]) + 0.5)
            rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(view.camera.K).T
            points = view.center + (picture.depth[..., None] * rays) @ view.cam_from_world[:3, :3]
            wall = points @ _PLAIN > HALF[0] - 1e-6
            noise = np.random.default_rng(0).normal(0, 1, image.shape)
            image = np.where(wall[..., None], 170 + noise, image).astype(np.uint8)
        pictures.append(image)
    return pictures

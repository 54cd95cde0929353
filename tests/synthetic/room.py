"""A video of a furnished room from within: the camera turns more than it moves."""

from __future__ import annotations

import numpy as np

from recon3d.types import Camera, View
from tests.synthetic.media import Image
from tests.synthetic.scenes import Plane, Sphere, render
from tests.synthetic.shapes import looking

#: Half of the room's length, height and width in metres; its middle is the origin.
HALF = np.array([2.5, 1.3, 2.0])


def furnished() -> list[Plane | Sphere]:
    """Walls, floor and ceiling, and round furniture along the walls."""
    sides = [Plane(sign * axis, size) for axis, size in zip(np.eye(3), HALF, strict=True) for sign in (1, -1)]
    rng = np.random.default_rng(4)
    furniture = []
    for angle in np.linspace(0, 2 * np.pi, 14, endpoint=False):
        place = 0.85 * np.array([HALF[0] * np.cos(angle), 0.0, HALF[2] * np.sin(angle)])
        furniture.append(Sphere(place + np.array([0, rng.uniform(0.2, 1.0), 0]), rng.uniform(0.25, 0.45)))
    return [*sides, *furniture]


def walk(count: int, size: tuple[int, int] = (480, 270)) -> list[View]:
    """A little more than once around on a small circle, looking outwards."""
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


def filmed(views: list[View]) -> list[Image]:
    """Pictures of the room."""
    return [render(furnished(), view, detail=16.0).rgb for view in views]

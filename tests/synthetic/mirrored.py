"""Scenes that are seen twice: in a wardrobe's mirror, and in still water."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Camera, View
from tests.synthetic.media import Image
from tests.synthetic.scenes import Mirror, Plane, Sphere, render
from tests.synthetic.shapes import looking

Floats = NDArray[np.float64]
_X, _Y, _Z = np.eye(3)


@dataclass(frozen=True, eq=False)
class Seen:
    """A scene, what reflects in it, and the cameras; y points down and the ground is y = 0."""

    shapes: list[Plane | Sphere]
    mirror: Mirror
    views: list[View]
    detail: float

    def photos(self, *, reflecting: bool = True) -> list[Image]:
        mirror = self.mirror if reflecting else None
        return [render(self.shapes, view, detail=self.detail, mirror=mirror).rgb for view in self.views]


def bedroom(count: int = 14, size: tuple[int, int] = (480, 360)) -> Seen:
    """Balls before a wardrobe whose mirror begins just above the floor; a walk around them."""
    shapes: list[Plane | Sphere] = [
        Plane(_Y, 0.0),
        *(Plane(_Z, offset) for offset in (1.5, -4.0)),
        *(Plane(_X, offset) for offset in (2.2, -2.2)),
        Sphere(np.array([0.3, -0.3, 0.5]), 0.3),
        Sphere(np.array([-0.7, -0.2, 0.8]), 0.2),
    ]
    mirror = Mirror(-_Z, -1.5, np.array([0.0, -0.65, 1.5]), np.array([1.4, 0.6, 0.01]))
    angles = np.linspace(-1.0, 1.0, count)
    centers = [np.array([2.0 * np.sin(a), -1.7 + 0.1 * np.sin(5 * a), 0.8 - 2.0 * np.cos(a)]) for a in angles]
    return Seen(shapes, mirror, _looking(centers, np.array([0.0, -0.2, 1.3]), size), 5.0)


def lake(count: int = 10, size: tuple[int, int] = (480, 360)) -> Seen:
    """Houses and trees on the far bank of a lake, from a boat."""
    shapes: list[Plane | Sphere] = [
        Plane(_Z, 9.0, np.array([-1.5, -1.5, 9.0]), np.array([2.0, 1.4, 0.01])),
        Plane(_Z, 12.0, np.array([3.0, -2.0, 12.0]), np.array([2.5, 2.0, 0.01])),
        *(Sphere(np.array([x, -0.8, 8.0 + 0.5 * np.sin(7 * x)]), 0.6) for x in (-4.2, -2.9, 0.9, 2.4, 4.0)),
    ]
    mirror = Mirror(-_Y, 0.0, np.array([0.0, 0.0, 6.0]), np.array([30.0, 0.01, 8.0]))
    centers = [
        np.array([x, -1.2 - 0.2 * np.sin(2 * x), 0.2 * np.cos(3 * x)]) for x in np.linspace(-2.5, 2.5, count)
    ]
    return Seen(shapes, mirror, _looking(centers, np.array([0.0, -0.3, 9.0]), size), 1.6)


def _looking(centers: list[Floats], target: Floats, size: tuple[int, int]) -> list[View]:
    width, height = size
    K = np.array([[0.9 * width, 0, width / 2], [0, 0.9 * width, height / 2], [0, 0, 1]])
    camera = Camera.pinhole(width, height, K)
    return [looking(center, target, -_Y, f"{k:03d}.png", camera) for k, center in enumerate(centers)]

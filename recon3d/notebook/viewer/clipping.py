"""A box outside of which nothing is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pythreejs

from recon3d.errors import InputError
from recon3d.types import Floats


class ClipBox:
    """Six planes of the scene.

    Parameters
    ----------
    renderer : pythreejs.Renderer
        The box cuts everything that it draws.
    low, high : ndarray, shape (3,)
        The widest box.
    """

    def __init__(self, renderer: Any, low: Floats, high: Floats) -> None:
        self._renderer = renderer
        margin = 0.001 * float((high - low).max())
        self.widest = (low - margin, high + margin)
        self.box: tuple[Floats, Floats] | None = None
        self._planes: list[Any] = []

    def set(self, low: Floats, high: Floats) -> None:
        """Clip the scene to a box.

        Parameters
        ----------
        low, high : ndarray of float64, shape (3,)
            Corners of the box, in the scene's frame.

        Raises
        ------
        InputError
            The box is empty.
        """
        low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        if low.shape != (3,) or high.shape != (3,) or not np.all(low < high):
            raise InputError(
                f"The box from {low} to {high} is empty.", "Give its lowest and its highest corner."
            )
        self.box = (low, high)
        planes = [pythreejs.Plane(normal=tuple(axis), constant=-bound) for axis, bound in _sides(low, high)]
        self._show(planes)

    def clear(self) -> None:
        """Draw everything."""
        self.box = None
        self._show([])

    def keeps(self, point: Floats) -> bool:
        """Tell whether a point is drawn.

        Parameters
        ----------
        point : ndarray of float64, shape (3,)
            In the scene's frame.

        Returns
        -------
        bool
        """
        return self.box is None or bool(np.all(point >= self.box[0]) and np.all(point <= self.box[1]))

    def close(self) -> None:
        """Free the browser's memory."""
        for plane in self._planes:
            plane.close()
        self._planes = []

    def _show(self, planes: list[Any]) -> None:
        old, self._planes = self._planes, planes
        self._renderer.clippingPlanes = planes
        for plane in old:
            plane.close()


def _sides(low: Floats, high: Floats) -> list[tuple[Floats, float]]:
    """Inward normals and where along them each side is."""
    return [(np.eye(3)[i], float(low[i])) for i in range(3)] + [
        (-np.eye(3)[i], float(-high[i])) for i in range(3)
    ]

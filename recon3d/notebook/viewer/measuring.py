"""Distances between two clicked points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pythreejs

from recon3d.types import Floats, Floats32

#: Height of a label, in distances from the eye: a twentieth of the picture's height.
_LABEL = 0.04


class Ruler:
    """Two points, the line between them, and its length as a label.

    Attributes
    ----------
    object : pythreejs.Group
    points : list of ndarray, shape (3,)
        None, one or two, in the scene.
    """

    def __init__(self) -> None:
        self._height = 0.0
        self.points: list[Floats] = []
        self._parts: tuple[Any, ...] = ()
        self.object = pythreejs.Group()

    def _make(self) -> None:
        """With the first point: most viewers measure nothing, and each part costs the first picture time."""
        self._line = pythreejs.BufferAttribute(np.zeros((2, 3), np.float32), normalized=False)
        over: dict[str, Any] = {"depthTest": False, "transparent": True}
        self._lines = pythreejs.LineSegments(
            pythreejs.BufferGeometry(attributes={"position": self._line}),
            pythreejs.LineBasicMaterial(color="#ff4d6d", **over),
            visible=False,
            frustumCulled=False,
            renderOrder=1,
        )
        self._ends = pythreejs.Points(
            self._lines.geometry,
            pythreejs.PointsMaterial(color="#ff4d6d", size=9, sizeAttenuation=False, **over),
            visible=False,
            frustumCulled=False,
            renderOrder=2,
        )
        self._text = pythreejs.TextTexture(string=" ", size=48, color="#ffffff", squareTexture=False)
        # White letters are not read on a white wall.
        self._plate = pythreejs.Sprite(
            pythreejs.SpriteMaterial(color="#15181c", opacity=0.75, **over), visible=False, renderOrder=3
        )
        self._label = pythreejs.Sprite(
            pythreejs.SpriteMaterial(map=self._text, **over), visible=False, renderOrder=4
        )
        self._parts = (self._lines, self._ends, self._plate, self._label)
        self.object.children = self._parts

    @property
    def length(self) -> float | None:
        """Between the two points, in the scene's units; None before there are two."""
        if len(self.points) < 2:
            return None
        return float(np.linalg.norm(self.points[1] - self.points[0]))

    def add(self, point: Floats) -> None:
        """Set the first or second end; a third point starts a new measurement.

        Parameters
        ----------
        point : ndarray of float64, shape (3,)
            In the scene's frame.
        """
        if not self._parts:
            self._make()
        self.points = [point] if len(self.points) == 2 else [*self.points, point]
        self._line.array = self._ends_as_array()
        self._ends.visible = True
        self._lines.visible = self._plate.visible = self._label.visible = len(self.points) == 2

    def clear(self) -> None:
        """Take the points away."""
        self.points = []
        for part in self._parts:
            part.visible = False

    def write(self, text: str, distance: float) -> None:
        """Write the label at the middle of the line.

        Parameters
        ----------
        text : str
        distance : float
            From the eye; a label is so large that it is read from there.
        """
        if len(self.points) < 2:
            return
        self._text.string = text
        self._height = _LABEL * distance
        self._place()

    def seen_from(self, distance: float) -> None:
        """Keep the label readable, and small, when the eye comes nearer or goes farther away.

        Parameters
        ----------
        distance : float
        """
        wanted = _LABEL * distance
        # Not with each step of a wheel: each change is sent.
        if len(self.points) == 2 and not 0.7 * self._height < wanted < 1.4 * self._height:
            self._height = wanted
            self._place()

    def _place(self) -> None:
        # A letter is about half as wide as it is high.
        width = 0.5 * self._height * len(self._text.string)
        for part, more in ((self._plate, 0.2 * self._height), (self._label, 0.0)):
            part.position = tuple((self.points[0] + self.points[1]) / 2)
            part.scale = (width + more, self._height + more, 1.0)

    def _ends_as_array(self) -> Floats32:
        return np.array([self.points[0], self.points[-1]], np.float32)

    def close(self) -> None:
        """Free the browser's memory."""
        for part in self._parts:
            part.material.close()
            part.close()
        if self._parts:
            self._lines.geometry.close()
            self._line.close()
            self._text.close()
        self.object.close()


def in_words(length: float, unit: str) -> str:
    """Format a length.

    Parameters
    ----------
    length : float
    unit : str
        Such as "m"; empty when unknown.

    Returns
    -------
    str
    """
    return f"{length:.4g} {unit}" if unit else f"{length:.4g}"

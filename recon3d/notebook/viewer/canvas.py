"""The objects of pythreejs that make a viewer's picture, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pythreejs

from recon3d.notebook.viewer.clipping import ClipBox
from recon3d.notebook.viewer.layers import CameraLayer, MeshLayer, PointLayer, unseen_box
from recon3d.notebook.viewer.measuring import Ruler
from recon3d.notebook.viewer.navigation import FIELD_OF_VIEW, Navigation
from recon3d.notebook.viewer.picking import ClickPicker
from recon3d.viewer.view_content import Content

BACKGROUND = "#15181c"


class Canvas:
    """The scene, the camera in it, and the renderer that draws it.

    Parameters
    ----------
    content : Content
        What to draw.
    size : tuple of int
        Width and height in pixels.
    on_click, on_press, on_release : callable
        Called when the mouse clicks, and when its button goes down and up.

    Attributes
    ----------
    layers : dict of str to layer
        "mesh", "points" and "cameras", as far as there are any.
    navigation : Navigation
    ruler : Ruler
    clipping : ClipBox
    picker : ClickPicker
        Tells what a click hit.
    scene : pythreejs.Scene
    renderer : pythreejs.Renderer
    size : tuple of int
        Width and height in pixels.
    """

    def __init__(
        self,
        content: Content,
        size: tuple[int, int],
        on_click: Callable[[], None],
        on_press: Callable[[], None],
        on_release: Callable[[], None],
    ) -> None:
        self.size = size
        self.layers = _layers_of(content)
        middle, radius = content.extent
        up = np.array([0.0, 1.0, 0.0]) if content.up is None else np.asarray(content.up, float)
        self.navigation = Navigation(middle, radius, up, size[0] / size[1])
        self._opening = content.opening
        self.open()
        self.ruler = Ruler()
        self._model = pythreejs.Group(children=[layer.object for layer in self.layers.values()])
        self._around = pythreejs.Group(children=[unseen_box(middle, 150 * radius)])
        self.scene = pythreejs.Scene(
            children=[
                *(self._model, self._around, self.ruler.object, self.navigation.camera),
                *(layer.drawn for layer in self.layers.values() if isinstance(layer, CameraLayer)),
            ],
            background=BACKGROUND,
        )
        self.picker = ClickPicker(self._model, on_click, pointThreshold=0.01 * radius)
        self._pressed = ClickPicker(self._around, on_press, "mousedown")
        self._released = ClickPicker(self._around, on_release, "mouseup")
        self.renderer = pythreejs.Renderer(
            camera=self.navigation.camera,
            scene=self.scene,
            controls=self._controls(),
            width=size[0],
            height=size[1],
            antialias=False,
            clearColor=BACKGROUND,
        )
        self.clipping = ClipBox(self.renderer, *content.bounds)

    def open(self) -> None:
        """Take the first view, as on the page and in pictures."""
        eye = self._opening.eye(self.size[0] / self.size[1], FIELD_OF_VIEW)
        self.navigation.look(eye, self._opening.target)

    def fit(self) -> None:
        """Look at the whole model; from where it was seen first, unless up is elsewhere now."""
        self.navigation.fit()
        if self.navigation.mode == "orbit" and np.allclose(self.navigation.up, self._opening.up):
            self.open()

    def take_controls(self) -> None:
        """Let the browser use the navigation's present controls."""
        self.renderer.controls = self._controls()

    def resize(self, width: int, height: int) -> None:
        """Set the size of the picture.

        Parameters
        ----------
        width, height : int
            In pixels.
        """
        self.size = (width, height)
        self.navigation.camera.aspect = width / height
        self.renderer.width, self.renderer.height = width, height

    @property
    def bytes_sent(self) -> int:
        """Size of the arrays and the texture that went to the browser so far."""
        return sum(layer.bytes_sent for layer in self.layers.values())

    def close(self) -> None:
        """Free the browser's memory."""
        self.renderer.close()
        for part in (*self.layers.values(), self.ruler, self.clipping, self.navigation):
            part.close()
        for widget in (self.picker, self._pressed, self._released, self._model, self._around, self.scene):
            widget.close()

    def _controls(self) -> list[Any]:
        return [self.navigation.controls, self.picker, self._pressed, self._released]


def _layers_of(content: Content) -> dict[str, Any]:
    layers: dict[str, Any] = {}
    if content.vertices is not None:
        layers["mesh"] = MeshLayer(content)
    alone = "mesh" not in layers  # which the others would hide
    if content.points is not None:
        layers["points"] = PointLayer(content, visible=alone)
    if content.frusta is not None:
        layers["cameras"] = CameraLayer(content, visible=alone)
    return layers

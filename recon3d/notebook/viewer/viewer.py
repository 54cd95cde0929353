"""A model that can be turned, measured and cut, in a notebook's cell."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recon3d.errors import InputError, OptionError
from recon3d.notebook.stand_in import show_with
from recon3d.notebook.viewer.canvas import Canvas
from recon3d.notebook.viewer.detail import Detail
from recon3d.notebook.viewer.listening import Ear
from recon3d.notebook.viewer.measuring import in_words
from recon3d.notebook.viewer.navigation import FIELD_OF_VIEW
from recon3d.notebook.viewer.picking import Hit
from recon3d.notebook.viewer.surround import Surround
from recon3d.notebook.viewer.toolbar import Toolbar
from recon3d.notebook.viewer.true_size import TrueSize
from recon3d.rendering.picture import Picture
from recon3d.types import Floats
from recon3d.viewer.photos import photo_of
from recon3d.viewer.still import draw, encode_png, quick_picture
from recon3d.viewer.thinning import Budget
from recon3d.viewer.view_content import Content, Shown, content_of

#: Seconds without a movement after which all points are drawn again.
_STILL = 0.6


class Viewer:
    """A model that can be turned, measured and cut, in a notebook's cell.

    Parameters
    ----------
    shown : Project, Scene, PointCloud, Mesh or TexturedMesh
    width, height : int
        Size of the picture in pixels; with `fill` until the page tells the cell's width.
    fill : bool
        Take the width of the cell, and listen to keys.
    budget : Budget, optional
        What is larger is thinned before it is sent; the line below the picture says so.
    images : Path, optional
        Folder of the cameras' photos; a project knows its own.
    content : Content, optional
        What to show, where it is at hand already.

    Attributes
    ----------
    content : Content
        What is sent.
    widget : ipywidgets.Widget
        Picture, tools and photo.
    navigation : Navigation
        Where the camera is and how it moves.
    layers : dict of str to layer
        "mesh", "points" and "cameras", as far as there are any.
    selected_camera : str or None
        Name of the camera that was clicked.

    Raises
    ------
    InputError
        There is nothing to show yet.
    """

    def __init__(
        self,
        shown: Shown,
        *,
        width: int = 800,
        height: int = 500,
        fill: bool = True,
        budget: Budget | None = None,
        images: Path | None = None,
        content: Content | None = None,
    ) -> None:
        self.content = content or content_of(shown, budget, images=images)
        self._true_size = TrueSize(shown, self.content)
        self.selected_camera: str | None = None
        self._listeners: list[Callable[[str], None]] = []
        self._measuring = False
        self.canvas = Canvas(self.content, (width, height), self._on_click, self._on_press, self._on_release)
        self.layers, self.navigation = self.canvas.layers, self.canvas.navigation
        self.ruler, self.clipping = self.canvas.ruler, self.canvas.clipping
        self._ear = Ear(self.resize, self.navigation.press, self._on_drawn) if fill else None
        self._surround = Surround(self.canvas.renderer, () if self._ear is None else self._ear.widgets)
        self.widget = self._surround.widget
        self._toolbar: Toolbar | None = None
        self._making = threading.RLock()
        self.navigation.camera.observe(self._on_move, "position")
        self.detail = Detail(self.layers, lambda: self.toolbar.tell(), heard=fill)

    @property
    def toolbar(self) -> Toolbar:
        """The tools: made after the first picture, or when they are first asked for."""
        with self._making:
            if self._toolbar is None:
                self._toolbar = Toolbar(self, self._surround, screens=self._ear is not None)
            return self._toolbar

    def _update_tools(self) -> None:
        """Let the tools show the present state, if they are there."""
        if self._toolbar is not None:
            self._toolbar.update()

    # --- what is seen ---------------------------------------------------------------------------

    @property
    def visible(self) -> Mapping[str, bool]:
        """Which layers are drawn."""
        return {name: layer.visible for name, layer in self.layers.items()}

    def show(self, **layers: bool) -> None:
        """Show or hide layers, as in ``viewer.show(points=True, cameras=False)``.

        Parameters
        ----------
        **layers
            True or False by the layer's name.

        Raises
        ------
        OptionError
            There is no such layer.
        """
        for name, value in layers.items():
            if name not in self.layers:
                raise OptionError(f"Unknown layer {name!r}.", f"Choose one of {', '.join(self.layers)}.")
            self.layers[name].visible = value
        self._update_tools()

    @property
    def style(self) -> str | None:
        """How the mesh is drawn: "textured", "shaded" or "wireframe"; None without a mesh."""
        return self.layers["mesh"].style if "mesh" in self.layers else None

    @style.setter
    def style(self, name: str) -> None:
        styles = self.layers["mesh"].styles if "mesh" in self.layers else ()
        if name not in styles:
            raise OptionError(
                f"Unknown style {name!r}.", f"Choose one of {', '.join(styles) or 'none here'}."
            )
        self.layers["mesh"].style = name
        self._update_tools()

    @property
    def point_size(self) -> float:
        """Pixels."""
        return float(self.layers["points"].size) if "points" in self.layers else 0.0

    @point_size.setter
    def point_size(self, value: float) -> None:
        if "points" in self.layers:
            self.layers["points"].size = value

    @property
    def background(self) -> str:
        """Colour, as "#rrggbb"."""
        return str(self.canvas.scene.background)

    @background.setter
    def background(self, color: str) -> None:
        self.canvas.scene.background = color

    def fit(self) -> None:
        """Look at the whole model."""
        self.canvas.fit()

    def set_up(self, axis: str) -> None:
        """Choose the axis that points up.

        Parameters
        ----------
        axis : {"scene", "+x", "-x", "+y", "-y", "+z", "-z"}

        Raises
        ------
        OptionError
            There is no such axis.
        """
        self.navigation.set_up(axis)
        self.canvas.take_controls()

    def follow(self, other: Viewer) -> None:
        """Take over another viewer's camera.

        Parameters
        ----------
        other : Viewer
        """
        controls = self.navigation.controls
        self.navigation.follow(other.navigation)
        if self.navigation.controls is not controls:
            self.canvas.take_controls()

    @property
    def clip(self) -> tuple[Floats, Floats] | None:
        """Lowest and highest corner, in the world, of the box outside of which nothing is drawn."""
        box, origin = self.clipping.box, self.content.origin
        return None if box is None else (box[0] + origin, box[1] + origin)

    @clip.setter
    def clip(self, box: tuple[Floats, Floats] | None) -> None:
        if box is None:
            self.clipping.clear()
        else:
            self.clipping.set(
                np.asarray(box[0]) - self.content.origin, np.asarray(box[1]) - self.content.origin
            )
        # The nearest hit may be cut away: then the ones behind it count.
        self.canvas.picker.all = box is not None
        self._update_tools()

    def screenshot(self, path: str | Path | None = None) -> Picture:
        """Draw what is shown from where the camera is, in software: no browser is needed.

        Parameters
        ----------
        path : path-like, optional
            PNG file to write.

        Returns
        -------
        Picture
            An ndarray of uint8, shape (H, W, 3), RGB, which notebooks show as a picture.
        """
        picture = draw(
            self.content,
            self.navigation.cam_from_scene(),
            FIELD_OF_VIEW,
            self.canvas.size,
            layers=[name for name, on in self.visible.items() if on],
            style=self.style or "textured",
            point_size=self.point_size,
            background=self.background,
            box=self.clipping.box,
        )
        if path is not None:
            Path(path).write_bytes(encode_png(picture))
        return picture.view(Picture)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the picture.

        Parameters
        ----------
        width, height : int
            In pixels.
        """
        self.canvas.resize(width, height)

    # --- cameras --------------------------------------------------------------------------------

    def select(self, name: str | None) -> None:
        """Highlight a camera and show its photo, as a click does.

        Parameters
        ----------
        name : str or None
            Name of the camera's view; None clears the selection.

        Raises
        ------
        InputError
            There is no such camera.
        """
        if name is not None and name not in self.content.names:
            raise InputError(f"Unknown camera {name!r}.", "See viewer.content.names.")
        self.selected_camera = name
        if "cameras" in self.layers:
            self.layers["cameras"].mark(None if name is None else self.content.names.index(name))
        self.toolbar.show_photo(name, None if name is None else photo_of(self.content.images, name))
        if name is not None:
            for listener in self._listeners:
                listener(name)

    def on_select(self, listener: Callable[[str], None]) -> None:
        """Call a function when a camera is clicked.

        Parameters
        ----------
        listener : callable
            Receives the name of the camera's view.
        """
        self._listeners.append(listener)

    # --- measuring ------------------------------------------------------------------------------

    @property
    def measuring(self) -> bool:
        """Whether clicks measure instead of choosing cameras."""
        return self._measuring

    @measuring.setter
    def measuring(self, value: bool) -> None:
        self._measuring = value
        if "cameras" in self.layers:  # which may stand before the surface
            self.layers["cameras"].aimed = not value
        self.ruler.clear()
        self._update_tools()

    @property
    def scale(self) -> float | None:
        """Metres per unit of the reconstruction, where a true length was given."""
        return self._true_size.scale

    @property
    def unit(self) -> str:
        """Unit of `measured`: "m", or "" while the scale is unknown."""
        return self._true_size.unit

    @property
    def measured(self) -> float | None:
        """Distance between the two clicked points, in `unit`; None before there are two."""
        length = self.ruler.length
        return None if length is None else self._true_size.of(length)

    def set_true_length(self, metres: float) -> float:
        """Set the true length of the measured distance.

        For a `Project` the scale is kept in it (`recon3d.project.scale.set_scale`), and its exports are in
        metres from then on.

        Parameters
        ----------
        metres : float
            The true length.

        Returns
        -------
        float
            The scale: metres per unit.

        Raises
        ------
        InputError
            Nothing was measured, the length is not above zero, or the project has been reconstructed
            anew since.
        ProjectError
            A run works on the project.
        """
        scale = self._true_size.set(self.ruler.length, metres)
        self._tell_length()
        return scale

    def _tell_length(self) -> None:
        if self.measured is not None:
            self.ruler.write(in_words(self.measured, self.unit), self.navigation.distance)
        self._update_tools()

    # --- what the browser tells -----------------------------------------------------------------

    def _on_click(self) -> None:
        if not self.navigation.hand.clicked():
            return
        hit = next((hit for hit in self.canvas.picker.hits() if self.clipping.keeps(hit.point)), None)
        if self._measuring:
            if hit is not None:
                self.ruler.add(hit.point)
                self._tell_length()
        elif hit is not None and "cameras" in self.layers and hit.thing is self.layers["cameras"].targets:
            name = self.content.names[self._camera_of(hit)]
            self.select(None if name == self.selected_camera else name)

    def _camera_of(self, hit: Hit) -> int:
        return int(self.layers["cameras"].camera_of(hit.face or 0))

    def _on_press(self) -> None:
        self.detail.thin(10.0)

    def _on_release(self) -> None:
        self.detail.thin(0.0)

    def _on_drawn(self) -> None:
        self.toolbar.update()
        self.detail.drawn()

    def _on_move(self, _: Any) -> None:
        # What counts as a click on a point grows with the distance.
        self.canvas.picker.pointThreshold = max(0.006 * self.navigation.distance, 1e-9)
        self.ruler.seen_from(self.navigation.distance)
        if self.navigation.hand.moving:
            self.detail.thin(_STILL)

    # --- showing --------------------------------------------------------------------------------

    @property
    def bytes_sent(self) -> int:
        """Size of the arrays and the texture that went to the browser so far."""
        return self.canvas.bytes_sent

    def close(self) -> None:
        """Free the browser's memory; a page can hold about eight viewers."""
        self.detail.close()
        self._surround.close()
        self.canvas.close()

    def _ipython_display_(self, words: str | None = None) -> None:
        drawn = quick_picture(self.content.draft or self.content)
        picture = base64.b64encode(encode_png(drawn)).decode("ascii")
        show_with(self.widget, {"image/png": picture, "text/plain": words or repr(self)})

    def __dir__(self) -> list[str]:
        # Parts; `clip`, `measured` … speak for them.
        inner = {"canvas", "clipping", "detail", "ruler", "toolbar"}
        return sorted(name for name in super().__dir__() if name not in inner)

    def __repr__(self) -> str:
        parts = ", ".join(self.layers)
        return f"<Viewer: {parts}; {self.bytes_sent / 1e6:.1f} MB sent>"

"""The tools above the picture, in one row; what a tool needs more folds out below it."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import ipywidgets
import numpy as np

from recon3d.errors import Recon3DError
from recon3d.notebook.viewer.clipping import ClipBox
from recon3d.notebook.viewer.measuring import Ruler, in_words
from recon3d.notebook.viewer.navigation import Move, Navigation
from recon3d.viewer.view_content import Content

_UPS = ("scene", "+x", "-x", "+y", "-y", "+z", "-z")
_MOVES: dict[Move, str] = {
    "forward": "arrow-up",
    "back": "arrow-down",
    "left": "arrow-left",
    "right": "arrow-right",
    "up": "level-up",
    "down": "level-down",
}
_NARROW = {"width": "auto"}
#: The photo lies over a corner of the picture, and clicks go through it.
_STYLE = """<style>
.recon3d-picture { position: relative }
.recon3d-picture:focus-visible { outline: 2px solid #1976d2; outline-offset: -2px }
.recon3d-photo { position: absolute; right: 8px; top: 8px; max-width: 40%; pointer-events: none }
.recon3d-photo .widget-html { color: #fff; text-shadow: 0 0 3px #000; align-self: flex-end }
.recon3d-viewer:fullscreen { background: var(--jp-layout-color0, #fff); padding: 2px }
</style>"""


class Controlled(Protocol):
    """What of a `Viewer` its tools show and change."""

    content: Content
    layers: Any
    clipping: ClipBox
    navigation: Navigation
    ruler: Ruler
    style: Any
    measuring: Any
    clip: Any
    background: Any

    @property
    def visible(self) -> Mapping[str, bool]:
        """Layers, and whether each is shown."""
        ...

    @property
    def measured(self) -> float | None:
        """The measured length."""
        ...

    @property
    def unit(self) -> str:
        """Its unit."""
        ...

    @property
    def bytes_sent(self) -> int:
        """Bytes sent to the browser."""
        ...

    def show(self, **layers: bool) -> None:
        """Show or hide layers.

        Parameters
        ----------
        **layers
            True or False by the layer's name.
        """
        ...

    def fit(self) -> None:
        """Show the whole model."""
        ...

    def set_up(self, axis: str) -> None:
        """Choose the axis that points up.

        Parameters
        ----------
        axis : str
        """
        ...

    def set_true_length(self, metres: float) -> float:
        """Set the true length of the measured distance.

        Parameters
        ----------
        metres : float

        Returns
        -------
        float
        """
        ...


class Toolbar:
    """Buttons and sliders of a viewer.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Controlled) -> None:
        self._viewer = viewer
        self._updating = False
        self.layer_boxes = {
            name: self._watch(
                ipywidgets.Checkbox(on, description=name, indent=False, layout=_NARROW),
                partial(self._switch, name),
            )
            for name, on in viewer.visible.items()
        }
        self._told = ipywidgets.HTML(html.escape(_told(viewer)))
        self._photo = ipywidgets.Image(format="jpeg", layout={"max_width": "360px", "display": "none"})
        self._caption = ipywidgets.HTML()
        self._message = ipywidgets.HTML()
        look, details = self._look()
        move, pad, ups = self._move()
        measure, length = self._measure()
        clip, ranges = self._clip()
        self.more = ipywidgets.ToggleButton(False, icon="ellipsis-h", tooltip="More", layout=_NARROW)
        self.full = ipywidgets.Button(icon="expand", tooltip="Full screen", layout=_NARROW)
        self.full.add_class("recon3d-full")
        self._folds = {"pad": pad, "measure": length, "clip": ranges, "more": [*details, *ups]}
        tools = [*look, *move, measure, clip, self.more, self.full]
        self._tools = _row(tools)
        self._below = {name: _row(parts) for name, parts in self._folds.items()}
        self.more.observe(lambda _: self.update(), "value")
        self.update()

    def around(self, renderer: Any, ear: Any | None = None) -> Any:
        """Lay the tools out around the picture.

        Parameters
        ----------
        renderer : pythreejs.Renderer
        ear : ipywidgets.Widget, optional
            What listens to the page; without it there is no full screen.

        Returns
        -------
        ipywidgets.Widget
        """
        if ear is None:
            self.full.layout.display = "none"
        side = ipywidgets.VBox([self._photo, self._caption])
        side.add_class("recon3d-photo")
        picture = ipywidgets.VBox([renderer, side], layout={"overflow": "hidden"})
        picture.add_class("recon3d-picture")
        told = _row([self._message, self._told, ipywidgets.HTML(_STYLE)])
        rows = [self._tools, *self._below.values(), picture, told, *(() if ear is None else (ear,))]
        around = ipywidgets.VBox(rows, layout={"width": None if ear is None else "100%"})
        around.add_class("recon3d-viewer")
        return around

    def update(self) -> None:
        """Show the viewer's present state."""
        viewer = self._viewer
        self._updating = True
        try:
            for name, on in viewer.visible.items():
                self.layer_boxes[name].value = on
            if viewer.style is not None:
                self.style.value = viewer.style
            self.measure.value = viewer.measuring
            self.clip.value = viewer.clip is not None
            shown = {
                "pad": self.mode.value == "fly",
                "measure": self.measure.value,
                "clip": self.clip.value,
                "more": self.more.value,
            }
            for name, row in self._below.items():
                row.layout.display = None if shown[name] else "none"
            self._length.value = self._length_in_words()
            ready = viewer.measured is not None
            self.true_length.disabled = self.set_scale.disabled = not ready
        finally:
            self._updating = False

    def show_photo(self, name: str | None, jpeg: bytes | None) -> None:
        """Show a camera's name and photo beside the picture.

        Parameters
        ----------
        name : str or None
            Name of the camera's view; None hides both.
        jpeg : bytes or None
            The photo.
        """
        self._caption.value = html.escape(name or "") + ("" if jpeg or not name else " (no photo at hand)")
        self._photo.value = jpeg or b""
        self._photo.layout.display = None if jpeg else "none"

    # --- rows -----------------------------------------------------------------------------------

    def _look(self) -> tuple[list[Any], list[Any]]:
        viewer = self._viewer
        row: list[Any] = list(self.layer_boxes.values())
        more: list[Any] = []
        styles = viewer.layers["mesh"].styles if "mesh" in viewer.layers else ()
        self.style = ipywidgets.Dropdown(options=styles, layout={"width": "7em"})
        if styles:
            row.append(self._watch(self.style, lambda value: setattr(viewer, "style", value)))
        self.point_size = ipywidgets.FloatSlider(
            2.0, min=1, max=8, step=0.5, description="Point size", layout={"width": "16em"}
        )
        if "points" in viewer.layers:
            more.append(self._watch(self.point_size, lambda value: setattr(viewer, "point_size", value)))
        self.back = ipywidgets.ColorPicker(value=viewer.background, concise=True, description="Background")
        more.append(self._watch(self.back, lambda value: setattr(viewer, "background", value)))
        return row, more

    def _move(self) -> tuple[list[Any], list[Any], list[Any]]:
        viewer = self._viewer
        self.fit = self._button("Fit", "arrows-alt", "See the whole model", viewer.fit)
        self.up = ipywidgets.Dropdown(options=_UPS, description="Up", layout={"width": "9em"})
        self.up.style.description_width = "2em"
        self._watch(self.up, viewer.set_up)
        self.mode = ipywidgets.ToggleButtons(
            options=["orbit", "fly"], style={"button_width": "4em"}, layout=_NARROW
        )
        self.steps = {
            name: self._button("", icon, f"Move {name}", partial(viewer.navigation.step, name))
            for name, icon in _MOVES.items()
        }

        def choose(mode: str) -> None:
            viewer.navigation.mode = mode
            self.update()

        self._watch(self.mode, choose)
        return [self.fit, self.mode], list(self.steps.values()), [self.up]

    def _measure(self) -> tuple[Any, list[Any]]:
        viewer = self._viewer
        self.measure = ipywidgets.ToggleButton(
            False, description="Measure", icon="arrows-h", tooltip="Click two points", layout=_NARROW
        )
        self._watch(self.measure, lambda value: setattr(viewer, "measuring", value))
        self._length = ipywidgets.HTML()
        self.true_length = ipywidgets.FloatText(
            0.0, description="True length (m)", layout={"width": "14em"}, style={"description_width": "8em"}
        )
        self.set_scale = self._button(
            "Set scale",
            "check",
            "Say how long the distance truly is",
            lambda: viewer.set_true_length(self.true_length.value) and None,
        )
        return self.measure, [self._length, self.true_length, self.set_scale]

    def _clip(self) -> tuple[Any, list[Any]]:
        viewer = self._viewer
        low, high = viewer.clipping.widest
        self.clip = ipywidgets.ToggleButton(
            False, description="Clip box", icon="cube", tooltip="Show only what is inside", layout=_NARROW
        )
        self.clip_ranges = [
            ipywidgets.FloatRangeSlider(
                value=(float(low[i]), float(high[i])),
                min=float(low[i]),
                max=float(high[i]),
                step=float(high[i] - low[i]) / 200,
                description="xyz"[i],
                readout=False,
                layout={"width": "14em"},
                style={"description_width": "1em"},
            )
            for i in range(3)
        ]

        def cut(_: Any) -> None:
            box = np.array([slider.value for slider in self.clip_ranges]).T + viewer.content.origin
            viewer.clip = (box[0], box[1]) if self.clip.value else None

        for widget in (self.clip, *self.clip_ranges):
            self._watch(widget, cut)
        return self.clip, list(self.clip_ranges)

    def _switch(self, name: str, value: bool) -> None:
        self._viewer.show(**{name: value})

    # --- parts ----------------------------------------------------------------------------------

    def _watch(self, widget: Any, act: Callable[[Any], object]) -> Any:
        """Call `act` with each value that a person gives the widget."""

        def changed(change: dict[str, Any]) -> None:
            if not self._updating:
                self._try(lambda: act(change["new"]))

        widget.observe(changed, "value")
        return widget

    def _button(self, text: str, icon: str, tip: str, act: Callable[[], object]) -> Any:
        button = ipywidgets.Button(description=text, icon=icon, tooltip=tip, layout=_NARROW)
        button.on_click(lambda _: self._try(act))
        return button

    def _try(self, act: Callable[[], object]) -> None:
        """Do it; what cannot be done is said below the picture."""
        self._message.value = ""
        try:
            act()
        except Recon3DError as error:
            self._message.value = f"<b>{html.escape(error.message)}</b> {html.escape(error.hint)}"

    def _length_in_words(self) -> str:
        viewer = self._viewer
        if viewer.measured is not None:
            known = "" if viewer.unit else " (scale unknown)"
            return f"Distance <b>{in_words(viewer.measured, viewer.unit)}</b>{known}"
        if viewer.measuring:
            return "Click the second point." if viewer.ruler.points else "Click the first point."
        return ""


def _row(parts: list[Any]) -> Any:
    row = ipywidgets.HBox(parts, layout={"flex_flow": "row wrap", "align_items": "center"})
    row.add_class("recon3d-row")
    return row


def _told(viewer: Controlled) -> str:
    return ", ".join([*viewer.content.notes, f"{viewer.bytes_sent / 1e6:.1f} MB sent"])

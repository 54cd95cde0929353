"""The tools above the picture, in one row; what a tool needs more folds out below it.

A fold is made when it is first opened, and tools of a kind share their layout: each of these is a message
to the browser.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, Protocol

import ipywidgets
import numpy as np

from recon3d.errors import Recon3DError
from recon3d.notebook.viewer.clipping import ClipBox
from recon3d.notebook.viewer.measuring import Ruler, in_words
from recon3d.notebook.viewer.navigation import Move, Navigation
from recon3d.notebook.viewer.surround import Surround
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
    point_size: Any

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
    surround : Surround
        Where they are put.
    screens : bool
        Whether the page can be asked for the full screen.
    """

    def __init__(self, viewer: Controlled, surround: Surround, screens: bool) -> None:
        self._viewer, self._surround = viewer, surround
        self._updating = self._laid_over = False
        self._narrow = ipywidgets.Layout(width="auto")
        self._pressed = ipywidgets.ButtonStyle()
        self._told = ipywidgets.HTML(html.escape(", ".join(viewer.content.notes)))
        self._written = {"layout": self._told.layout, "style": self._told.style}
        self._message = ipywidgets.HTML(**self._written)
        self.measure = ipywidgets.ToggleButton(
            False, description="Measure", icon="arrows-h", tooltip="Click two points", layout=self._narrow
        )
        switches = {"layout": self._narrow, "style": self.measure.style}
        self._watch(self.measure, lambda value: setattr(viewer, "measuring", value))
        self.clip = ipywidgets.ToggleButton(
            False, description="Clip box", icon="cube", tooltip="Show only what is inside", **switches
        )
        self._watch(self.clip, self._cut)
        self.more = ipywidgets.ToggleButton(False, icon="ellipsis-h", tooltip="More", **switches)
        self.more.observe(lambda _: self.update(), "value")
        tools = [*self._look(), *self._move(), self.measure, self.clip, self.more]
        if screens:
            tools.append(
                ipywidgets.Button(
                    icon="expand",
                    tooltip="Full screen",
                    layout=self._narrow,
                    style=self._pressed,
                    _dom_classes=("recon3d-full",),
                )
            )
        self._folds: dict[str, Any] = {}
        surround.put_above(_row(tools))
        surround.put_below(_row([self._message, self._told, ipywidgets.HTML(_STYLE, **self._written)]))
        self.update()

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
            self._fold("pad", self.mode.value == "fly", lambda: list(self.steps.values()))
            self._fold("clip", self.clip.value, lambda: self.clip_ranges)
            self._fold("more", self.more.value, self._more)
            if self.measure.value:
                self._length.value = self._length_in_words()
                self.true_length.disabled = self.set_scale.disabled = viewer.measured is None
            self._fold(
                "measure", self.measure.value, lambda: [self._length, self.true_length, self.set_scale]
            )
        finally:
            self._updating = False

    def tell(self) -> None:
        """Say what was thinned and how much was sent."""
        sent = f"{self._viewer.bytes_sent / 1e6:.1f} MB sent"
        self._told.value = html.escape(", ".join([*self._viewer.content.notes, sent]))

    def show_photo(self, name: str | None, jpeg: bytes | None) -> None:
        """Show a camera's name and photo beside the picture.

        Parameters
        ----------
        name : str or None
            Name of the camera's view; None hides both.
        jpeg : bytes or None
            The photo.
        """
        if not self._laid_over:
            self._surround.lay_over(self._side)
            self._laid_over = True
        self._caption.value = html.escape(name or "") + ("" if jpeg or not name else " (no photo at hand)")
        self._photo.value = jpeg or b""
        self._photo.layout.display = None if jpeg else "none"

    # --- the row --------------------------------------------------------------------------------

    def _look(self) -> list[Any]:
        viewer = self._viewer
        self.layer_boxes: dict[str, Any] = {}
        shared: dict[str, Any] = {"layout": self._narrow}
        for name, on in viewer.visible.items():
            checkbox = ipywidgets.Checkbox(on, description=name, indent=False, **shared)
            shared["style"] = checkbox.style
            self.layer_boxes[name] = self._watch(checkbox, partial(self._switch, name))
        row: list[Any] = list(self.layer_boxes.values())
        styles = viewer.layers["mesh"].styles if "mesh" in viewer.layers else ()
        self.style = ipywidgets.Dropdown(options=styles, layout={"width": "7em"})
        if styles:
            row.append(self._watch(self.style, lambda value: setattr(viewer, "style", value)))
        return row

    def _move(self) -> list[Any]:
        self.fit = self._button("Fit", "arrows-alt", "See the whole model", self._viewer.fit)
        self.mode = ipywidgets.ToggleButtons(
            options=["orbit", "fly"], style={"button_width": "4em"}, layout=self._narrow
        )

        def choose(mode: str) -> None:
            self._viewer.navigation.mode = mode
            self.update()

        self._watch(self.mode, choose)
        return [self.fit, self.mode]

    # --- the folds ------------------------------------------------------------------------------

    def _fold(self, name: str, opened: bool, parts: Callable[[], list[Any]]) -> None:
        if opened and name not in self._folds:
            self._folds[name] = _row(parts())
            self._surround.put_above(self._folds[name])
        if name in self._folds:
            self._folds[name].layout.display = None if opened else "none"

    @cached_property
    def steps(self) -> dict[Move, Any]:
        """Buttons that fly."""
        step = self._viewer.navigation.step
        return {
            name: self._button("", icon, f"Move {name}", partial(step, name)) for name, icon in _MOVES.items()
        }

    def _more(self) -> list[Any]:
        points = [self.point_size] if "points" in self._viewer.layers else []
        return [*points, self.back, self.up]

    @cached_property
    def point_size(self) -> Any:
        """Slider, in pixels."""
        viewer = self._viewer
        size = viewer.point_size or 2.0
        slider = ipywidgets.FloatSlider(
            size, min=1, max=8, step=0.5, description="Point size", layout={"width": "16em"}
        )
        return self._watch(slider, lambda value: setattr(viewer, "point_size", value))

    @cached_property
    def back(self) -> Any:
        """The background's colour."""
        viewer = self._viewer
        picker = ipywidgets.ColorPicker(value=viewer.background, concise=True, description="Background")
        return self._watch(picker, lambda value: setattr(viewer, "background", value))

    @cached_property
    def up(self) -> Any:
        """Which axis points up."""
        choice = ipywidgets.Dropdown(options=_UPS, description="Up", layout={"width": "9em"})
        choice.style.description_width = "2em"
        return self._watch(choice, self._viewer.set_up)

    @cached_property
    def _length(self) -> Any:
        return ipywidgets.HTML(**self._written)

    @cached_property
    def true_length(self) -> Any:
        """How long the distance truly is."""
        return ipywidgets.FloatText(
            0.0, description="True length (m)", layout={"width": "14em"}, style={"description_width": "8em"}
        )

    @cached_property
    def set_scale(self) -> Any:
        """Button that takes the true length."""
        return self._button(
            "Set scale",
            "check",
            "Say how long the distance truly is",
            lambda: self._viewer.set_true_length(self.true_length.value) and None,
        )

    @cached_property
    def clip_ranges(self) -> list[Any]:
        """Sliders of the box, along x, y and z."""
        low, high = self._viewer.clipping.widest
        ranges = [
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
        return [self._watch(widget, self._cut) for widget in ranges]

    def _cut(self, _: Any) -> None:
        box = np.array([slider.value for slider in self.clip_ranges]).T + self._viewer.content.origin
        self._viewer.clip = (box[0], box[1]) if self.clip.value else None

    @cached_property
    def _side(self) -> Any:
        return ipywidgets.VBox([self._photo, self._caption], _dom_classes=("recon3d-photo",))

    @cached_property
    def _photo(self) -> Any:
        return ipywidgets.Image(format="jpeg", layout={"max_width": "360px", "display": "none"})

    @cached_property
    def _caption(self) -> Any:
        return ipywidgets.HTML(**self._written)

    # --- parts ----------------------------------------------------------------------------------

    def _switch(self, name: str, value: bool) -> None:
        self._viewer.show(**{name: value})

    def _watch(self, widget: Any, act: Callable[[Any], object]) -> Any:
        """Call `act` with each value that a person gives the widget."""

        def changed(change: dict[str, Any]) -> None:
            if not self._updating:
                self._try(lambda: act(change["new"]))

        widget.observe(changed, "value")
        return widget

    def _button(self, text: str, icon: str, tip: str, act: Callable[[], object]) -> Any:
        button = ipywidgets.Button(
            description=text, icon=icon, tooltip=tip, layout=self._narrow, style=self._pressed
        )
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
    return ipywidgets.HBox(parts, layout={"flex_flow": "row wrap", "align_items": "center"})

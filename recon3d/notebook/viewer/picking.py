"""What a click in the picture hits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pythreejs

from recon3d.types import Floats

#: A click this soon after the camera moved is the end of a drag (the browser calls both a click).
_DRAG_SECONDS = 0.4


@dataclass(frozen=True)
class Hit:
    """What a ray through a pixel meets first.

    Parameters
    ----------
    thing : object
        The widget that was hit.
    point : ndarray of float64, shape (3,)
        In the scene, relative to `Content.origin`.
    face, index : int or None
        Which triangle of a mesh, which point of a cloud.
    """

    thing: Any
    point: Floats
    face: int | None
    index: int | None


class ClickPicker(pythreejs.Picker):  # type: ignore[misc]
    """pythreejs' picker with one call for each click, after all of its fields have arrived."""

    def __init__(self, root: Any, told: Callable[[], None], event: str = "click", **options: Any) -> None:
        self._told = told
        super().__init__(controlling=root, event=event, **options)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take the state that the browser sends, then notify.

        Parameters
        ----------
        sync_data : dict of str to Any
            State by the trait's name.
        """
        super().set_state(sync_data)
        self._told()

    def hits(self) -> list[Hit]:
        """List what the click hit.

        Returns
        -------
        list of Hit
            The nearest first.
        """
        rows = self.picked if self.all else [{name: getattr(self, name) for name in _FIELDS}]
        return [
            Hit(_widget(row["object"]), np.array(row["point"], float), row["faceIndex"], row["index"])
            for row in rows
            if row.get("object") is not None
        ]


_FIELDS = ("object", "point", "faceIndex", "index")


def _widget(reference: Any) -> Any:
    """The widget behind "IPY_MODEL_…", which pythreejs leaves unresolved in `picked`."""
    if isinstance(reference, str):
        import ipywidgets

        return ipywidgets.widget_serialization["from_json"](reference, None)
    return reference


class Hand:
    """Tells clicks from drags, and when a hand moves the camera.

    Parameters
    ----------
    camera : pythreejs.PerspectiveCamera
    """

    def __init__(self, camera: Any) -> None:
        self._moved = -np.inf
        self._ours = False
        camera.observe(self._on_move, "position")
        self._camera = camera

    def move(self, **state: Any) -> None:
        """Set the camera's state from Python, which does not count as a drag.

        Parameters
        ----------
        **state
            Values by the trait's name.
        """
        self._ours = True
        try:
            self._camera.set_trait("position", state.pop("position"))
            for name, value in state.items():
                setattr(self._camera, name, value)
        finally:
            self._ours = False

    @property
    def moving(self) -> bool:
        """Whether the camera's present movement comes from the browser."""
        return not self._ours

    def clicked(self) -> bool:
        """Tell whether the browser's click is a click, not the end of a drag.

        Returns
        -------
        bool
        """
        dragged = time.monotonic() - self._moved < _DRAG_SECONDS
        self._moved = -np.inf
        return not dragged

    def _on_move(self, _: Any) -> None:
        if not self._ours:
            self._moved = time.monotonic()

"""The pictures below a run's bars: frames, cloud, depth maps, model, as they come."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import ipywidgets

from recon3d.errors import Recon3DError
from recon3d.notebook.panel import drawing
from recon3d.types import Bytes
from recon3d.viewer.photos import draw_map, to_jpeg

#: Seconds between two looks at the files, at least.
_INTERVAL = 1.0
#: Looking may take one part in so many of the time.
_SHARE = 100
#: A file that is not whole yet, or gone: the next look may have more luck.
_TRANSIENT = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, cv2.error, Recon3DError)
#: Stages whose product has a picture, the last ones first.
_MODELS = ("texturing", "mesh_generation", "dense_reconstruction")


@dataclass(frozen=True)
class StageFolder:
    """Where a stage works or has worked."""

    path: Path
    done: bool


class Pictures:
    """Four pictures that follow a run's files.

    Attributes
    ----------
    widget : ipywidgets.VBox
    frames, cloud, maps, model : Tile
    """

    def __init__(self) -> None:
        self.frames, self.cloud, self.maps, self.model = (Tile() for _ in range(4))
        below = ipywidgets.HBox(
            [tile.widget for tile in (self.cloud, self.model, self.maps)],
            layout={"flex_flow": "row wrap", "align_items": "flex-end"},
        )
        self.widget = ipywidgets.VBox([self.frames.widget, below])
        self._drawn: dict[drawing.Seen, Bytes] = {}
        self._next = 0.0

    def look(self, folders: Mapping[str, StageFolder], *, now: bool = False) -> None:
        """Draw new pictures.

        Parameters
        ----------
        folders : mapping of str to StageFolder
            Folders of the stages by name.
        now : bool
            Look even when the last look was a moment ago.
        """
        began = time.monotonic()
        if not now and began < self._next:
            return
        cost = time.thread_time()
        for stage, show in (
            ("frame_extraction", self._show_frames),
            ("sparse_reconstruction", self._show_cloud),
            ("dense_reconstruction", self._show_maps),
        ):
            if stage in folders:
                self._try(show, folders[stage])
        finished = next((folders[s] for s in _MODELS if s in folders and folders[s].done), None)
        if finished is not None:
            self._try(self._show_model, finished)
        self._next = time.monotonic() + max(_INTERVAL, _SHARE * (time.thread_time() - cost))

    def _try(self, show: Callable[[StageFolder], None], folder: StageFolder) -> None:
        try:
            show(folder)
        except _TRANSIENT:
            return

    def _show_frames(self, folder: StageFolder) -> None:
        count, chosen = drawing.frames_of(folder.path, folder.done)
        self._show_strip(self.frames, chosen, f"Frames: {count}", drawing.draw_frame)

    def _show_maps(self, folder: StageFolder) -> None:
        count, chosen = drawing.maps_of(folder.path, folder.done)
        self._show_strip(self.maps, chosen, f"Depth maps: {count}", draw_map)

    def _show_strip(
        self,
        tile: Tile,
        chosen: list[drawing.Seen],
        caption: str,
        draw: Callable[[str], Bytes | None],
    ) -> None:
        if not tile.is_new(chosen):
            return
        kept, pictures = {}, []
        for seen in chosen:
            picture = self._drawn[seen] if seen in self._drawn else draw(seen[0])
            if picture is not None:
                kept[seen] = picture
                pictures.append(picture)
        for seen in tile.seen:
            self._drawn.pop(seen, None)
        self._drawn |= kept
        if pictures:
            tile.show(chosen, drawing.strip(pictures), caption)

    def _show_cloud(self, folder: StageFolder) -> None:
        chosen = drawing.cloud_of(folder.path, folder.done)
        if self.cloud.is_new(chosen):
            picture, scene = drawing.draw_cloud(chosen[0][0])
            points = f", points: {len(scene.points):,}" if folder.done else ""
            self.cloud.show(chosen, picture, f"Cameras: {len(scene)}{points}")

    def _show_model(self, folder: StageFolder) -> None:
        chosen = drawing.model_of(folder.path)
        if self.model.is_new(chosen):
            picture = drawing.draw_model(chosen[0][0])
            if picture is not None:
                stage = folder.path.name.rpartition("-")[0].replace("_", " ")
                self.model.show(chosen, picture, f"After {stage}")


class Tile:
    """A picture with a caption; takes no room before it has one.

    Attributes
    ----------
    image : ipywidgets.Image
    caption : ipywidgets.Label
    seen : list
        The files that it shows.
    """

    def __init__(self) -> None:
        self.seen: list[drawing.Seen] = []
        self.image = ipywidgets.Image(format="jpeg", layout={"width": "auto", "object_fit": "contain"})
        self.caption = ipywidgets.Label()
        self.widget: Any = ipywidgets.VBox(
            [self.image, self.caption], layout={"display": "none", "margin": "4px 8px 0 0"}
        )

    def is_new(self, chosen: list[drawing.Seen]) -> bool:
        """Tell whether files would make another picture.

        Parameters
        ----------
        chosen : list of drawing.Seen
            The files.

        Returns
        -------
        bool
        """
        return bool(chosen) and chosen != self.seen

    def show(self, chosen: list[drawing.Seen], picture: Bytes, caption: str) -> None:
        """Show a picture.

        Parameters
        ----------
        chosen : list of drawing.Seen
            The files that it was drawn from.
        picture : ndarray of uint8, shape (H, W, 3)
            BGR.
        caption : str
        """
        self.seen = chosen
        self.image.value = to_jpeg(picture, max(picture.shape))
        self.caption.value = caption
        self.widget.layout.display = None

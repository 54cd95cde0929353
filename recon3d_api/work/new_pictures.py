"""Notices that a run has made frames or depth maps that nobody was told of."""

from __future__ import annotations

import time
from datetime import datetime

from recon3d_api.files.stage_pictures import moment, pictures_of
from recon3d_api.files.storage import Storage
from recon3d_api.schemas import PictureKind

_KINDS: dict[str, PictureKind] = {"frame_extraction": "frames", "dense_reconstruction": "depth_maps"}
#: Seconds between two looks, at least; looking may take one part in so many of the time.
_INTERVAL, _SHARE = 1.0, 100


class NewPictures:
    """The time of the newest picture of the stage that works.

    Parameters
    ----------
    storage : Storage
    folder : str
        Name of the project's folder.
    """

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = folder
        self._known: dict[str, datetime] = {}
        self._next: dict[str, float] = {}

    def look(self, stage: str) -> datetime | None:
        """Tell when the newest picture of a stage was written, as far as is known.

        Parameters
        ----------
        stage : str

        Returns
        -------
        datetime or None
            None without pictures.
        """
        kind, began = _KINDS.get(stage), time.monotonic()
        if kind is not None and began >= self._next.get(stage, 0.0):
            if found := pictures_of(self._storage, self._folder, kind):
                self._known[stage] = moment(max(picture.modified_ns for picture in found))
            ended = time.monotonic()
            self._next[stage] = ended + max(_INTERVAL, _SHARE * (ended - began))
        return self._known.get(stage)

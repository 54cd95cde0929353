"""The frames and depth maps of a project that exist now, for those who list, show and announce them."""

from __future__ import annotations

from datetime import datetime, timezone

import recon3d
from recon3d_api.files.storage import Storage
from recon3d_api.schemas import PictureKind


def pictures_of(storage: Storage, folder: str, kind: PictureKind) -> tuple[recon3d.StagePicture, ...]:
    """List the newest frames or depth maps of a project.

    Parameters
    ----------
    storage : Storage
    folder : str
        Name of the project's folder.
    kind : {"frames", "depth_maps"}

    Returns
    -------
    tuple of StagePicture
        By name; empty before the first upload, and while an artifact is damaged.
    """
    project = storage.open(folder)
    try:
        return recon3d.stage_pictures(project, kind) if project else ()
    except recon3d.ProjectError:  # the next run says what is damaged
        return ()


def moment(nanoseconds: int) -> datetime:
    """Convert the time of a file.

    Parameters
    ----------
    nanoseconds : int
        Since 1970.

    Returns
    -------
    datetime
    """
    return datetime.fromtimestamp(nanoseconds / 1e9, timezone.utc)

"""The points of a model with the descriptors of their features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap

from recon3d.colmap.database import read_descriptors, reading
from recon3d.colmap.models import observed
from recon3d.matching.mirror import Sightings


def read_sightings(model: Path, database: Path) -> Sightings:
    """Read a model's points, and how its images see them.

    Parameters
    ----------
    model : Path
        Folder of the model.
    database : Path
        The database that it was made from; it is not changed.

    Returns
    -------
    Sightings
    """
    reconstruction = pycolmap.Reconstruction(str(model))
    ids = sorted(reconstruction.point3D_ids())
    place = {number: index for index, number in enumerate(ids)}
    images = sorted(reconstruction.reg_image_ids())
    owners, views, descriptors = [], [], []
    with reading(database) as stored:
        for index, image_id in enumerate(images):
            rows, numbers = observed(reconstruction.image(image_id))
            owners.append(np.array([place[number] for number in numbers], np.int32))
            views.append(np.full(len(rows), index, np.int32))
            descriptors.append(read_descriptors(stored, image_id)[rows])
    order = np.argsort(np.concatenate(owners), kind="stable")
    return Sightings(
        points=np.array([reconstruction.point3D(number).xyz for number in ids], np.float64).reshape(-1, 3),
        centers=np.array([reconstruction.image(i).projection_center() for i in images]).reshape(-1, 3),
        owners=np.concatenate(owners)[order],
        views=np.concatenate(views)[order],
        descriptors=np.concatenate(descriptors)[order],
    )

"""Parts of a large model, for what cannot be computed of all its images together.

The covariance of 800 images takes 1.4 GB and ten times as long as that of 200.
"""

from __future__ import annotations

from pathlib import Path

from recon3d.stages.sparse_reconstruction.partition import cut
from recon3d.stages.sparse_reconstruction.view_graph import shared_points

#: Images that are looked at together; of a larger model, parts of so many, which overlap.
TOGETHER, PART = 400, 150


def parts_of(model: Path) -> list[tuple[str, ...]]:
    """Cut a model into parts whose images see the same points.

    Parameters
    ----------
    model : Path
        Folder of the model.

    Returns
    -------
    list of tuple of str
        Images of each part; one part with all of them where they are few.
    """
    from recon3d import colmap

    names = sorted(name for _, group in colmap.camera_groups(model).values() for name in group)
    if len(names) <= TOGETHER:
        return [tuple(names)]
    return cut(shared_points(colmap.read_scene(model, names)), PART)

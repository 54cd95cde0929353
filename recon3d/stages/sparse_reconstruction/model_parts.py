"""Parts of a large model, for what cannot be computed of all its images together.

The covariance of 800 images takes 1.4 GB and ten times as long as that of 200.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from recon3d.compute import reads
from recon3d.stages.sparse_reconstruction.partition import cut
from recon3d.stages.sparse_reconstruction.view_graph import shared_points

#: Images that are looked at together; of a larger model, parts of so many, which overlap.
TOGETHER, PART = 400, 150


@reads(lambda model, _: [model])
def parts_of(model: Path, names: Collection[str]) -> list[tuple[str, ...]]:
    """Cut a model into parts whose images see the same points.

    Parameters
    ----------
    model : Path
        Folder of the model.
    names : collection of str
        Its images.

    Returns
    -------
    list of tuple of str
        Images of each part; one part with all of them where they are few.
    """
    from recon3d import colmap

    ordered = sorted(names)
    if len(ordered) <= TOGETHER:
        return [tuple(ordered)]
    return cut(shared_points(colmap.read_scene(model, ordered)), PART)

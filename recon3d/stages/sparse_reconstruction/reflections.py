"""Mirrors and still water in the models: what they show is placed behind them, as if it were there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recon3d.compute import reads
from recon3d.layout import MODELS, SeenMirror
from recon3d.matching.mirror import find_mirror


@reads(lambda out_dir, database, up: [Path(out_dir) / MODELS, database])
def find_mirrors(out_dir: str, database: str, up: Sequence[float] | None) -> tuple[SeenMirror, ...]:
    """Look for a mirror in each model.

    Parameters
    ----------
    out_dir : str
        Holds the models, numbered by size.
    database : str
        COLMAP's database with the features that they were made from.
    up : sequence of float, optional
        Unit vector in all models.

    Returns
    -------
    tuple of SeenMirror
    """
    from recon3d import colmap

    found = []
    for model in sorted((Path(out_dir) / MODELS).iterdir()):
        seen = colmap.read_sightings(model, Path(database))
        mirror = find_mirror(seen, None if up is None else np.array(up))
        if mirror is not None:
            share = float(np.mean(seen.points @ mirror.normal < mirror.offset))
            found.append(SeenMirror(int(model.name), mirror.level, round(share, 4), mirror.pairs))
    return tuple(found)


def mirror_message(mirror: SeenMirror) -> str:
    """Say what a mirror does to the model.

    Parameters
    ----------
    mirror : SeenMirror

    Returns
    -------
    str
    """
    what = "Still water" if mirror.level else "A mirror"
    return (
        f"{what} shows the scene a second time: {mirror.pairs} points were recognised in front of it and as"
        f" reflections. {mirror.share:.0%} of the points lie behind it. They stay in the model, where"
        " reflections look like things; cut them off, or take images without the reflection. If nothing"
        " reflects there, the scene itself is symmetric, and nothing is wrong."
    )

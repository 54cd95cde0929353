"""Whether two models of the same images agree about where the images were taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from recon3d.compute import reads
from recon3d.evaluation import pose_errors

if TYPE_CHECKING:
    from recon3d.stages.sparse_reconstruction.mapping_tasks import Placed

#: Median and largest distance of the centres of two models that agree, as shares of their spread. Good
#: models differ by up to 0.01 and 0.03, bent ones by 0.03 and more, and 0.4.
_MEDIAN = 0.02
_LARGEST = 0.06
#: Images that two models must share, or the alignment explains any difference.
_FEWEST = 4
#: Share of the images of a model that the other must hold, or it says nothing of the rest.
_SHARE = 0.7


@reads(lambda placed, other, names: [placed.folder / "0", other.folder / "0"])
def agree(placed: Placed, other: Placed, names: Sequence[str]) -> bool:
    """Compare the largest models of two attempts.

    Parameters
    ----------
    placed, other : Placed
    names : sequence of str
        All images.

    Returns
    -------
    bool
        Whether the centres of the images in both agree, and `other` holds most images of `placed`.
    """
    from recon3d import colmap

    common = placed.names & other.names
    if len(common) < max(_FEWEST, _SHARE * placed.registered):
        return False
    scene, reference = (colmap.read_scene(each.folder / "0", names) for each in (placed, other))
    centers = np.array([view.center for view in reference if view.name in common])
    spread = float(np.linalg.norm(centers - centers.mean(axis=0), axis=1).max())
    apart = pose_errors(scene, reference).position / spread
    return bool(np.median(apart) <= _MEDIAN and apart.max() <= _LARGEST)

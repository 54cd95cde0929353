"""Reading a cloud of any size: a large one part by part, thinned until it fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon3d.io.ply import ply_vertex_count, read_point_cloud, read_point_cloud_in_parts
from recon3d.io.point_visibility import read_visibility, read_visibility_in_parts
from recon3d.layout import POINT_CLOUD, VISIBILITY
from recon3d.types import Floats, Floats32, Ints, PointCloud

#: Points that are read at once, and the first side of a voxel as a share of the first part's extent.
PART, _FIRST = 2_000_000, 2.0**-18
#: How much larger the voxels become until the cloud fits.
_LARGER = 1.25
#: Bits of a voxel's place along an axis.
_BITS = 21


@dataclass(frozen=True)
class ReadCloud:
    """A cloud as it was read.

    Parameters
    ----------
    cloud : PointCloud
        With the views that see each point.
    counts : ndarray of int64, shape (N,)
        Points of the file that each is the mean of.
    """

    cloud: PointCloud
    counts: NDArray[np.int64]


def read_at_most(
    dense: Path, most: int, *, views: bool = True, part: int = PART, box: tuple[Floats, Floats] | None = None
) -> ReadCloud:
    """Read the cloud of dense_reconstruction; a larger one than `most` is thinned while it is read.

    In each voxel of a grid, one mean point is left, which the views of its first point see. The voxels
    are as small as `most` allows, and the same all over: what few views show keeps its points longest.

    Parameters
    ----------
    dense : Path
        The artifact's folder.
    most : int
        Points of the result at most; of a larger cloud, at least half as many are left, about.
    views : bool
        Whether to read which views see each point.
    part : int
        Points that are read at once.
    box : (low, high), ndarrays of float64, shape (3,), optional
        Least and largest coordinates of the points that are wanted.

    Returns
    -------
    ReadCloud

    Raises
    ------
    InputError
        A file is missing or damaged.
    """
    total = ply_vertex_count(dense / POINT_CLOUD)
    if total <= most and box is None:
        cloud = read_point_cloud(dense / POINT_CLOUD)
        if views:
            starts, indices = read_visibility(dense / VISIBILITY)
            cloud = replace(cloud, view_starts=starts, view_indices=indices)
        return ReadCloud(cloud, np.ones(total, np.int64))
    clouds = read_point_cloud_in_parts(dense / POINT_CLOUD, part)
    nobody = np.zeros(0, np.int64), np.zeros(0, np.int32)
    lists = read_visibility_in_parts(dense / VISIBILITY, part) if views else repeat(nobody)
    kept, voxel = list[_Sums](), 0.0
    for cloud, (starts, indices) in zip(clouds, lists, strict=views):
        sums = _Sums.of(cloud, starts if views else np.zeros(len(cloud) + 1, np.int64), indices)
        if box is not None:
            inside = ((cloud.points >= box[0]) & (cloud.points <= box[1])).all(axis=1)
            sums = sums.at(np.flatnonzero(inside))
        voxel = voxel or _FIRST * float(np.ptp(cloud.points, axis=0).max())
        kept.append(sums.in_voxels(voxel))
        if sum(map(len, kept)) > most:
            whole = _Sums.joined(kept).in_voxels(voxel)
            while len(whole) > most:
                voxel *= _LARGER
                whole = whole.in_voxels(voxel)
            kept = [whole]
    return _Sums.joined(kept).in_voxels(voxel).means()


@dataclass(frozen=True)
class _Sums:
    """Sums over the points that fell into the same voxel."""

    points: Floats
    normals: Floats32
    colors: Floats32
    counts: NDArray[np.int64]
    starts: NDArray[np.int64]
    views: Ints

    def __len__(self) -> int:
        return len(self.counts)

    @classmethod
    def of(cls, cloud: PointCloud, starts: NDArray[np.int64], views: Ints) -> _Sums:
        none = np.zeros((len(cloud), 3), np.float32)
        normals = none if cloud.normals is None else cloud.normals
        colors = none if cloud.colors is None else cloud.colors.astype(np.float32)
        return cls(cloud.points, normals, colors, np.ones(len(cloud), np.int64), starts, views)

    @classmethod
    def joined(cls, parts: list[_Sums]) -> _Sums:
        counts = np.concatenate([np.diff(part.starts) for part in parts])
        return cls(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.normals for part in parts]),
            np.concatenate([part.colors for part in parts]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
            np.concatenate([part.views for part in parts]),
        )

    def in_voxels(self, voxel: float) -> _Sums:
        """Add up what lies in the same voxel; the first one's views stay."""
        place = np.floor(self.points / self.counts[:, None] / voxel).astype(np.int64) & (2**_BITS - 1)
        key = (place[:, 0] << (2 * _BITS)) | (place[:, 1] << _BITS) | place[:, 2]
        del place
        order = np.argsort(key, kind="stable")
        firsts = np.flatnonzero(np.diff(key[order], prepend=-1))
        if len(firsts) == len(key):
            return self
        return _Sums(
            np.add.reduceat(self.points[order], firsts),
            np.add.reduceat(self.normals[order], firsts),
            np.add.reduceat(self.colors[order], firsts),
            np.add.reduceat(self.counts[order], firsts),
            *self._lists_of(order[firsts]),
        )

    def at(self, rows: NDArray[np.int64]) -> _Sums:
        """Some of them."""
        return _Sums(
            self.points[rows],
            self.normals[rows],
            self.colors[rows],
            self.counts[rows],
            *self._lists_of(rows),
        )

    def _lists_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Ints]:
        """The views of some of them."""
        lengths = np.diff(self.starts)[rows]
        ends = np.cumsum(lengths)
        before = np.repeat(self.starts[:-1][rows] - (ends - lengths), lengths)
        return np.concatenate([np.zeros(1, np.int64), ends]), self.views[before + np.arange(len(before))]

    def means(self) -> ReadCloud:
        """The means."""
        counts = self.counts[:, None]
        lengths = np.linalg.norm(self.normals, axis=1, keepdims=True)
        normals = self.normals / np.maximum(lengths, 1e-12)
        colors = np.round(self.colors / counts).astype(np.uint8)
        cloud = PointCloud(self.points / counts, normals.astype(np.float32), colors, self.starts, self.views)
        return ReadCloud(cloud, self.counts)

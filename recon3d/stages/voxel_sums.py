"""Clouds as sums over voxels, which can be joined and made coarser in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Floats, Floats32, Ints, PointCloud

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


@dataclass(frozen=True)
class VoxelSums:
    """Sums over the points that fell into the same voxel.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    normals, colors : ndarray of float32, shape (N, 3)
    counts : ndarray of int64, shape (N,)
        Points of each voxel.
    starts : ndarray of int64, shape (N + 1,)
    views : ndarray of int32, shape (M,)
        The views that see the first point, as in `PointCloud`.
    """

    points: Floats
    normals: Floats32
    colors: Floats32
    counts: NDArray[np.int64]
    starts: NDArray[np.int64]
    views: Ints

    def __len__(self) -> int:
        return len(self.counts)

    @classmethod
    def of(cls, cloud: PointCloud, starts: NDArray[np.int64], views: Ints) -> VoxelSums:
        """Begin with a voxel for each point.

        Parameters
        ----------
        cloud : PointCloud
        starts : ndarray of int64, shape (N + 1,)
        views : ndarray of int32, shape (M,)
            The views that see each point.

        Returns
        -------
        VoxelSums
        """
        none = np.zeros((len(cloud), 3), np.float32)
        normals = none if cloud.normals is None else cloud.normals
        colors = none if cloud.colors is None else cloud.colors.astype(np.float32)
        return cls(cloud.points, normals, colors, np.ones(len(cloud), np.int64), starts, views)

    @classmethod
    def joined(cls, parts: Sequence[VoxelSums]) -> VoxelSums:
        """Put several behind each other.

        Parameters
        ----------
        parts : sequence of VoxelSums
            One at least.

        Returns
        -------
        VoxelSums
        """
        counts = np.concatenate([np.diff(part.starts) for part in parts])
        return cls(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.normals for part in parts]),
            np.concatenate([part.colors for part in parts]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
            np.concatenate([part.views for part in parts]),
        )

    def in_voxels(self, voxel: float) -> VoxelSums:
        """Add up what lies in the same voxel; the first one's views stay.

        Parameters
        ----------
        voxel : float
            Its side; 0 adds up nothing.

        Returns
        -------
        VoxelSums
        """
        if not voxel:
            return self
        place = np.floor(self.points / self.counts[:, None] / voxel).astype(np.int64) & (2**_BITS - 1)
        key = (place[:, 0] << (2 * _BITS)) | (place[:, 1] << _BITS) | place[:, 2]
        del place
        order = np.argsort(key, kind="stable")
        firsts = np.flatnonzero(np.diff(key[order], prepend=-1))
        if len(firsts) == len(key):
            return self
        return VoxelSums(
            np.add.reduceat(self.points[order], firsts),
            np.add.reduceat(self.normals[order], firsts),
            np.add.reduceat(self.colors[order], firsts),
            np.add.reduceat(self.counts[order], firsts),
            *self._lists_of(order[firsts]),
        )

    def at(self, rows: NDArray[np.int64]) -> VoxelSums:
        """Take some.

        Parameters
        ----------
        rows : ndarray of int64, shape (K,)

        Returns
        -------
        VoxelSums
        """
        return VoxelSums(
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
        """Compute the means.

        Returns
        -------
        ReadCloud
        """
        counts = self.counts[:, None]
        lengths = np.linalg.norm(self.normals, axis=1, keepdims=True)
        normals = self.normals / np.maximum(lengths, 1e-12)
        colors = np.round(self.colors / counts).astype(np.uint8)
        cloud = PointCloud(self.points / counts, normals.astype(np.float32), colors, self.starts, self.views)
        return ReadCloud(cloud, self.counts)

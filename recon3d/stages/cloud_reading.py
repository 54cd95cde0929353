"""Reading a cloud of any size: a large one part by part, thinned until it fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from recon3d.io.ply import ply_vertex_count, read_point_cloud, read_point_cloud_in_parts
from recon3d.io.point_visibility import read_visibility, read_visibility_in_parts
from recon3d.layout import POINT_CLOUD, VISIBILITY
from recon3d.options import Box
from recon3d.stages.voxel_sums import ReadCloud, VoxelSums
from recon3d.surface.cropping import in_box

#: Points that are read at once, and the first side of a voxel as a share of the first part's extent.
PART, _FIRST = 2_000_000, 2.0**-18
#: Points of a span that one task reads.
SPAN = 8_000_000
#: How much larger the voxels become until the cloud fits.
_LARGER = 1.25


Span = tuple[int, int]


def spans_of(total: int, length: int = SPAN) -> list[Span]:
    """Cut a cloud's file into spans that are read at the same time.

    Parameters
    ----------
    total : int
        Points of the cloud.
    length : int
        Points of a span; the last has fewer.

    Returns
    -------
    list of (int, int)
        The first point of each, and that after its last.
    """
    return [(first, min(first + length, total)) for first in range(0, total, length)]


def read_at_most(
    dense: Path,
    most: int,
    *,
    views: bool = True,
    part: int = PART,
    box: Box | None = None,
    spans: Sequence[Span] | None = None,
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
    box : ((float, float, float), (float, float, float)), optional
        Corners of the box of the points that are wanted.
    spans : sequence of (int, int), optional
        Where these points are in the file; by default anywhere.

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
    spans = [(0, total)] if spans is None else spans
    pieces = chain.from_iterable(_pieces(dense, span, views, part, box) for span in spans)
    return _thinned(pieces, most)[0].means()


def thinned_span(
    dense: Path, span: Span, most: int, *, views: bool = True, part: int = PART
) -> tuple[VoxelSums, float]:
    """Read a span of a cloud's file, and thin it.

    Parameters
    ----------
    dense : Path
        The artifact's folder.
    span : (int, int)
        See `spans_of`.
    most : int
        Points of the result at most.
    views : bool
        Whether to read which views see each point.
    part : int
        Points that are read at once.

    Returns
    -------
    VoxelSums
        For `joined_spans`.
    float
        Side of the voxels.

    Raises
    ------
    InputError
        A file is missing or damaged.
    """
    return _thinned(_pieces(dense, span, views, part, None), most)


def joined_spans(spans: Iterable[VoxelSums], voxel: float, most: int, *, part: int = PART) -> ReadCloud:
    """Make one cloud of spans, as `read_at_most` makes it of the file.

    Parameters
    ----------
    spans : iterable of VoxelSums
        In the file's order. Each is needed only while it is added.
    voxel : float
        Side of the largest voxels of a span.
    most : int
        Points of the result at most.
    part : int
        Points that are added at once.

    Returns
    -------
    ReadCloud
    """
    pieces = (
        span.at(np.arange(first, min(first + part, len(span))))
        for span in spans
        for first in range(0, len(span), part)
    )
    return _thinned(pieces, most, voxel)[0].means()


def _pieces(dense: Path, span: Span, views: bool, part: int, box: Box | None) -> Iterator[VoxelSums]:
    """A span part by part, of points inside a box."""
    clouds = read_point_cloud_in_parts(dense / POINT_CLOUD, part, *span)
    nobody = np.zeros(0, np.int64), np.zeros(0, np.int32)
    lists = read_visibility_in_parts(dense / VISIBILITY, part, *span) if views else repeat(nobody)
    for cloud, (starts, indices) in zip(clouds, lists, strict=views):
        sums = VoxelSums.of(cloud, starts if views else np.zeros(len(cloud) + 1, np.int64), indices)
        if box is not None:
            sums = sums.at(np.flatnonzero(in_box(cloud.points, box)))
        yield sums


def _thinned(pieces: Iterable[VoxelSums], most: int, voxel: float = 0.0) -> tuple[VoxelSums, float]:
    """Thin a cloud that comes in pieces; tell the side of the voxels, at least the given one."""
    kept: list[VoxelSums] = []
    for piece in pieces:
        if not voxel and len(piece):
            voxel = _FIRST * float(np.ptp(piece.points / piece.counts[:, None], axis=0).max())
        kept.append(piece.in_voxels(voxel))
        if sum(map(len, kept)) > most:
            whole = VoxelSums.joined(kept).in_voxels(voxel)
            while len(whole) > most:
                voxel *= _LARGER
                whole = whole.in_voxels(voxel)
            kept = [whole]
    return VoxelSums.joined(kept).in_voxels(voxel), voxel

"""Local seam levelling: closing the steps that remain, in a strip along the seams.

The second correction of Waechter et al. 2014 ("Let There Be Color!", section 4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.texture.atlas import Atlas
from recon3d.texture.pages import Page
from recon3d.texture.seams import Sampling
from recon3d.texture.shapes import BLOCK
from recon3d.texture.texels import OUTSIDE, UNIT
from recon3d.threads import ALONE, Threads
from recon3d.types import Floats, Floats32, Ints

#: Steps beyond so many gray levels are closed less (Cauchy's weights).
LOCAL_STEP = 30.0
#: Width in texels of the strip in which the correction fades out.
STRIP = 16
#: Gauss-Seidel sweeps of the correction; they start from a linear fade.
_SWEEPS = 30
_OVERRELAXATION = 1.6

_compiled = kernel(_nrt=False)


def blend_seams(
    atlas: Atlas,
    page: Page,
    nodes: range,
    sampling: Sampling,
    colors: NDArray[np.int16],
    offsets: Floats,
    *,
    strip: int = STRIP,
    threads: Threads = ALONE,
) -> None:
    """Close what step is left, in a strip along the seams; changes the atlas.

    At the seam both sides take the mean of their colours, weighted by their trust. The correction
    this needs is continued into each chart as a membrane (Laplace's equation, zero at the strip's
    far border), which is Poisson editing (Perez et al. 2003) solved for the difference.

    Parameters
    ----------
    atlas : Atlas
        A page's, with its mask filled, and corrected by `offsets`.
    page : Page
    nodes : range
        The numbers that its nodes have among those of all pages.
    sampling : Sampling
        Of the seams of all pages.
    colors : ndarray of int16, shape (T, 2, 3)
        Of its points, before the correction.
    offsets : ndarray of float64, shape (N, 3)
        Corrections of all nodes, in gray levels.
    strip : int
        Width in texels.
    threads : Threads, optional
    """
    sides = sampling.sides_in(nodes)
    if not len(sides):
        return
    charts, layout, seams = page.charts, page.layout, sampling.seams
    total = int(np.diff(sampling.starts)[sides[:, 0]].sum())
    chart, texel, offset = (
        np.empty(total, np.int32),
        np.empty(total, np.int32),
        np.empty((total, 3), np.float32),
    )
    place = (layout.node_xy, nodes.start, charts.node_chart, layout.target, layout.extent)
    _close(
        *(sides, seams.nodes, seams.trust, sampling.starts, colors, offsets * UNIT),
        *(*place, np.empty((2, 3)), chart, texel, offset),
    )
    # One value for each texel that the seams pass.
    order = np.lexsort((texel, chart))
    chart, texel, offset = chart[order], texel[order], offset[order]
    first = np.flatnonzero(np.append(True, (chart[1:] != chart[:-1]) | (texel[1:] != texel[:-1])))
    count = np.diff(np.append(first, len(chart)))
    mean = np.add.reduceat(offset, first, axis=0) / count[:, None]
    chart, texel = chart[first], texel[first]
    starts = np.searchsorted(chart, np.arange(len(charts) + 1))
    where = layout.owner, layout.target, layout.extent
    _membranes(atlas.color, atlas.mask, *where, starts, texel, mean, strip, threads)


@_compiled
def _close(
    sides: NDArray[np.int64],
    ends: Ints,
    trust: Floats,
    starts: NDArray[np.int64],
    colors: NDArray[np.int16],
    offsets: Floats,
    xy: Floats,
    first: int,
    node_chart: Ints,
    target: Ints,
    extent: Ints,
    pair: Floats,
    chart: Ints,
    texel: Ints,
    offset: Floats32,
) -> None:
    """Fill in a page's part of the step at each point: chart, texel in the chart, offset."""
    position = 0
    for k in range(sides.shape[0]):
        e, side = sides[k, 0], sides[k, 1]
        p, q = ends[e, side, 0] - first, ends[e, side, 1] - first
        number = node_chart[p]
        count = starts[e + 1] - starts[e]
        for n in range(count):
            t = (n + 0.5) / count
            square = 0.0
            for channel in range(3):
                for s in range(2):
                    correction = (
                        offsets[ends[e, s, 0], channel] * (1 - t) + offsets[ends[e, s, 1], channel] * t
                    )
                    pair[s, channel] = colors[starts[e] + n, s, channel] + correction
                square += (pair[1, channel] - pair[0, channel]) ** 2
            share = 1.0 / (1.0 + square / (LOCAL_STEP * UNIT) ** 2) / (trust[e, 0] + trust[e, 1])
            column = int(xy[p, 0] * (1 - t) + xy[q, 0] * t) - target[number, 0]
            row = int(xy[p, 1] * (1 - t) + xy[q, 1] * t) - target[number, 1]
            chart[position] = number
            texel[position] = row * extent[number, 0] + column
            for channel in range(3):
                step = pair[1 - side, channel] - pair[side, channel]
                offset[position, channel] = share * trust[e, 1 - side] * step
            position += 1


@_compiled
def _belongs(mask: NDArray[np.uint8], owner: Ints, row: int, column: int, chart: int) -> bool:
    """Whether a texel is one of a chart's own that are painted."""
    known = mask[row, column] != OUTSIDE
    return known and owner[row // BLOCK, column // BLOCK] == chart  # type: ignore[no-any-return]


def _membranes(
    atlas: NDArray[np.int16],
    mask: NDArray[np.uint8],
    owner: Ints,
    target: Ints,
    extent: Ints,
    starts: NDArray[np.int64],
    texel: Ints,
    offset: Floats,
    strip: int,
    threads: Threads = ALONE,
) -> None:
    most = int((extent[:, 0].astype(np.int64) * extent[:, 1]).max(initial=0))

    def scratch() -> tuple[Ints, Floats32, Ints, NDArray[np.uint8]]:
        floats = np.empty((most, 3), np.float32)
        return np.empty(most, np.int32), floats, np.empty(most, np.int32), np.empty(most, np.uint8)

    given = (atlas, mask, owner, target, extent, starts, texel, offset, strip)
    threads.run(_continue_offsets, *given, scratch=scratch, count=len(target), uneven=True)


@_compiled
def _continue_offsets(
    atlas: NDArray[np.int16],
    mask: NDArray[np.uint8],
    owner: Ints,
    target: Ints,
    extent: Ints,
    starts: NDArray[np.int64],
    texel: Ints,
    offset: Floats,
    strip: int,
    depth: Ints,
    value: Floats32,
    queue: Ints,
    beside: NDArray[np.uint8],
    start: int,
    stop: int,
) -> None:
    for number in range(start, stop):
        if starts[number] == starts[number + 1]:
            continue
        left, top = target[number, 0], target[number, 1]
        width, height = extent[number, 0], extent[number, 1]
        # -1 outside the strip, 0 on a seam, else the distance from it.
        for n in range(width * height):
            depth[n] = -1
            for channel in range(3):
                value[n, channel] = 0
        head, tail = 0, 0
        for n in range(starts[number], starts[number + 1]):
            depth[texel[n]] = 0
            for channel in range(3):
                value[texel[n], channel] = offset[n, channel]
            queue[tail] = texel[n]
            tail += 1
        fixed = tail
        while head < tail:
            here = queue[head]
            head += 1
            if depth[here] == strip - 1:
                continue
            row, column = here // width, here % width
            for k in range(4):
                y, x = row + (k == 0) - (k == 1), column + (k == 2) - (k == 3)
                if x < 0 or y < 0 or x >= width or y >= height:
                    continue
                if not _belongs(mask, owner, top + y, left + x, number):
                    continue
                there = y * width + x
                if depth[there] < 0:
                    depth[there] = depth[here] + 1
                    fade = np.float32((strip - depth[there]) / (strip - depth[here]))
                    for channel in range(3):
                        value[there, channel] = value[here, channel] * fade
                    queue[tail] = there
                    tail += 1
        for n in range(fixed, tail):
            row, column = queue[n] // width, queue[n] % width
            around = 0
            for k in range(4):
                y, x = row + (k == 0) - (k == 1), column + (k == 2) - (k == 3)
                if x < 0 or y < 0 or x >= width or y >= height:
                    continue
                if _belongs(mask, owner, top + y, left + x, number):
                    around |= 1 << k
            beside[n] = around
        for _ in range(_SWEEPS):
            for n in range(fixed, tail):
                here = queue[n]
                red = green = blue = 0.0
                neighbors = 0
                for k in range(4):
                    if not beside[n] & (1 << k):
                        continue
                    # Inside the chart but beyond the strip the value is 0.
                    there = here + ((k == 0) - (k == 1)) * width + (k == 2) - (k == 3)
                    red += value[there, 0]
                    green += value[there, 1]
                    blue += value[there, 2]
                    neighbors += 1
                if neighbors:
                    value[here, 0] += _OVERRELAXATION * (red / neighbors - value[here, 0])
                    value[here, 1] += _OVERRELAXATION * (green / neighbors - value[here, 1])
                    value[here, 2] += _OVERRELAXATION * (blue / neighbors - value[here, 2])
        for n in range(tail):
            row, column = queue[n] // width, queue[n] % width
            for channel in range(3):
                total = atlas[top + row, left + column, channel] + value[queue[n], channel]
                atlas[top + row, left + column, channel] = np.int16(min(max(round(total), -32768), 32767))

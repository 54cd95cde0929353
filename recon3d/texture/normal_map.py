"""A normal map: the normals of a fine surface in the atlas of a coarse one.

The map has a texel for each block of the atlas' texels, which belongs to one chart: a fine surface has
no more detail than that. Its values are normals in the frame of the coarse surface's normals and tangents,
as glTF has them: red along u, green along v, up in the picture, and blue outwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.surface.normals import face_areas, usual_edge
from recon3d.texture.charts import Layout
from recon3d.texture.fine_surface import FineSurface, look_up
from recon3d.texture.pages import Plan
from recon3d.texture.painting import texture_coordinates
from recon3d.texture.raster import span
from recon3d.texture.shapes import BLOCK
from recon3d.texture.tangents import split_for_shading
from recon3d.texture.texels import nearest_on_border
from recon3d.types import Bytes, Floats, Floats32, Ints, Mesh, TexturedMesh

#: The map's value where the normal is the coarse surface's.
FLAT = (128, 128, 255)
#: Texels of the map around a face that take its values: bilinear lookups reach them.
_RIM = 1.5
#: A normal's least part along the coarse one: what leans more would be unlit from everywhere.
_LEAST = 0.05

_compiled = kernel(_nrt=False)


@dataclass(frozen=True, eq=False)
class CoarseSurface:
    """What a normal map is made for.

    Parameters
    ----------
    vertices : ndarray of float64, shape (W, 3)
        Each with one texture coordinate.
    normals : ndarray of float32, shape (W, 3)
    tangents : ndarray of float32, shape (W, 4)
        As `vertex_tangents` gives them.
    xy : ndarray of float64, shape (W, 2)
        Places in the map, in texels from its upper left corner.
    faces : ndarray of int32, shape (F, 3)
        Those that lie in charts.
    chart : ndarray of int32, shape (F,)
        Of each face.
    owner : ndarray of int32, shape (S, S)
        Chart of each texel of the map.
    reach : float
        The fine surface is no further away than this.
    """

    vertices: Floats
    normals: Floats32
    tangents: Floats32
    xy: Floats
    faces: Ints
    chart: Ints
    owner: Ints
    reach: float

    @classmethod
    def of_pages(cls, mesh: Mesh, plan: Plan, layouts: Sequence[Layout]) -> list[CoarseSurface]:
        """Take what is needed of a mesh and its atlas; the map has the atlas' pages.

        Parameters
        ----------
        mesh : Mesh
        plan : Plan
        layouts : sequence of Layout
            Of the pages.

        Returns
        -------
        list of CoarseSurface
            What lies in each page.
        """
        uv, face_uv, grid = texture_coordinates(plan, layouts)
        none = np.zeros((1, 1, 3), np.uint8)
        split = split_for_shading(TexturedMesh(mesh.vertices, mesh.faces, uv, face_uv, none, grid))
        side = max(layout.size for layout in layouts) / BLOCK
        reach = usual_edge(face_areas(mesh.vertices, mesh.faces))
        place = split.uv.astype(np.float64) * grid[::-1]
        place[:, 1] = grid[0] - place[:, 1]
        made = []
        for page, layout in enumerate(layouts):
            first, end = plan.starts[page : page + 2]
            chart = plan.charts.face_chart
            mine = (chart >= first) & (chart < end)
            used, corners = np.unique(split.faces[mine], return_inverse=True)
            faces: Ints = corners.reshape(-1, 3).astype(np.int32)
            xy = (place[used] - divmod(page, grid[1])[::-1]) * side
            frame = split.vertices[used], split.normals[used], split.tangents[used]
            numbers = chart[mine] - np.int32(first)
            made.append(cls(*frame, xy, faces, numbers, layout.owner, reach))
        return made


def bake_rows(coarse: CoarseSurface, fine: FineSurface, start: int, stop: int) -> Bytes:
    """Compute rows of a normal map.

    Parameters
    ----------
    coarse : CoarseSurface
    fine : FineSurface
    start, stop : int
        The rows.

    Returns
    -------
    ndarray of uint8, shape (stop - start, S, 3)
        `FLAT` outside of charts, and where the fine surface is not near.
    """
    size = coarse.owner.shape[1]
    found = np.full((stop - start, size), -1, np.int32)
    away = np.full((stop - start, size), np.inf, np.float32)
    place = coarse.xy, coarse.faces
    _find_faces(*place, coarse.chart, coarse.owner, start, found, away, np.empty((3, 2)), np.empty(3))
    rows = np.empty((stop - start, size, 3), np.uint8)
    rows[...] = FLAT
    _bake(
        *place,
        coarse.vertices,
        coarse.normals,
        coarse.tangents,
        fine.vertices,
        fine.normals,
        fine.faces,
        fine.cell,
        fine.starts,
        fine.items,
        coarse.reach,
        start,
        found,
        rows,
        *(np.empty(shape) for shape in ((3, 2), 3, 3, (2, 3), (3, 3))),
    )
    return rows


@_compiled
def _find_faces(
    xy: Floats,
    faces: Ints,
    chart: Ints,
    owner: Ints,
    start: int,
    found: Ints,
    away: Floats32,
    corners: Floats,
    weights: Floats,
) -> None:
    """Find the face in which each texel lies, or the nearest one of its chart."""
    size = owner.shape[1]
    for f in range(faces.shape[0]):
        for k in range(3):
            corners[k, 0], corners[k, 1] = xy[faces[f, k], 0], xy[faces[f, k], 1]
        first, last = span(corners[0, 1], corners[1, 1], corners[2, 1], _RIM, size)
        low, high = span(corners[0, 0], corners[1, 0], corners[2, 0], _RIM, size)
        for row in range(max(first, start), min(last, start + found.shape[0] - 1) + 1):
            for column in range(low, high + 1):
                if owner[row, column] != chart[f] or away[row - start, column] == 0.0:
                    continue
                square = 0.0
                if not _inside(corners, column + 0.5, row + 0.5, weights):
                    square = nearest_on_border(corners, column + 0.5, row + 0.5, weights)
                if square <= _RIM * _RIM and np.float32(square) < away[row - start, column]:
                    away[row - start, column] = square
                    found[row - start, column] = f


@_compiled
def _inside(corners: Floats, x: float, y: float, weights: Floats) -> bool:
    """Compute the barycentric weights of a place, and tell whether it lies in the face."""
    ax, ay = corners[0, 0], corners[0, 1]
    ux, uy, vx, vy = corners[1, 0] - ax, corners[1, 1] - ay, corners[2, 0] - ax, corners[2, 1] - ay
    det = ux * vy - uy * vx
    weights[1] = ((x - ax) * vy - (y - ay) * vx) / det
    weights[2] = (ux * (y - ay) - uy * (x - ax)) / det
    weights[0] = 1.0 - weights[1] - weights[2]
    # A face without area gives NaN, and has only a rim.
    return weights[0] >= 0.0 and weights[1] >= 0.0 and weights[2] >= 0.0  # type: ignore[no-any-return]


@_compiled
def _bake(
    xy: Floats,
    faces: Ints,
    vertices: Floats,
    normals: Floats32,
    tangents: Floats32,
    fine_vertices: Floats,
    fine_normals: Floats32,
    fine_faces: Ints,
    cell: float,
    starts: NDArray[np.int64],
    items: Ints,
    reach: float,
    start: int,
    found: Ints,
    rows: Bytes,
    corners: Floats,
    weights: Floats,
    scratch: Floats,
    normal: Floats,
    frame: Floats,
) -> None:
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            f = found[row, column]
            if f < 0:
                continue
            for k in range(3):
                corners[k, 0], corners[k, 1] = xy[faces[f, k], 0], xy[faces[f, k], 1]
            x, y = column + 0.5, start + row + 0.5
            if not _inside(corners, x, y, weights):
                nearest_on_border(corners, x, y, weights)
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            if not _frame(normals, tangents, a, b, c, weights, frame):
                continue
            px = weights[0] * vertices[a, 0] + weights[1] * vertices[b, 0] + weights[2] * vertices[c, 0]
            py = weights[0] * vertices[a, 1] + weights[1] * vertices[b, 1] + weights[2] * vertices[c, 1]
            pz = weights[0] * vertices[a, 2] + weights[1] * vertices[b, 2] + weights[2] * vertices[c, 2]
            which = look_up(
                fine_vertices,
                fine_normals,
                fine_faces,
                cell,
                starts,
                items,
                px,
                py,
                pz,
                frame[2, 0],
                frame[2, 1],
                frame[2, 2],
                reach,
                scratch,
                normal,
            )
            if which >= 0:
                _encode(frame, normal, which, rows, row, column)


@_compiled
def _frame(
    normals: Floats32, tangents: Floats32, a: int, b: int, c: int, weights: Floats, frame: Floats
) -> bool:
    """Interpolate tangent, bitangent and normal, the rows of `frame`, as viewers do; False without one."""
    for axis in range(3):
        for part in range(3):
            frame[part, axis] = 0.0
    for k in range(3):
        v = a if k == 0 else (b if k == 1 else c)
        nx, ny, nz = np.float64(normals[v, 0]), np.float64(normals[v, 1]), np.float64(normals[v, 2])
        tx, ty, tz = np.float64(tangents[v, 0]), np.float64(tangents[v, 1]), np.float64(tangents[v, 2])
        weight, side = weights[k], weights[k] * tangents[v, 3]
        frame[0, 0] += weight * tx
        frame[0, 1] += weight * ty
        frame[0, 2] += weight * tz
        frame[1, 0] += side * (ny * tz - nz * ty)
        frame[1, 1] += side * (nz * tx - nx * tz)
        frame[1, 2] += side * (nx * ty - ny * tx)
        frame[2, 0] += weight * nx
        frame[2, 1] += weight * ny
        frame[2, 2] += weight * nz
    for part in range(3):
        length = math.sqrt(frame[part, 0] ** 2 + frame[part, 1] ** 2 + frame[part, 2] ** 2)
        if length < 1e-6:
            return False
        for axis in range(3):
            frame[part, axis] /= length
    return True


@_compiled
def _encode(frame: Floats, normal: Floats, which: int, rows: Bytes, row: int, column: int) -> None:
    """Write a normal in a frame, whose axes need not be orthogonal."""
    x, y, z = normal[which, 0], normal[which, 1], normal[which, 2]
    # The frame's cross products.
    bx = frame[1, 1] * frame[2, 2] - frame[1, 2] * frame[2, 1]
    by = frame[1, 2] * frame[2, 0] - frame[1, 0] * frame[2, 2]
    bz = frame[1, 0] * frame[2, 1] - frame[1, 1] * frame[2, 0]
    cx = frame[2, 1] * frame[0, 2] - frame[2, 2] * frame[0, 1]
    cy = frame[2, 2] * frame[0, 0] - frame[2, 0] * frame[0, 2]
    cz = frame[2, 0] * frame[0, 1] - frame[2, 1] * frame[0, 0]
    dx = frame[0, 1] * frame[1, 2] - frame[0, 2] * frame[1, 1]
    dy = frame[0, 2] * frame[1, 0] - frame[0, 0] * frame[1, 2]
    dz = frame[0, 0] * frame[1, 1] - frame[0, 1] * frame[1, 0]
    det = frame[0, 0] * bx + frame[0, 1] * by + frame[0, 2] * bz
    across, up, out = (
        (x * bx + y * by + z * bz) / det,
        (x * cx + y * cy + z * cz) / det,
        (x * dx + y * dy + z * dz) / det,
    )
    length = math.sqrt(across * across + up * up + out * out)
    out = max(out, _LEAST * length)
    length = math.sqrt(across * across + up * up + out * out)
    # Also without a normal, or without a frame.
    if not (length > 1e-12 and length < np.inf):
        return
    rows[row, column, 0] = np.uint8(127.5 * (across / length + 1.0) + 0.5)
    rows[row, column, 1] = np.uint8(127.5 * (up / length + 1.0) + 0.5)
    rows[row, column, 2] = np.uint8(127.5 * (out / length + 1.0) + 0.5)

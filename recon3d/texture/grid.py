"""A texture of several pages: side by side in memory, pictures of their own in files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Bytes, Floats32, TexturedMesh

#: Longest side of all pages side by side: OpenCV's lookups count with 16 bits.
_LONGEST = 32766


def grid_of(pages: int) -> tuple[int, int]:
    """Choose how pages stand side by side.

    Parameters
    ----------
    pages : int
        How many there are.

    Returns
    -------
    rows, columns : int
        About as many of both; the last row may have fewer.
    """
    columns = math.ceil(math.sqrt(pages))
    return -(-pages // columns), columns


def most_pages(side: int) -> int:
    """Compute how many pages can stand side by side.

    Parameters
    ----------
    side : int
        Of a page, in texels.

    Returns
    -------
    int
    """
    return max(1, _LONGEST // side) ** 2


def longest_side(pages: int) -> int:
    """Compute how large pages can be that stand side by side.

    Parameters
    ----------
    pages : int
        How many there are.

    Returns
    -------
    int
        In texels.
    """
    return _LONGEST // grid_of(pages)[1]


def in_grid(pages: Sequence[Bytes], grid: tuple[int, int]) -> Bytes:
    """Put pages side by side.

    Parameters
    ----------
    pages : sequence of ndarray of uint8, shape (h, w, 3)
        Of one size, row by row.
    grid : tuple of int
        Rows and columns.

    Returns
    -------
    ndarray of uint8, shape (rows * h, columns * w, 3)
        Where there is no page, the last one stands again: what shrinks the whole mixes in no black.
    """
    if len(pages) == 1:
        return pages[0]
    height, width = pages[0].shape[:2]
    whole = np.empty((grid[0] * height, grid[1] * width, 3), np.uint8)
    for number in range(grid[0] * grid[1]):
        row, column = divmod(number, grid[1])
        page = pages[min(number, len(pages) - 1)]
        whole[row * height : (row + 1) * height, column * width : (column + 1) * width] = page
    return whole


def page_pictures(texture: Bytes, grid: tuple[int, int]) -> list[Bytes]:
    """Take pages apart.

    Parameters
    ----------
    texture : ndarray of uint8, shape (H, W, 3)
    grid : tuple of int
        Rows and columns.

    Returns
    -------
    list of ndarray of uint8, shape (H / rows, W / columns, 3)
        Row by row; parts of `texture`.
    """
    return [page for row in np.split(texture, grid[0]) for page in np.split(row, grid[1], axis=1)]


def numbered(name: str, place: int) -> str:
    """Name what belongs to a page: the first has the plain name.

    Parameters
    ----------
    name : str
    place : int
        0 for the first page.

    Returns
    -------
    str
    """
    return f"{name}_page{place + 1}" if place else name


def face_pages(mesh: TexturedMesh) -> NDArray[np.int64]:
    """Find the page of each face.

    Parameters
    ----------
    mesh : TexturedMesh

    Returns
    -------
    ndarray of int64, shape (F,)
        Numbers of pages, row by row.
    """
    rows, columns = mesh.pages
    if rows * columns == 1:
        return np.zeros(len(mesh.faces), np.int64)
    middle = mesh.uv[mesh.face_uv].mean(axis=1, dtype=np.float64)
    column = np.clip((middle[:, 0] * columns).astype(np.int64), 0, columns - 1)
    row = np.clip(((1 - middle[:, 1]) * rows).astype(np.int64), 0, rows - 1)
    numbers: NDArray[np.int64] = row * columns + column
    return numbers


def within_page(uv: Floats32, page: int, grid: tuple[int, int]) -> Floats32:
    """Compute coordinates within a page from those within all.

    Parameters
    ----------
    uv : ndarray of float32, shape (N, 2)
        (0, 0) is the lower left corner.
    page : int
    grid : tuple of int
        Rows and columns.

    Returns
    -------
    ndarray of float32, shape (N, 2)
    """
    rows, columns = grid
    if rows * columns == 1:
        return uv
    row, column = divmod(page, columns)
    local = np.clip(uv * np.array([columns, rows]) - [column, rows - 1 - row], 0, 1)
    placed: Floats32 = local.astype(np.float32)
    return placed


def page_coordinates(mesh: TexturedMesh, face_page: NDArray[np.int64]) -> Floats32:
    """Compute all texture coordinates, each within its page.

    Parameters
    ----------
    mesh : TexturedMesh
    face_page : ndarray of int64, shape (F,)
        From `face_pages`.

    Returns
    -------
    ndarray of float32, shape (T, 2)
    """
    page = np.zeros(len(mesh.uv), np.int64)
    page[mesh.face_uv] = face_page[:, None]
    uv = mesh.uv.copy()
    for number in np.unique(face_page).tolist():
        uv[page == number] = within_page(mesh.uv[page == number], number, mesh.pages)
    return uv


def within_grid(uv: Floats32, page: int, grid: tuple[int, int]) -> Floats32:
    """Compute coordinates within all pages from those within one.

    Parameters
    ----------
    uv : ndarray of float32, shape (N, 2)
        (0, 0) is the lower left corner.
    page : int
    grid : tuple of int
        Rows and columns.

    Returns
    -------
    ndarray of float32, shape (N, 2)
    """
    rows, columns = grid
    row, column = divmod(page, columns)
    placed: Floats32 = ((uv + np.array([column, rows - 1 - row])) / [columns, rows]).astype(np.float32)
    return placed

"""Which views see each point of a cloud: ``visibility.npz``."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path
from recon3d.types import Ints

_FAULTS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def write_visibility(
    path: Path, counts: Iterable[NDArray[np.int64]], indices: Iterable[Ints], points: int, observations: int
) -> None:
    """Write the lists of views of a cloud's points part by part, atomically.

    Parameters
    ----------
    path : Path
        NumPy archive of ``view_starts``, shape (points + 1,), and ``view_indices``, shape
        (observations,), as in `SparsePoints`.
    counts : iterable of ndarray of int64, shape (K,)
        How many views see each point, part by part.
    indices : iterable of ndarray of int32, shape (L,)
        Those views.
    points, observations : int
        Lengths of all parts together.
    """

    def starts() -> Iterable[NDArray[np.int64]]:
        end = np.zeros(1, np.int64)
        yield end
        for part in counts:
            ends = end + np.cumsum(part)
            yield ends
            end = ends[-1:] if len(ends) else end

    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _write_array(archive, "view_starts", "<i8", points + 1, starts())
        _write_array(archive, "view_indices", "<i4", observations, indices)


def read_visibility(path: Path) -> tuple[NDArray[np.int64], Ints]:
    """Read which views see each point.

    Parameters
    ----------
    path : Path

    Returns
    -------
    (ndarray of int64, ndarray of int32)
        ``view_starts`` of shape (N + 1,) and ``view_indices`` of shape (M,); see `PointCloud`.

    Raises
    ------
    InputError
        The file is missing or damaged.
    """
    try:
        with np.load(path) as data:
            return data["view_starts"], data["view_indices"]
    except _FAULTS as error:
        raise _damaged(path, error) from error


def read_visibility_in_parts(
    path: Path, points: int, first: int = 0, last: int | None = None
) -> Iterator[tuple[NDArray[np.int64], Ints]]:
    """Read which views see each point part by part.

    Parameters
    ----------
    path : Path
    points : int
        Points of a part; the last has fewer.
    first, last : int
        Points from the first one on and before the last one are read; by default all.

    Yields
    ------
    (ndarray of int64, ndarray of int32)
        As `read_visibility` gives them, for the points of a part: shapes (K + 1,) and (L,).

    Raises
    ------
    InputError
        The file is missing or damaged.
    """
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open("view_starts.npy") as starts,
            archive.open("view_indices.npy") as indices,
        ):
            total, kind = _header(starts)
            _, index_kind = _header(indices)
            starts.seek(first * kind.itemsize, os.SEEK_CUR)
            end = _take(starts, kind, 1)
            indices.seek(int(end[0]) * index_kind.itemsize, os.SEEK_CUR)
            stop = total - 1 if last is None else min(last, total - 1)
            for start in range(first, stop, points):
                ends = np.concatenate([end, _take(starts, kind, min(points, stop - start))])
                end = ends[-1:]
                yield ends - ends[0], _take(indices, index_kind, int(ends[-1] - ends[0]))
    except _FAULTS as error:
        raise _damaged(path, error) from error


def _header(file: IO[bytes]) -> tuple[int, np.dtype[Any]]:
    """Length and type of an archive's array, whose first number comes next."""
    np.lib.format.read_magic(file)
    (length,), _, kind = np.lib.format.read_array_header_1_0(file)
    return int(length), kind


def _take(file: IO[bytes], kind: np.dtype[Any], count: int) -> NDArray[Any]:
    data = file.read(count * kind.itemsize)
    if len(data) < count * kind.itemsize:
        raise EOFError("it ends early")
    return np.frombuffer(data, kind)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is missing or damaged: {error}.", "Run dense_reconstruction again: --rerun-from."
    )


def _write_array(
    archive: zipfile.ZipFile, name: str, kind: str, length: int, parts: Iterable[NDArray[Any]]
) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        header = {"descr": kind, "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(part.astype(kind, copy=False).tobytes())

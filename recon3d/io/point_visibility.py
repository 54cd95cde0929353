"""Which views see each point of a cloud: ``visibility.npz``."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path
from recon3d.types import Ints


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
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is missing or damaged: {error}.", "Run dense_reconstruction again: --rerun-from."
        ) from error


def _write_array(
    archive: zipfile.ZipFile, name: str, kind: str, length: int, parts: Iterable[NDArray[Any]]
) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        header = {"descr": kind, "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(part.astype(kind, copy=False).tobytes())

"""Looking into a COLMAP model's files without COLMAP.

Planning a run asks what a model holds before any worker runs, and pycolmap stays out of this
process. Everything else goes through `recon3d.colmap`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from recon3d.errors import InputError

T = TypeVar("T")

#: Number of parameters of COLMAP's camera models, by their ids.
_PARAMETERS = dict(enumerate((3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12, 16, 4, 5, 3, 4, 6, 2)))


def _part(model: Path, name: str) -> Path:
    for suffix in (".bin", ".txt"):
        if (model / f"{name}{suffix}").is_file():
            return model / f"{name}{suffix}"
    raise InputError(
        f"{model} is not a COLMAP model: {name}.bin or {name}.txt is missing.",
        "Give the folder that holds cameras, images and points3D.",
    )


def model_has_points(model: Path) -> bool:
    """Tell whether a COLMAP model has triangulated points.

    Parameters
    ----------
    model : Path
        Folder of the model.

    Returns
    -------
    bool

    Raises
    ------
    InputError
        The folder is not a COLMAP model.
    """
    path = _part(model, "points3D")
    if path.suffix == ".bin":
        head = path.read_bytes()[:8]
        return len(head) == 8 and struct.unpack("<Q", head)[0] > 0
    with open(path, encoding="utf-8", errors="replace") as file:
        return any(line.strip() and not line.startswith("#") for line in file)


@dataclass(frozen=True)
class ModelImage:
    """An image of a COLMAP model: its name, and the width and height of its camera where known."""

    name: str
    size: tuple[int, int] | None


def model_images(model: Path) -> dict[int, ModelImage]:
    """List the images of a COLMAP model.

    Parameters
    ----------
    model : Path
        Folder of the model.

    Returns
    -------
    dict of int to ModelImage
        By COLMAP's id of the image.

    Raises
    ------
    InputError
        The folder is not a COLMAP model, or its lists of cameras or images are damaged.
    """
    cameras, path = _part(model, "cameras"), _part(model, "images")
    sizes = _read(cameras, _sizes_bin, _sizes_txt)
    rows = _read(path, _images_bin, _images_txt)
    if not rows:
        raise InputError(f"{path} lists no image.", "Give a model with registered images.")
    for _, _, name in rows:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{path} names an image outside its folder: {name}.", "Use relative names.")
    return {number: ModelImage(name, sizes.get(camera)) for number, camera, name in rows}


def _read(path: Path, binary: Callable[[Path], T], text: Callable[[Path], T]) -> T:
    try:
        return binary(path) if path.suffix == ".bin" else text(path)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} holds a name that is not UTF-8.", "Rename that image, and export the model again."
        ) from error
    except (struct.error, ValueError, IndexError) as error:
        raise InputError(f"{path} is damaged: {error}.", "Export the model from COLMAP again.") from error


def _lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").split("\n")
    return [line for line in lines if not line.lstrip().startswith("#")]


def _sizes_txt(path: Path) -> dict[int, tuple[int, int]]:
    rows = [line.split() for line in _lines(path) if line.strip()]
    return {int(row[0]): (int(row[2]), int(row[3])) for row in rows}


def _sizes_bin(path: Path) -> dict[int, tuple[int, int]]:
    data = path.read_bytes()
    (count,) = struct.unpack_from("<Q", data, 0)
    offset, sizes = 8, {}
    for _ in range(count):
        number, kind, width, height = struct.unpack_from("<IiQQ", data, offset)
        sizes[number] = (width, height)
        if kind not in _PARAMETERS:  # of a newer COLMAP: the rest cannot be found
            break
        offset += 24 + 8 * _PARAMETERS[kind]
    return sizes


def _images_txt(path: Path) -> list[tuple[int, int, str]]:
    # Each image has two lines; the second, its observations, may be empty. Names may have spaces.
    rows = [line.split(maxsplit=9) for line in _lines(path)[::2] if line.strip()]
    return [(int(row[0]), int(row[8]), row[9].rstrip()) for row in rows]


def _images_bin(path: Path) -> list[tuple[int, int, str]]:
    data = path.read_bytes()
    (count,) = struct.unpack_from("<Q", data, 0)
    offset, rows = 8, []
    for _ in range(count):
        number, camera = struct.unpack_from("<I", data, offset)[0], offset + 4 + 7 * 8
        end = data.index(b"\0", camera + 4)
        name = data[camera + 4 : end].decode("utf-8")
        rows.append((number, struct.unpack_from("<I", data, camera)[0], name))
        (observations,) = struct.unpack_from("<Q", data, end + 1)
        offset = end + 9 + observations * 24
    return rows

"""Looking into a COLMAP model's files without COLMAP.

Planning a run asks what a model holds before any worker runs, and pycolmap stays out of this
process. Everything else goes through `recon3d.colmap`.
"""

from __future__ import annotations

import struct
from pathlib import Path

from recon3d.errors import InputError


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


def model_image_names(model: Path) -> list[str]:
    """List the names of a COLMAP model's images.

    Parameters
    ----------
    model : Path
        Folder of the model.

    Returns
    -------
    list of str
        Sorted.

    Raises
    ------
    InputError
        The folder is not a COLMAP model, or its list of images is damaged.
    """
    _part(model, "cameras")
    path = _part(model, "images")
    try:
        names = _names_bin(path) if path.suffix == ".bin" else _names_txt(path)
    except (struct.error, ValueError, IndexError) as error:
        raise InputError(f"{path} is damaged: {error}.", "Export the model from COLMAP again.") from error
    if not names:
        raise InputError(f"{path} lists no image.", "Give a model with registered images.")
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{path} names an image outside its folder: {name}.", "Use relative names.")
    return sorted(names)


def _names_txt(path: Path) -> list[str]:
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")
    ]
    # Each image has two lines; the second, its observations, may be empty.
    return [" ".join(line.split()[9:]) for line in lines[::2] if line.strip()]


def _names_bin(path: Path) -> list[str]:
    data = path.read_bytes()
    (count,) = struct.unpack_from("<Q", data, 0)
    offset, names = 8, []
    for _ in range(count):
        offset += 4 + 7 * 8 + 4  # id, quaternion and translation, camera
        end = data.index(b"\0", offset)
        names.append(data[offset:end].decode("utf-8"))
        (observations,) = struct.unpack_from("<Q", data, end + 1)
        offset = end + 9 + observations * 24
    return names

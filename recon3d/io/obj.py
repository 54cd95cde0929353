"""Wavefront OBJ with its material and texture."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.io.atomic import atomic_path
from recon3d.io.mesh_check import require_faces
from recon3d.types import TexturedMesh


def write_obj(path: Path, mesh: TexturedMesh, *, quality: int = 95) -> list[Path]:
    """Write ``NAME.obj``, and beside it ``NAME.mtl`` and ``NAME.jpg``.

    Parameters
    ----------
    path : Path
        The OBJ file. Blanks in its name become underscores in the names of the other two, since
        readers split the lines that name them at blanks.
    mesh : TexturedMesh
    quality : int
        JPEG's quality, 1 to 100.

    Returns
    -------
    list of Path
        The three files, the OBJ first.

    Raises
    ------
    InputError
        The mesh has no faces.
    """
    require_faces(mesh, path)
    path = Path(path)
    stem = re.sub(r"\s+", "_", path.stem)
    material, texture = path.with_name(f"{stem}.mtl"), path.with_name(f"{stem}.jpg")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(mesh.texture, cv2.COLOR_RGB2BGR), options)[1]
    with atomic_path(texture) as temporary:
        temporary.write_bytes(bytes(encoded))
    with atomic_path(material) as temporary:
        # The photos' own light is all there is: ambient and diffuse white, no highlights.
        temporary.write_text(
            f"newmtl photos\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture.name}\n", encoding="utf-8"
        )
    corners = np.stack([mesh.faces, mesh.face_uv], axis=-1).reshape(len(mesh.faces), 6) + 1
    # OBJ is written last: where it is, the files it names are.
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write(f"# recon3d\nmtllib {material.name}\nusemtl photos\n")
        file.write(_lines("v %.9g %.9g %.9g\n", mesh.vertices))
        file.write(_lines("vt %.7f %.7f\n", mesh.uv))
        file.write(_lines("f %d/%d %d/%d %d/%d\n", corners))
    return [path, material, texture]


def _lines(line: str, rows: NDArray[np.generic]) -> str:
    """One line for each row; a single format operation is several times faster than a loop."""
    return (line * len(rows)) % tuple(rows.ravel().tolist())

"""Wavefront OBJ with its material and texture."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon3d.io.atomic import atomic_path
from recon3d.io.gltf import encoded_texture
from recon3d.io.mesh_check import require_faces
from recon3d.texture.grid import face_pages, numbered, page_coordinates, page_pictures
from recon3d.types import Bytes, Mesh, TexturedMesh


def write_obj(
    path: Path, mesh: TexturedMesh, *, quality: int = 95, normal_map: Bytes | None = None
) -> list[Path]:
    """Write ``NAME.obj``, and beside it ``NAME.mtl`` and ``NAME.jpg``; ``NAME_normal.png`` with a normal map.

    Further pages of the texture are ``NAME_page2.jpg`` and ``NAME_page2_normal.png``, and so on.

    Parameters
    ----------
    path : Path
        The OBJ file. Blanks in its name become underscores in the names of the others, since
        readers split the lines that name them at blanks.
    mesh : TexturedMesh
    quality : int
        JPEG's quality, 1 to 100.
    normal_map : ndarray of uint8, shape (h, w, 3), optional
        As `recon3d.texture.normal_map` makes it. The OBJ has normals then.

    Returns
    -------
    list of Path
        The files, the OBJ first.

    Raises
    ------
    InputError
        The mesh has no faces.
    """
    require_faces(mesh, path)
    path = Path(path)
    stem = re.sub(r"\s+", "_", path.stem)
    material = path.with_name(f"{stem}.mtl")
    face_page = face_pages(mesh)
    numbers = np.unique(face_page).tolist()
    written, materials = [path, material], []
    colors = page_pictures(mesh.texture, mesh.pages)
    normals = [] if normal_map is None else page_pictures(normal_map, mesh.pages)
    for place, number in enumerate(numbers):
        named, name = numbered(stem, place), numbered("photos", place)
        texture = path.with_name(f"{named}.jpg")
        _write_picture(texture, encoded_texture(colors[number], "jpeg", quality))
        written.append(texture)
        # The photos' own light is all there is: ambient and diffuse white, no highlights.
        lines = f"newmtl {name}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture.name}\n"
        if normal_map is not None:
            picture = path.with_name(f"{named}_normal.png")
            _write_picture(picture, encoded_texture(normals[number], "png", 0))
            written.append(picture)
            # three.js has normal maps by the first name and heights by the second; Blender reads the second.
            lines += f"norm {picture.name}\nmap_Bump {picture.name}\n"
        materials.append((name, lines))
    with atomic_path(material) as temporary:
        temporary.write_text("".join(lines for _, lines in materials), encoding="utf-8")
    parts, corner = [mesh.faces, mesh.face_uv], "%d/%d"
    if normal_map is not None:
        parts, corner = [*parts, mesh.faces], "%d/%d/%d"
    corners = np.stack(parts, axis=-1).reshape(len(mesh.faces), -1) + 1
    # OBJ is written last: where it is, the files it names are.
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write(f"# recon3d\nmtllib {material.name}\n")
        file.write(_lines("v %.9g %.9g %.9g\n", mesh.vertices))
        file.write(_lines("vt %.7f %.7f\n", page_coordinates(mesh, face_page)))
        if normal_map is not None:
            from recon3d.texture.tangents import shading_normals

            file.write(_lines("vn %.6f %.6f %.6f\n", shading_normals(Mesh(mesh.vertices, mesh.faces))))
        for number, (name, _) in zip(numbers, materials, strict=True):
            file.write(f"usemtl {name}\n")
            file.write(_lines(f"f {corner} {corner} {corner}\n", corners[face_page == number]))
    return written


def _write_picture(path: Path, encoded: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded)


def _lines(line: str, rows: NDArray[np.generic]) -> str:
    """One line for each row; a single format operation is several times faster than a loop."""
    return (line * len(rows)) % tuple(rows.ravel().tolist())

"""STL, the format of programs that print: bare triangles, binary."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon3d.io.atomic import atomic_path
from recon3d.io.mesh_check import require_faces
from recon3d.types import Mesh, TexturedMesh

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER = 80


def write_stl(path: Path, mesh: Mesh | TexturedMesh, *, unit: str = "") -> None:
    """Write the triangles of a mesh, without colours.

    Parameters
    ----------
    path : Path
    mesh : Mesh or TexturedMesh
        In the unit and the axes of the file; programs that print take millimetres, and z as up.
    unit : str
        Told in the header, for people: the format has no field for it.

    Raises
    ------
    InputError
        The mesh has no faces.
    """
    require_faces(mesh, path)
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    rows = np.zeros(len(corners), _TRIANGLE)
    rows["corners"] = corners
    rows["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    # Not "solid" at the beginning: readers take that for the text form.
    header = f"recon3d, binary STL, unit: {unit or 'unknown'}".encode("ascii")[:_HEADER]
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(header.ljust(_HEADER, b" "))
        file.write(np.uint32(len(rows)).astype("<u4").tobytes())
        file.write(rows.tobytes())

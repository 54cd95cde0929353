"""What a mesh must have to be written."""

from __future__ import annotations

from pathlib import Path

from recon3d.errors import InputError
from recon3d.types import Mesh, TexturedMesh


def require_faces(mesh: Mesh | TexturedMesh, path: Path) -> None:
    """Refuse a mesh without faces.

    Parameters
    ----------
    mesh : Mesh or TexturedMesh
    path : Path
        Where it would be written.

    Raises
    ------
    InputError
        It has none.
    """
    if not len(mesh.faces):
        raise InputError(f"A mesh without faces cannot be written to {path}.", "Check the step that made it.")

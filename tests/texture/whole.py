"""Texturing in one call, as the stage does it in two tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from recon3d.texture.assemble import TextureCounts, choose_photos, paint_mesh
from recon3d.texture.face_visibility import Candidates
from recon3d.types import Bytes, Mesh, TexturedMesh, View


def texture_mesh(
    mesh: Mesh,
    views: Sequence[View],
    candidates: Candidates,
    load_photo: Callable[[int], Bytes],
    guesses: Any = None,
    **how: Any,
) -> tuple[TexturedMesh, TextureCounts]:
    """Texture a mesh; `how` is for `paint_mesh`."""
    mesh, choice = choose_photos(mesh, len(views), candidates, guesses)
    return paint_mesh(mesh, choice, views, load_photo, **how)

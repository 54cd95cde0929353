"""Texturing in one call, as the stage does it in several tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recon3d.texture.assemble import choose_photos, confirm_candidates
from recon3d.texture.face_visibility import Candidates
from recon3d.texture.labelling import choose_views
from recon3d.texture.painting import TextureCounts, blended, joined, paint_view, plan_atlas, textured
from recon3d.texture.topology import face_pairs
from recon3d.threads import ALONE, Threads
from recon3d.types import Bytes, Mesh, TexturedMesh, View


def texture_mesh(
    mesh: Mesh,
    views: Sequence[View],
    candidates: Candidates,
    load_photo: Callable[[int], Bytes],
    guesses: Any = None,
    texture_size: int = 4096,
    seam_levelling: bool = True,
    threads: Threads = ALONE,
) -> tuple[TexturedMesh, TextureCounts]:
    """Texture a mesh."""
    mesh, confirmed = confirm_candidates(mesh, len(views), candidates, guesses)
    labels = choose_views(mesh, face_pairs(mesh.faces), confirmed.candidates)
    mesh, choice = choose_photos(mesh, confirmed, labels)
    plan = plan_atlas(mesh, choice, views, texture_size)
    gains = choice.gains if seam_levelling else np.ones_like(choice.gains)
    painted = [paint_view(plan, view, load_photo(view), gains[view]) for view in plan.views.tolist()]
    atlas = joined(plan, painted, level=seam_levelling, threads=threads)
    if seam_levelling:
        atlas = blended(plan, atlas, threads)
    return textured(mesh, choice, views, plan, atlas, threads)

"""Texturing in one call, as the stage does it in several tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recon3d.texture.assemble import choose_photos, confirm_candidates
from recon3d.texture.charts import lay_out
from recon3d.texture.face_visibility import Candidates
from recon3d.texture.grid import in_grid
from recon3d.texture.labelling import choose_views
from recon3d.texture.pages import Page
from recon3d.texture.painting import (
    TextureCounts,
    count_texture,
    finished,
    joined,
    levels,
    paint_view,
    plan_atlas,
    shown,
    texture_coordinates,
)
from recon3d.texture.seams import Sampling
from recon3d.texture.texels import INSIDE
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
    pages: int = 1,
) -> tuple[TexturedMesh, TextureCounts]:
    """Texture a mesh."""
    mesh, confirmed = confirm_candidates(mesh, len(views), candidates, guesses)
    labels = choose_views(mesh, face_pairs(mesh.faces), confirmed.candidates)
    mesh, choice = choose_photos(mesh, confirmed, labels)
    plan = plan_atlas(mesh, choice, views, texture_size, pages)
    layouts = [lay_out(plan.charts_of(number), views, texture_size) for number in range(plan.pages)]
    parts = [Page(plan.charts_of(number), layout) for number, layout in enumerate(layouts)]
    gains = choice.gains if seam_levelling else np.ones_like(choice.gains)
    atlases = [
        joined(
            page,
            [paint_view(page, view, load_photo(view), gains[view]) for view in plan.views(number).tolist()],
            threads,
        )
        for number, page in enumerate(parts)
    ]
    sampling = Sampling.of(plan.seams, np.concatenate([layout.node_xy for layout in layouts]))
    seen = [shown(page, plan.nodes(number), atlases[number], sampling) for number, page in enumerate(parts)]
    made = levels(plan, mesh, seen, sampling, level=seam_levelling)
    side = max(layout.size for layout in layouts)
    textures = []
    for number, page in enumerate(parts):
        texture = finished(
            *(page, plan.nodes(number), atlases[number], made, sampling),
            level=seam_levelling,
            threads=threads,
        )
        more = side - len(texture)
        textures.append(np.pad(texture, ((0, more), (0, more), (0, 0)), mode="edge"))
    inside = sum(int(np.count_nonzero(atlas.mask == INSIDE)) for atlas in atlases)
    uv, face_uv, grid = texture_coordinates(plan, layouts)
    textured = TexturedMesh(mesh.vertices, mesh.faces, uv, face_uv, in_grid(textures, grid), grid)
    return textured, count_texture(mesh, choice, views, plan, layouts, inside)

"""From candidate views to a textured mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.texture.atlas import Atlas, cell_corners
from recon3d.texture.blending import blend_seams
from recon3d.texture.charts import Charts, Layout, build_charts, lay_out
from recon3d.texture.face_visibility import Candidates
from recon3d.texture.fill import continued_colors, unseen_corner_colors
from recon3d.texture.guesses import doubted_regions, drop_unconfirmed, without
from recon3d.texture.labelling import choose_views, chosen_quality
from recon3d.texture.photo_consistency import remove_outliers, view_gains
from recon3d.texture.refine import Splits
from recon3d.texture.rejoin import rejoin
from recon3d.texture.seams import find_seams, global_corrections, seam_differences
from recon3d.texture.surroundings import foreign_at_outlines
from recon3d.texture.texels import INSIDE
from recon3d.texture.topology import face_areas, face_pairs
from recon3d.types import Bytes, Floats, Floats32, Ints, Mesh, TexturedMesh, View


@dataclass(frozen=True)
class TextureCounts:
    """What went into a texture.

    Parameters
    ----------
    faces_seen, faces_unseen : int
        Faces painted from a photo, and from their neighbours.
    views_used : int
        Views that paint at least one face.
    charts : int
    outliers : int
        Combinations of face and view that showed something else than the other views.
    atlas_size : int
        Side of the texture.
    scale : float
        Texels a pixel of the photos: 1, or less when the texture was too small.
    filled : float
        Share of the texture that faces cover.
    doubted : float
        Share of the surface that takes its colours from its surroundings although photos show
        something in its place: what is behind it, or different things.
    """

    faces_seen: int
    faces_unseen: int
    views_used: int
    charts: int
    outliers: int
    atlas_size: int
    scale: float
    filled: float
    doubted: float


@dataclass(frozen=True, eq=False)
class Choice:
    """Which photo paints which face.

    Parameters
    ----------
    labels : ndarray of int32, shape (F,)
        View of each face; -1 for none.
    quality : ndarray of float32, shape (F,)
        Of each face in its view, relative to its best one.
    gains : ndarray of float64, shape (V, 3)
        Of each view and channel, as `view_gains` gives them.
    outliers : int
        As in `TextureCounts`.
    doubted : float
        As in `TextureCounts`.
    """

    labels: Ints
    quality: Floats32
    gains: Floats
    outliers: int
    doubted: float


def choose_photos(
    mesh: Mesh,
    views: int,
    candidates: Candidates,
    guesses: NDArray[np.bool_] | None = None,
    splits: Splits | None = None,
    max_faces: int | None = None,
) -> tuple[Mesh, Choice]:
    """Choose the photo that paints each face.

    Parameters
    ----------
    mesh : Mesh
    views : int
        How many there are.
    candidates : Candidates
        What the views show, from `recon3d.texture.face_visibility`.
    guesses : ndarray of bool, shape (F,), optional
        Faces that no photo measured: they take their neighbours' colours unless photos agree on them.
    splits : Splits, optional
        How the faces of `mesh` came of larger ones; they are joined again where that costs nothing.
    max_faces : int, optional
        Faces that the result may have; splits are undone until it does.

    Returns
    -------
    mesh : Mesh
        Joined where splits cost more than they give; its colours are continued where no photo is right.
    choice : Choice
    """
    pairs = face_pairs(mesh.faces)
    gains = view_gains(candidates, views)
    candidates, outliers = remove_outliers(candidates, pairs, gains)
    candidates = without(candidates, foreign_at_outlines(candidates, pairs, gains))
    if guesses is not None:
        candidates = drop_unconfirmed(candidates, guesses, gains)
    doubted = doubted_regions(candidates, pairs)
    mesh = continued_colors(mesh, doubted)
    area = face_areas(mesh)
    doubted_share = float(area[doubted & candidates.doubted].sum() / max(area.sum(), 1e-300))
    labels = choose_views(mesh, pairs, candidates)
    quality = chosen_quality(candidates, labels)
    if splits is not None and len(splits):
        limit = len(mesh.faces) if max_faces is None else max_faces
        joined = rejoin(mesh, splits, labels, candidates, limit)
        mesh, labels, quality = joined.mesh, joined.labels, joined.quality
    return mesh, Choice(labels, quality, gains, outliers, doubted_share)


def paint_mesh(
    mesh: Mesh,
    choice: Choice,
    views: Sequence[View],
    load_photo: Callable[[int], Bytes],
    *,
    texture_size: int = 4096,
    seam_levelling: bool = True,
    progress: Callable[[float, float], None] = lambda done, total: None,
) -> tuple[TexturedMesh, TextureCounts]:
    """Paint a mesh from the photos that were chosen.

    Parameters
    ----------
    mesh : Mesh
    choice : Choice
        Both from `choose_photos`.
    views : sequence of View
        With pinhole cameras.
    load_photo : callable
        Gives the undistorted photo of a view by its number, uint8 RGB of the camera's size. Each
        photo is asked for once at most.
    texture_size : int
        Largest side of the texture.
    seam_levelling : bool
        Even out exposures and seams.
    progress : callable
        Receives (done, total).

    Returns
    -------
    TexturedMesh
    TextureCounts

    Raises
    ------
    OptionError
        `texture_size` is too small for the charts.
    """
    pairs, gains = face_pairs(mesh.faces), choice.gains
    charts = build_charts(mesh, pairs, choice.labels, views)
    layout = lay_out(charts, views, texture_size)
    atlas = Atlas.empty(layout.size)
    used = np.unique(charts.chart_view)
    for done, index in enumerate(used):
        progress(done, len(used) + 1)
        gain = gains[index] if seam_levelling else np.ones(3)
        atlas.paint(load_photo(int(index)), charts, layout, int(index), gain)
    progress(len(used), len(used) + 1)
    atlas.outline(charts, layout)
    if seam_levelling:
        seams = find_seams(charts, pairs, choice.quality)
        offsets = global_corrections(charts, seams, *seam_differences(atlas, layout, seams))
        atlas.correct(charts, layout, offsets)
        blend_seams(atlas, charts, layout, seams)
    if len(layout.cells):
        atlas.fill_cells(layout, unseen_corner_colors(mesh, charts, layout, atlas))
    unseen = int(np.count_nonzero(charts.face_chart < 0))
    largest = max((max(v.camera.width, v.camera.height) for v in views), default=1)
    counts = TextureCounts(
        faces_seen=len(mesh.faces) - unseen,
        faces_unseen=unseen,
        views_used=len(used),
        charts=len(charts),
        outliers=choice.outliers,
        atlas_size=layout.size,
        scale=round(float(layout.image_sizes.max(initial=1)) / largest, 4),
        filled=round(float(np.count_nonzero(atlas.mask == INSIDE)) / atlas.mask.size, 4),
        doubted=round(choice.doubted, 4),
    )
    texture = atlas.finish(layout)
    progress(1, 1)
    uv, face_uv = _uv(charts, layout)
    return TexturedMesh(mesh.vertices, mesh.faces, uv, face_uv, texture), counts


def _uv(charts: Charts, layout: Layout) -> tuple[Floats32, Ints]:
    """Texture coordinates, origin at the lower left, and each face's three indices into them."""
    corners = cell_corners(layout)
    xy: Floats = np.concatenate([layout.node_xy, corners.reshape(-1, 2)])
    uv = np.stack([xy[:, 0], layout.size - xy[:, 1]], axis=1) / layout.size
    face_uv = charts.face_nodes.copy()
    first = len(layout.node_xy)
    face_uv[charts.face_chart < 0] = first + np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)
    return np.clip(uv, 0, 1).astype(np.float32), face_uv

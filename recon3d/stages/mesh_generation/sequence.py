"""The order of the steps, of a surface as a whole and in parts.

What an earlier run has finished is not done again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recon3d.compute import StageContext
from recon3d.io.ply import ply_vertex_count
from recon3d.layout import POINT_CLOUD
from recon3d.options import Box, MeshGenerationOptions
from recon3d.stages.cloud_reading import Span, spans_of
from recon3d.stages.kept_steps import is_whole, kept_facts
from recon3d.stages.mesh_generation.fit import Fit, PhotoSet, fit_to_photos
from recon3d.stages.mesh_generation.joining_steps import (
    FIRST_SHARE,
    coarsen,
    cut_out,
    join_parts,
    surround,
    thin_part,
)
from recon3d.stages.mesh_generation.mesh_steps import (
    Cut,
    Made,
    cut_surface,
    finish,
    make_surface,
    shape_guesses,
    smooth,
    start_surface,
    thin_surface,
)
from recon3d.stages.mesh_generation.point_steps import (
    ReadTask,
    read_points,
    read_span,
    see_through,
    thin_points,
)
from recon3d.stages.mesh_generation.sharing_steps import RIM, Shares, kept_shares, read_part, share_scene
from recon3d.stages.running import run_step
from recon3d.surface.free_space import halvings
from recon3d.surface.region import Extent
from recon3d.types import Scene

#: Work of the steps: reading points and depth maps, thinning, making in two halves, cutting, shaping,
#: smoothing, fitting to photos, leaving triangles out, finishing.
_SHARES = (1, 1, 3, 5, 5, 4, 8, 3, 20, 5, 2)
#: Points that are left of a span of a large cloud: its share of all that are in memory, this many times,
#: since spans overlap; no more than this share of them.
_SPAN_SHARE, _LARGEST_SPAN = 4, 0.5
#: Views whose depth maps one task reads.
_TOGETHER = 64
#: Bytes of parts that are joined, for each triangle wanted, and in any case.
_JOINED_BYTES, _BASE_BYTES = 600, 500_000_000
#: Bytes of the surface in a step of the fit to photos, for each triangle wanted.
_MESH_BYTES = 1000


@dataclass(frozen=True)
class _Piece:
    """A part, and where its steps leave files."""

    number: int
    folder: Path
    shares: Shares

    @property
    def core(self) -> Box:
        """Its box, which overlaps no other's."""
        return self.shares.parts[self.number].core

    @property
    def views(self) -> frozenset[str]:
        """Names of the photos that show it."""
        return frozenset(self.shares.parts[self.number].views)

    def box(self, rim: float = 0.0) -> Box:
        """That of its points, without so many cells on all sides."""
        return self.shares.overlapping(self.number, rim)


def _files(pieces: Sequence[_Piece], name: str) -> list[Path]:
    """What a step leaves of each part."""
    return [piece.folder / name for piece in pieces]


def _usual(found: list[tuple[float, int]]) -> float:
    """The median of values that stand for numbers of points; 0 of none."""
    ordered = sorted(found)
    half, count = sum(points for _, points in ordered) / 2, 0
    for value, points in ordered:
        count += points
        if count >= half:
            return value
    return 0.0


def _near(facts: list[dict[str, Any]], box: Box) -> list[Span] | None:
    """Where points of a box can be in the cloud's file, by facts of its spans; None without any."""
    if not facts:
        return None
    low, high = np.array(box)
    return [
        (int(fact["span"][0]), int(fact["span"][1]))
        for fact in facts
        if (np.array(fact["low"]) <= high).all() and (np.array(fact["high"]) >= low).all()
    ]


@dataclass(frozen=True)
class Surfacing:
    """What surfaces are made of, and how.

    Parameters
    ----------
    read : ReadTask
        Of all points.
    scene : Scene
        The views of dense_reconstruction.
    photos : PhotoSet, optional
        The photos that the surface is fitted to.
    folder : Path
        Receives what the steps leave.
    out_dir : Path
    options : MeshGenerationOptions
    context : StageContext
    memory : int
        Bytes that a step takes.
    """

    read: ReadTask
    scene: Scene
    photos: PhotoSet | None
    folder: Path
    out_dir: Path
    options: MeshGenerationOptions
    context: StageContext
    memory: int

    def as_a_whole(self) -> Made:
        """Make one surface at once.

        Returns
        -------
        Made
        """
        reading, seeing, *later, leaving_out, finishing = self.context.phases(*_SHARES)
        cloud, _ = self._read(reading)
        free = self._free(seeing)
        points = self._step(later[0], "points.npz", thin_points, cloud, self.options, None, None)
        (smoothed,) = self._surfaces(later[1:-1], [self.folder], [points], free, [None], None)
        (fitted,) = self._fitted(later[-1], [Fit(smoothed, self.folder)], self.options.max_faces)
        thinned = self._step(leaving_out, "thinned.npz", thin_surface, fitted, self.options)
        return self._finished(finishing, [(points, None)], thinned)

    def in_parts(self, count: int, part: ReadTask) -> Made:
        """Make surfaces of parts of the scene, and join them.

        Parameters
        ----------
        count : int
            Number of parts.
        part : ReadTask
            Of the points of a part.

        Returns
        -------
        Made
        """
        reading, seeing, *later, leaving_out, finishing = self.context.phases(*_SHARES)
        cloud, spans = self._read(reading)
        seeing, sharing = seeing.phases(4, 1)
        free = self._free(seeing)
        shares = kept_shares(self._step(sharing, "shares.npz", share_scene, cloud, free, self.options, count))
        pieces = [_Piece(number, self.folder / f"part-{number}", shares) for number in range(count)]
        found = kept_facts(cloud)
        extent = Extent(found["kind"], found["far"]) if "far" in found else None
        places = [kept_facts(path) for path in spans]
        clouds = [(part, piece.box(), extent, _near(places, piece.box())) for piece in pieces]
        reading, thinning = later[0].phases(1, 1)
        self._steps(reading, _files(pieces, "cloud.npz"), read_part, clouds)
        read = [(p.folder / "cloud.npz", self.options, shares.scale, p.core) for p in pieces]
        points = self._steps(thinning, _files(pieces, "points.npz"), thin_points, read)
        # A part of which photos measured next to nothing has no surface.
        pieces = [piece for piece, path in zip(pieces, points, strict=True) if kept_facts(path)["used"]]
        points = _files(pieces, "points.npz")
        # What depends on the points' noise and spacing is the same all over.
        facts = [kept_facts(path) for path in points]
        noise, spacing = (
            _usual([(fact[name], fact["used"]) for fact in facts]) for name in ("noise", "spacing")
        )
        folders, boxes = [piece.folder for piece in pieces], [piece.core for piece in pieces]
        cuts = [Cut(piece.box(RIM), spacing) for piece in pieces]
        smoothed = self._surfaces(later[1:-1], folders, points, free, cuts, noise)
        pieces = [p for p, path in zip(pieces, smoothed, strict=True) if kept_facts(path)["faces"]]
        leaving_out, joining = leaving_out.phases(2, 3)
        thinned = self._thinned(leaving_out, pieces, self._fitted_parts(later[-1], pieces))
        left = [thinned.get(number) for number in range(count)]
        # The joined surface is one again.
        whole = replace(self, memory=max(self.memory, _BASE_BYTES + _JOINED_BYTES * self.options.max_faces))
        joined = whole._step(joining, "joined.npz", join_parts, left, shares, cloud, self.options)
        return whole._finished(finishing, list(zip(points, boxes, strict=True)), joined)

    def _read(self, context: StageContext) -> tuple[Path, list[Path]]:
        """Read the points; what is left of them, and of spans of the file."""
        total = ply_vertex_count(self.read.dense / POINT_CLOUD)
        reading, joining = context.phases(3, 1)
        spans = spans_of(total) if total > self.read.most_read else []
        most = int(self.read.most_read * min(_LARGEST_SPAN, _SPAN_SHARE / max(1, len(spans))))
        outputs = [self.folder / "spans" / f"{number}.npz" for number in range(len(spans))]
        self._steps(reading, outputs, read_span, [(self.read, span, most) for span in spans])
        return self._step(joining, "cloud.npz", read_points, self.read, outputs), outputs

    def _free(self, context: StageContext) -> list[Path]:
        """Read the depth maps; what is left of them."""
        views = self.scene.views
        groups = [views[first : first + _TOGETHER] for first in range(0, len(views), _TOGETHER)]
        times = halvings([view.camera for view in views])
        outputs = [self.folder / "free" / f"{number}.npz" for number in range(len(groups))]
        given = [(self.read.dense, group, times) for group in groups]
        return self._steps(context, outputs, see_through, given)

    def _fitted_parts(self, context: StageContext, pieces: list[_Piece]) -> list[Path]:
        """Fit smooth surfaces of parts to the photos, each with the others around it."""
        coarsening, surrounding, fitting = context.phases(1, 1, 18)
        smoothed = _files(pieces, "smooth.npz")
        hiding = [(path, piece.core, len(pieces)) for piece, path in zip(pieces, smoothed, strict=True)]
        coarse = self._steps(coarsening, _files(pieces, "coarse.npz"), coarsen, hiding)
        around = [
            (path, [other for other in coarse if other != own], piece.box())
            for piece, path, own in zip(pieces, smoothed, coarse, strict=True)
        ]
        surrounded = self._steps(surrounding, _files(pieces, "surrounded.npz"), surround, around)
        fits = [Fit(path, p.folder, p.views) for p, path in zip(pieces, surrounded, strict=True)]
        return self._fitted(fitting, fits, self.options.max_faces // max(1, len(pieces)))

    def _thinned(self, context: StageContext, pieces: list[_Piece], fitted: list[Path]) -> dict[int, Path]:
        """Cut parts off at their boxes, and leave out triangles; by the parts' numbers."""
        clipping, thinning = context.phases(1, 1)
        cutting = [(path, piece.core) for piece, path in zip(pieces, fitted, strict=True)]
        cut = self._steps(clipping, _files(pieces, "cut.npz"), cut_out, cutting)
        faces = np.array([kept_facts(path)["faces"] for path in cut])
        wanted = np.ceil(FIRST_SHARE * self.options.max_faces * faces / max(faces.sum(), 1)).astype(int)
        given = [(c, p.core, n) for c, p, n in zip(cut, pieces, wanted.tolist(), strict=True)]
        thinned = self._steps(thinning, _files(pieces, "thinned.npz"), thin_part, given)
        return {piece.number: path for piece, path in zip(pieces, thinned, strict=True)}

    def _surfaces(
        self,
        contexts: Sequence[StageContext],
        folders: list[Path],
        points: list[Path],
        free: list[Path],
        cuts: Sequence[Cut | None],
        noise: float | None,
    ) -> list[Path]:
        """From points to smooth surfaces."""
        starting, making, cutting, shaping, smoothing = contexts

        def each(context: StageContext, name: str, fn: Callable[..., None], given: list[Any]) -> list[Path]:
            return self._steps(context, [folder / name for folder in folders], fn, given)

        started = each(starting, "started.npz", start_surface, [(p, free) for p in points])
        pairs = list(zip(points, started, strict=True))
        surfaces = each(making, "surface.npz", make_surface, [(p, free, s) for p, s in pairs])
        given = [(p, free, s, self.options, b) for p, s, b in zip(points, surfaces, cuts, strict=True)]
        cut = each(cutting, "justified.npz", cut_surface, given)
        shaped = each(shaping, "shaped.npz", shape_guesses, [(free, c, self.options) for c in cut])
        return each(smoothing, "smooth.npz", smooth, [(s, self.options, noise) for s in shaped])

    def _fitted(self, context: StageContext, fits: list[Fit], faces: int) -> list[Path]:
        if self.photos is None:
            return [fit.start for fit in fits]
        size = max((max(view.camera.width, view.camera.height) for view in self.scene), default=0)
        chosen = self.folder / "chosen.npz"
        return fit_to_photos(context, fits, size, self.photos, chosen, _MESH_BYTES * faces)

    def _finished(self, context: StageContext, colors: list[tuple[Path, Box | None]], thinned: Path) -> Made:
        context.progress(0, 1)
        given = (self.scene, colors, thinned, self.out_dir, context.threads)
        made: Made = context.call(finish, *given, memory=self.memory)
        context.progress(1, 1)
        return made

    def _step(self, context: StageContext, name: str, fn: Callable[..., None], *given: Any) -> Path:
        return self._steps(context, [self.folder / name], fn, [given])[0]

    def _steps(
        self,
        context: StageContext,
        outputs: list[Path],
        fn: Callable[..., None],
        given: list[tuple[Any, ...]],
    ) -> list[Path]:
        """Run what is left of the same step for all parts."""
        left = [at for at, output in enumerate(outputs) if not is_whole(output)]
        cores = max(1, context.threads // max(1, len(left)))
        calls = [(*given[at], outputs[at], cores) for at in left]
        run_step(context, fn, calls, done=len(outputs) - len(left), memory=self.memory)
        return outputs

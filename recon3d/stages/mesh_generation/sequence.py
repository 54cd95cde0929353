"""The order of the steps, of a surface as a whole and in parts.

What an earlier run has finished is not done again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recon3d.compute import StageContext
from recon3d.layout import MeshCounts
from recon3d.options import MeshGenerationOptions
from recon3d.stages.kept_steps import is_whole, kept_facts
from recon3d.stages.mesh_generation.fit import Fit, PhotoSet, fit_to_photos
from recon3d.stages.mesh_generation.mesh_steps import (
    cut_surface,
    finish,
    make_surface,
    shape_guesses,
    smooth,
    start_surface,
    thin_surface,
)
from recon3d.stages.mesh_generation.part_steps import (
    FIRST_SHARE,
    RIM,
    coarsen,
    cut_out,
    join_parts,
    kept_shares,
    read_part,
    share_scene,
    surround,
    thin_part,
)
from recon3d.stages.mesh_generation.point_steps import ReadTask, read_points, see_through, thin_points
from recon3d.surface.region import Extent
from recon3d.surface.thinning import LEAST_POINTS, Scale
from recon3d.types import Scene

Made = tuple[MeshCounts, str, float, float]

#: Work of the steps: reading points and depth maps, thinning, making in two halves, cutting, shaping,
#: smoothing, fitting to photos, leaving triangles out, finishing.
_SHARES = (1, 1, 3, 5, 5, 4, 8, 3, 20, 5, 2)
#: Bytes of the surface in a step of the fit to photos, for each triangle wanted.
_MESH_BYTES = 1000


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
        """Make one surface at once; see `finish`."""
        reading, seeing, *later, leaving_out, finishing = self.context.phases(*_SHARES)
        cloud = self._step(reading, "cloud.npz", read_points, self.read)
        free = self._step(seeing, "free.npz", see_through, self.read.dense, self.scene)
        points = self._step(later[0], "points.npz", thin_points, cloud, self.options, None)
        (smoothed,) = self._surfaces(later[1:-1], [self.folder], [points], free, [None], whole=True)
        (fitted,) = self._fitted(later[-1], [Fit(smoothed, self.folder)], self.options.max_faces)
        thinned = self._step(leaving_out, "thinned.npz", thin_surface, fitted, self.options)
        return self._finished(finishing, points, "points.cloud", thinned)

    def in_parts(self, count: int, part: ReadTask) -> Made:
        """Make surfaces of parts of the scene, and join them; see `finish`.

        Parameters
        ----------
        count : int
            Number of parts.
        part : ReadTask
            Of the points of a part.
        """
        reading, seeing, *later, leaving_out, finishing = self.context.phases(*_SHARES)
        cloud = self._step(reading, "cloud.npz", read_points, self.read)
        free = self._step(seeing, "free.npz", see_through, self.read.dense, self.scene)
        sharing = (cloud, free, self.options, count)
        shares = kept_shares(self._step(seeing, "shares.npz", share_scene, *sharing))
        folders = [self.folder / f"part-{number}" for number in range(count)]
        boxes, cores = [shares.overlapping(n) for n in range(count)], [part.core for part in shares.parts]
        facts = kept_facts(cloud)
        extent = Extent(facts["kind"], facts["far"]) if "far" in facts else None
        scale = Scale(shares.cell, shares.diagonal)

        def each(context: StageContext, name: str, fn: Callable[..., None], given: list[Any]) -> list[Path]:
            return self._steps(context, [folder / name for folder in used], fn, given)

        used = folders
        clouds = each(later[0], "cloud.npz", read_part, [(part, box, extent) for box in boxes])
        # A part of which photos measured next to nothing has no surface.
        filled = [n for n in range(count) if kept_facts(clouds[n])["points"] >= LEAST_POINTS]
        used = [folders[n] for n in filled]
        points = each(later[0], "points.npz", thin_points, [(clouds[n], self.options, scale) for n in filled])
        rims = [shares.overlapping(n, RIM) for n in filled]
        smoothed = self._surfaces(later[1:-1], used, points, free, rims, whole=False)
        made = [at for at, path in enumerate(smoothed) if kept_facts(path)["faces"]]
        filled, smoothed = [filled[at] for at in made], [smoothed[at] for at in made]
        used = [folders[n] for n in filled]
        coarse = each(
            later[-1],
            "coarse.npz",
            coarsen,
            [(path, cores[n], len(used)) for n, path in zip(filled, smoothed, strict=True)],
        )
        around = each(
            later[-1],
            "surrounded.npz",
            surround,
            [
                (path, [other for other in coarse if other != own], boxes[n])
                for n, path, own in zip(filled, smoothed, coarse, strict=True)
            ],
        )
        fits = [
            Fit(path, folder, frozenset(shares.parts[n].views))
            for n, path, folder in zip(filled, around, used, strict=True)
        ]
        fitted = self._fitted(later[-1], fits, self.options.max_faces // count)
        pieces = each(
            leaving_out, "cut.npz", cut_out, [(p, cores[n]) for n, p in zip(filled, fitted, strict=True)]
        )
        faces = np.array([kept_facts(path)["faces"] for path in pieces])
        wanted = np.ceil(FIRST_SHARE * self.options.max_faces * faces / max(faces.sum(), 1)).astype(int)
        thinned = each(
            leaving_out,
            "thinned.npz",
            thin_part,
            [(p, cores[n], int(w)) for n, p, w in zip(filled, pieces, wanted, strict=True)],
        )
        by_number = dict(zip(filled, thinned, strict=True))
        left = [by_number.get(number) for number in range(count)]
        joined = self._step(leaving_out, "joined.npz", join_parts, left, shares, cloud, self.options)
        return self._finished(finishing, cloud, "cloud", joined)

    def _surfaces(
        self,
        contexts: Sequence[StageContext],
        folders: list[Path],
        points: list[Path],
        free: Path,
        boxes: Sequence[Any],
        *,
        whole: bool,
    ) -> list[Path]:
        """From points to smooth surfaces."""
        starting, making, cutting, shaping, smoothing = contexts

        def each(context: StageContext, name: str, fn: Callable[..., None], given: list[Any]) -> list[Path]:
            return self._steps(context, [folder / name for folder in folders], fn, given)

        started = each(starting, "started.npz", start_surface, [(p, free) for p in points])
        pairs = list(zip(points, started, strict=True))
        surfaces = each(making, "surface.npz", make_surface, [(p, free, s) for p, s in pairs])
        given = [(p, free, s, self.options, b) for p, s, b in zip(points, surfaces, boxes, strict=True)]
        cut = each(cutting, "justified.npz", cut_surface, given)
        shaped = each(shaping, "shaped.npz", shape_guesses, [(free, c, self.options) for c in cut])
        # All parts are smoothed alike.
        noise = None if whole else float(np.median([kept_facts(path)["noise"] for path in points]))
        return each(smoothing, "smooth.npz", smooth, [(s, self.options, noise) for s in shaped])

    def _fitted(self, context: StageContext, fits: list[Fit], faces: int) -> list[Path]:
        if self.photos is None:
            return [fit.start for fit in fits]
        size = max((max(view.camera.width, view.camera.height) for view in self.scene), default=0)
        chosen = self.folder / "chosen.npz"
        return fit_to_photos(context, fits, size, self.photos, chosen, _MESH_BYTES * faces)

    def _finished(self, context: StageContext, colors: Path, name: str, thinned: Path) -> Made:
        context.progress(0, 1)
        given = (self.scene, colors, name, thinned, self.out_dir, context.threads)
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
        names = [fn.__name__ for _ in left]
        context.starmap(fn, calls, names=names, done=len(outputs) - len(left), memory=self.memory)
        return outputs

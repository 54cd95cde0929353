"""The tasks of texturing that bake a normal map: both surfaces made ready, the map's rows, and its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from recon3d.compute import StageContext, reads
from recon3d.io.atomic import atomic_path
from recon3d.io.ply import read_mesh
from recon3d.stages.kept_steps import is_whole, keep_step, kept_facts, kept_part
from recon3d.stages.texturing.paint_tasks import Painting
from recon3d.texture.fine_surface import FineSurface
from recon3d.texture.normal_map import CoarseSurface, bake_rows
from recon3d.texture.painting import Plan
from recon3d.texture.tangents import shading_normals
from recon3d.types import Bytes, Mesh

#: Texels of the map that a task bakes: parts do not depend on how many workers there are.
_TOGETHER = 1_500_000
#: Bytes for each texel of the map: whose it is, read twice, faces, distances and values; and its file.
_TEXEL_BYTES = 24


@dataclass(frozen=True)
class RowsTask:
    """Which rows of the map are baked, and where they are kept.

    Parameters
    ----------
    surfaces : Path
        What `prepare_surfaces` left.
    start, stop : int
    output : Path
    """

    surfaces: Path
    start: int
    stop: int
    output: Path


@dataclass(frozen=True, eq=False)
class _Rows:
    values: Bytes


def bake_normals(painting: Painting, surface: Path, output: Path, context: StageContext, memory: int) -> None:
    """Bake the normals of a fine surface; run what an earlier run has not finished.

    Parameters
    ----------
    painting : Painting
        Whose `plan` is done.
    surface : Path
        The fine surface, a mesh.
    output : Path
        Receives the map, PNG.
    context : StageContext
    memory : int
        Bytes of a task without the map.
    """
    preparing, baking, writing = context.phases(2, 10, 2)
    surfaces = painting.folder / "surfaces.npz"
    if not is_whole(surfaces):
        preparing.call(prepare_surfaces, painting, surface, surfaces, memory=memory)
    size: int = kept_facts(surfaces)["size"]
    memory += size * size * _TEXEL_BYTES
    rows = max(1, _TOGETHER // size)
    tasks = [
        RowsTask(surfaces, start, min(start + rows, size), painting.folder / f"normals-{start}.npz")
        for start in range(0, size, rows)
    ]
    missing = [task for task in tasks if not is_whole(task.output)]
    names = [f"rows {task.start} to {task.stop}" for task in missing]
    done = len(tasks) - len(missing)
    baking.map(bake, missing, names=names, done=done, unit="parts", memory=memory)
    writing.call(write_normals, [task.output for task in tasks], output, memory=memory)


@reads(lambda painting, surface, _: [painting.sources.chosen, painting.plan, surface])
def prepare_surfaces(painting: Painting, surface: Path, output: Path) -> None:
    """Make ready the surface that a map is for, and the one whose normals it takes.

    Parameters
    ----------
    painting : Painting
    surface : Path
        The fine surface, a mesh.
    output : Path
        Its fact ``size`` is the map's side.
    """
    plan, mesh = kept_part(painting.plan, "plan", Plan), kept_part(painting.sources.chosen, "mesh", Mesh)
    coarse = CoarseSurface.of(mesh, plan.charts, plan.layout)
    fine = read_mesh(surface)
    keep_step(
        output,
        {"size": len(coarse.owner)},
        coarse=coarse,
        fine=FineSurface.of(fine, shading_normals(fine)),
    )


@reads(lambda task: [task.surfaces])
def bake(task: RowsTask) -> None:
    """Bake some rows.

    Parameters
    ----------
    task : RowsTask
    """
    coarse = kept_part(task.surfaces, "coarse", CoarseSurface)
    fine = kept_part(task.surfaces, "fine", FineSurface)
    keep_step(task.output, {}, rows=_Rows(bake_rows(coarse, fine, task.start, task.stop)))


@reads(lambda parts, _: parts)
def write_normals(parts: list[Path], output: Path) -> None:
    """Write the map.

    Parameters
    ----------
    parts : list of Path
        What `bake` left, in the order of the rows.
    output : Path
        A PNG file.
    """
    picture = np.concatenate([kept_part(path, "rows", _Rows).values for path in parts])
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    with atomic_path(output) as temporary:
        temporary.write_bytes(bytes(encoded))

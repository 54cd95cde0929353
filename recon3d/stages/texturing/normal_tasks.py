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
from recon3d.stages.texturing.paint_tasks import PagePaths, Painting
from recon3d.texture.charts import Layout
from recon3d.texture.fine_surface import FineSurface
from recon3d.texture.grid import grid_of, in_grid
from recon3d.texture.normal_map import FLAT, CoarseSurface, bake_rows
from recon3d.texture.pages import Plan
from recon3d.texture.shapes import BLOCK
from recon3d.texture.tangents import shading_normals
from recon3d.types import Bytes, Mesh

#: Texels of the map that a task bakes: parts do not depend on how many workers there are.
_TOGETHER = 1_500_000
#: Bytes for each texel of the map: whose it is, read twice, faces, distances and values; and its file.
_TEXEL_BYTES = 24


@dataclass(frozen=True)
class RowsTask:
    """Which rows of a page of the map are baked, and where they are kept.

    Parameters
    ----------
    surfaces : Path
        What `prepare_surfaces` left.
    page : PagePaths
    start, stop : int
    """

    surfaces: Path
    page: PagePaths
    start: int
    stop: int

    @property
    def output(self) -> Path:
        """What `bake` leaves."""
        return self.page.folder / f"normals-{self.page.number}-{self.start}.npz"


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
    pages = painting.all_pages()
    sizes = [kept_facts(page.layout)["size"] // BLOCK for page in pages]
    rows = max(1, _TOGETHER // max(sizes))
    tasks = [
        RowsTask(surfaces, page, start, min(start + rows, size))
        for page, size in zip(pages, sizes, strict=True)
        for start in range(0, size, rows)
    ]
    missing = [task for task in tasks if not is_whole(task.output)]
    names = [f"rows {task.start} to {task.stop} of page {task.page.number + 1}" for task in missing]
    done = len(tasks) - len(missing)
    more = max(sizes) ** 2 * _TEXEL_BYTES
    baking.map(bake, missing, names=names, done=done, unit="parts", memory=memory + more)
    parts = [[task.output for task in tasks if task.page == page] for page in pages]
    writing.call(write_normals, parts, max(sizes), output, memory=memory + len(pages) * more)


@reads(
    lambda painting, surface, _: [
        painting.sources.chosen,
        painting.plan,
        *(painting.page(number).layout for number in range(painting.pages)),
        surface,
    ]
)
def prepare_surfaces(painting: Painting, surface: Path, output: Path) -> None:
    """Make ready the surface that a map is for, and the one whose normals it takes.

    Parameters
    ----------
    painting : Painting
    surface : Path
        The fine surface, a mesh.
    output : Path
    """
    plan, mesh = kept_part(painting.plan, "plan", Plan), kept_part(painting.sources.chosen, "mesh", Mesh)
    layouts = [kept_part(page.layout, "layout", Layout) for page in painting.all_pages()]
    fine = read_mesh(surface)
    coarse = CoarseSurface.of_pages(mesh, plan, layouts)
    parts = {_part(page): surface for page, surface in enumerate(coarse)}
    keep_step(output, {}, fine=FineSurface.of(fine, shading_normals(fine)), **parts)


def _part(page: int) -> str:
    return f"coarse-{page}"


@reads(lambda task: [task.surfaces])
def bake(task: RowsTask) -> None:
    """Bake some rows.

    Parameters
    ----------
    task : RowsTask
    """
    coarse = kept_part(task.surfaces, _part(task.page.number), CoarseSurface)
    fine = kept_part(task.surfaces, "fine", FineSurface)
    keep_step(task.output, {}, rows=_Rows(bake_rows(coarse, fine, task.start, task.stop)))


@reads(lambda parts, *_: [path for page in parts for path in page])
def write_normals(parts: list[list[Path]], side: int, output: Path) -> None:
    """Write the map, its pages side by side as those of the texture.

    Parameters
    ----------
    parts : list of list of Path
        What `bake` left of each page, in the order of the rows.
    side : int
        Of all pages in the map.
    output : Path
        A PNG file.
    """
    pages = []
    for paths in parts:
        page = np.full((side, side, 3), FLAT, np.uint8)
        rows = np.concatenate([kept_part(path, "rows", _Rows).values for path in paths])
        page[: len(rows), : rows.shape[1]] = rows
        pages.append(page)
    picture = in_grid(pages, grid_of(len(pages)))
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    with atomic_path(output) as temporary:
        temporary.write_bytes(bytes(encoded))

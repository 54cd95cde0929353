"""The tasks of texturing that paint: an atlas planned, its pages painted and levelled, files written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.compute import reads
from recon3d.io.gltf import encoded_texture, write_glb
from recon3d.io.undistort import load_view_image
from recon3d.layout import TEXTURED_MESH, TextureCounts
from recon3d.stages.kept_steps import keep_step, kept_facts, kept_part
from recon3d.stages.preview import write_preview
from recon3d.stages.texturing.texture_tasks import Sources
from recon3d.texture.assemble import Choice
from recon3d.texture.atlas import Atlas
from recon3d.texture.charts import Layout, lay_out
from recon3d.texture.grid import grid_of, in_grid
from recon3d.texture.pages import Page, Plan
from recon3d.texture.painting import (
    Levels,
    Painted,
    Shown,
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
from recon3d.threads import Threads
from recon3d.types import Bytes, Floats, Mesh, TexturedMesh, View

_JPEG_QUALITY = 92
#: Side of the texture that the preview is drawn with, all pages together.
_PREVIEW_SIDE = 4096


@dataclass(frozen=True)
class Painting:
    """What is painted, and where the steps keep what they made.

    Parameters
    ----------
    sources : Sources
        Whose `choose` is done.
    texture_size : int
        Largest side of a page.
    pages : int
        How many there may be.
    level : bool
        Even out exposures and seams.
    folder : Path
    """

    sources: Sources
    texture_size: int
    pages: int
    level: bool
    folder: Path

    @property
    def plan(self) -> Path:
        """What `plan` leaves; its fact ``views`` tells which views paint something, for each page."""
        return self.folder / "plan.npz"

    @property
    def levels(self) -> Path:
        """What `find_levels` leaves."""
        return self.folder / "levels.npz"

    def page(self, number: int) -> PagePaths:
        """Where the steps keep what they make of a page.

        Parameters
        ----------
        number : int

        Returns
        -------
        PagePaths
        """
        return PagePaths(self.folder, number)

    def all_pages(self) -> list[PagePaths]:
        """Those of all pages of the plan.

        Returns
        -------
        list of PagePaths
        """
        return [self.page(number) for number in range(len(kept_facts(self.plan)["views"]))]

    @property
    def pinholes(self) -> list[View]:
        """The views as their undistorted photos show them."""
        return [
            View(view.name, view.camera.fitted(self.sources.max_size).undistorted(), view.cam_from_world)
            for view in self.sources.scene
        ]


@dataclass(frozen=True)
class PagePaths:
    """Where the steps keep what they make of a page.

    Parameters
    ----------
    folder : Path
    number : int
        Of the page.
    """

    folder: Path
    number: int

    @property
    def layout(self) -> Path:
        """What `place_charts` leaves."""
        return self.folder / f"layout-{self.number}.npz"

    @property
    def joined(self) -> Path:
        """What `join` leaves."""
        return self.folder / f"joined-{self.number}.npz"

    @property
    def finished(self) -> Path:
        """What `finish` leaves."""
        return self.folder / f"finished-{self.number}.npz"

    def painted(self, view: int) -> Path:
        """What `copy_photos` leaves of a view.

        Parameters
        ----------
        view : int

        Returns
        -------
        Path
        """
        return self.folder / f"painted-{self.number}-{view}.npz"


@dataclass(frozen=True)
class PageTask:
    """Which page is worked on.

    Parameters
    ----------
    painting : Painting
        Whose `plan` is done.
    number : int
        Of the page.
    """

    painting: Painting
    number: int

    @property
    def paths(self) -> PagePaths:
        """Where the steps keep what they make."""
        return self.painting.page(self.number)

    @property
    def views(self) -> list[int]:
        """Numbers of the views that paint something in the page."""
        views: list[int] = kept_facts(self.painting.plan)["views"][self.number]
        return views

    def page(self, plan: Plan) -> Page:
        """Read the page.

        Parameters
        ----------
        plan : Plan

        Returns
        -------
        Page
        """
        return Page(plan.charts_of(self.number), kept_part(self.paths.layout, "layout", Layout))

    def load(self) -> tuple[Plan, Page]:
        """Read the plan and the page.

        Returns
        -------
        Plan
        Page
        """
        plan = kept_part(self.painting.plan, "plan", Plan)
        return plan, self.page(plan)


@dataclass(frozen=True)
class CopyTask:
    """Which photos are copied into which pages.

    Parameters
    ----------
    painting : Painting
    parts : tuple of (PageTask, tuple of int)
        Pages whose charts are placed, and the views to copy into each.
    """

    painting: Painting
    parts: tuple[tuple[PageTask, tuple[int, ...]], ...]

    @property
    def views(self) -> list[int]:
        """Numbers of all views, in ascending order."""
        return sorted({view for _, views in self.parts for view in views})


@dataclass(frozen=True, eq=False)
class _Places:
    """What a page's layout tells the other pages; parts of `Layout`."""

    node_xy: Floats


@dataclass(frozen=True, eq=False)
class _Finished:
    """A page as it is written.

    Parameters
    ----------
    small : ndarray of uint8, shape (S, S, 3)
        Large enough for the preview.
    encoded : ndarray of uint8, shape (N,)
        The file.
    """

    small: Bytes
    encoded: NDArray[np.uint8]


@reads(lambda task: [task.sources.chosen])
def plan(task: Painting) -> None:
    """Make charts, and give them to pages.

    Parameters
    ----------
    task : Painting
    """
    mesh, choice = (
        kept_part(task.sources.chosen, "mesh", Mesh),
        kept_part(task.sources.chosen, "choice", Choice),
    )
    made = plan_atlas(mesh, choice, task.pinholes, task.texture_size, task.pages)
    views = [made.views(page).tolist() for page in range(made.pages)]
    keep_step(task.plan, {"views": views}, plan=made)


@reads(lambda task: [task.painting.plan])
def place_charts(task: PageTask) -> None:
    """Find places for the charts of a page.

    Parameters
    ----------
    task : PageTask
    """
    charts = kept_part(task.painting.plan, "plan", Plan).charts_of(task.number)
    layout = lay_out(charts, task.painting.pinholes, task.painting.texture_size)
    keep_step(task.paths.layout, {"size": layout.size}, layout=layout)


@reads(
    lambda task: [
        task.painting.plan,
        task.painting.sources.chosen,
        *(page.paths.layout for page, _ in task.parts),
        *(task.painting.sources.images / task.painting.sources.scene.views[n].name for n in task.views),
    ]
)
def copy_photos(task: CopyTask) -> None:
    """Copy the charts of each view from its photo.

    Parameters
    ----------
    task : CopyTask
    """
    sources = task.painting.sources
    plan = kept_part(task.painting.plan, "plan", Plan)
    gains = np.ones((len(sources.scene), 3))
    if task.painting.level:
        gains = kept_part(sources.chosen, "choice", Choice).gains
    photos: dict[int, Bytes] = {}
    for part, views in task.parts:
        page = part.page(plan)
        for view in views:
            photo = photos.get(view)
            if photo is None:
                photo, _ = load_view_image(sources.images, sources.scene.views[view], sources.max_size)
                # The other pages want it, too.
                if len(task.parts) > 1:
                    photos[view] = photo
            made = paint_view(page, view, photo, gains[view])
            keep_step(part.paths.painted(view), {}, painted=made)


def _joins(task: PageTask, cores: int) -> list[Path]:
    """What `join` reads; which views paint something is not known where the plan is not."""
    sources = [task.paths.painted(view) for view in range(len(task.painting.sources.scene))]
    return [task.painting.plan, *(path.layout for path in _all(task.painting)), *sources]


def _all(task: Painting) -> list[PagePaths]:
    return [task.page(number) for number in range(task.pages)]


@reads(_joins)
def join(task: PageTask, cores: int) -> None:
    """Put what the photos paint into a page.

    Parameters
    ----------
    task : PageTask
        Whose photos are copied.
    cores : int
        That this task may use.
    """
    plan, page = task.load()
    painted = (kept_part(task.paths.painted(view), "painted", Painted) for view in task.views)
    with Threads(cores) as threads:
        atlas = joined(page, painted, threads)
    seen = shown(page, plan.nodes(task.number), atlas, _sampling(task.painting, plan))
    keep_step(task.paths.joined, {}, atlas=atlas, shown=seen)


def _sampling(task: Painting, plan: Plan) -> Sampling:
    places = [kept_part(path.layout, "layout", _Places).node_xy for path in task.all_pages()]
    return Sampling.of(plan.seams, np.concatenate(places))


@reads(
    lambda task: [
        task.sources.chosen,
        task.plan,
        *(path.layout for path in _all(task)),
        *(path.joined for path in _all(task)),
    ]
)
def find_levels(task: Painting) -> None:
    """Find corrections of all charts, so that they meet at the seams.

    Parameters
    ----------
    task : Painting
        Whose pages are joined.
    """
    plan, mesh = kept_part(task.plan, "plan", Plan), kept_part(task.sources.chosen, "mesh", Mesh)
    pages = [kept_part(path.joined, "shown", Shown) for path in task.all_pages()]
    made = levels(plan, mesh, pages, _sampling(task, plan), level=task.level)
    keep_step(task.levels, {}, levels=made)


@reads(
    lambda task, _: [
        task.painting.plan,
        *(path.layout for path in _all(task.painting)),
        task.paths.joined,
        task.painting.levels,
    ]
)
def finish(task: PageTask, cores: int) -> None:
    """Correct a page, fill it, and encode it as it is written.

    Parameters
    ----------
    task : PageTask
        Whose `find_levels` is done.
    cores : int
        That this task may use.
    """
    painting = task.painting
    plan, page = task.load()
    atlas, made = kept_part(task.paths.joined, "atlas", Atlas), kept_part(painting.levels, "levels", Levels)
    with Threads(cores) as threads:
        texture = finished(
            *(page, plan.nodes(task.number), atlas, made, _sampling(painting, plan)),
            level=painting.level,
            threads=threads,
        )
    inside = int(np.count_nonzero(atlas.mask == INSIDE))
    side = max(kept_facts(path.layout)["size"] for path in painting.all_pages())
    # Pages that need less are as large as the others.
    texture = _widened(texture, side)
    encoded = np.frombuffer(encoded_texture(texture, "jpeg", _JPEG_QUALITY), np.uint8)
    small = _smaller(texture, _PREVIEW_SIDE // grid_of(plan.pages)[1])
    keep_step(task.paths.finished, {"inside": inside}, page=_Finished(small, encoded))


def _widened(texture: Bytes, side: int) -> Bytes:
    more = side - len(texture)
    if not more:
        return texture
    return np.asarray(cv2.copyMakeBorder(texture, 0, more, 0, more, cv2.BORDER_REPLICATE), np.uint8)


def _smaller(texture: Bytes, side: int) -> Bytes:
    if len(texture) <= side:
        return texture
    return np.asarray(cv2.resize(texture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


@reads(
    lambda task, *_: [
        task.sources.chosen,
        task.plan,
        *(path.layout for path in _all(task)),
        *(path.finished for path in _all(task)),
    ]
)
def write(task: Painting, out_dir: Path) -> tuple[TextureCounts, float]:
    """Write the model.

    Parameters
    ----------
    task : Painting
        Whose other steps are done.
    out_dir : Path
        Receives ``textured_mesh.glb`` and ``preview.png``.

    Returns
    -------
    counts : TextureCounts
    doubted : float
        The doubted share of the surface.
    """
    chosen, scene, pages = task.sources.chosen, task.sources.scene, task.all_pages()
    mesh, choice = kept_part(chosen, "mesh", Mesh), kept_part(chosen, "choice", Choice)
    plan = kept_part(task.plan, "plan", Plan)
    layouts = [kept_part(path.layout, "layout", Layout) for path in pages]
    inside = sum(kept_facts(path.finished)["inside"] for path in pages)
    uv, face_uv, grid = texture_coordinates(plan, layouts)
    made = [kept_part(path.finished, "page", _Finished) for path in pages]
    texture = in_grid([page.small for page in made], grid)
    textured = TexturedMesh(mesh.vertices, mesh.faces, uv, face_uv, texture, grid)
    encoded = [page.encoded.tobytes() for page in made]
    write_glb(out_dir / TEXTURED_MESH, textured, encoded=encoded, up=scene.up)
    write_preview(out_dir, scene, textured)
    facts: dict[str, Any] = asdict(count_texture(mesh, choice, task.pinholes, plan, layouts, inside))
    doubted: float = facts.pop("doubted")
    return TextureCounts(**facts), doubted

"""The tasks of texturing that paint: an atlas planned, photos copied into it, seams closed, files written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from recon3d.compute import reads
from recon3d.io.gltf import write_glb
from recon3d.io.undistort import load_view_image
from recon3d.layout import TEXTURED_MESH, TextureCounts
from recon3d.stages.kept_steps import keep_step, kept_facts, kept_part
from recon3d.stages.preview import write_preview
from recon3d.stages.texturing.texture_tasks import Sources
from recon3d.texture.assemble import Choice
from recon3d.texture.atlas import Atlas
from recon3d.texture.painting import Painted, Plan, blended, joined, paint_view, plan_atlas, textured
from recon3d.threads import Threads
from recon3d.types import Mesh, View

_JPEG_QUALITY = 92


@dataclass(frozen=True)
class Painting:
    """What is painted, and where the steps keep what they made.

    Parameters
    ----------
    sources : Sources
        Whose `choose` is done.
    texture_size : int
        Largest side of the texture.
    level : bool
        Even out exposures and seams.
    folder : Path
    """

    sources: Sources
    texture_size: int
    level: bool
    folder: Path

    @property
    def plan(self) -> Path:
        """What `plan` leaves; its fact ``views`` tells which views paint something."""
        return self.folder / "plan.npz"

    @property
    def joined(self) -> Path:
        """What `join` leaves."""
        return self.folder / "joined.npz"

    @property
    def blended(self) -> Path:
        """What `blend` leaves, or `join` where seams are not to be closed."""
        return self.folder / "blended.npz" if self.level else self.joined

    def painted(self, view: int) -> Path:
        """What `copy_photos` leaves of a view.

        Parameters
        ----------
        view : int

        Returns
        -------
        Path
        """
        return self.folder / f"painted-{view}.npz"

    @property
    def pinholes(self) -> list[View]:
        """The views as their undistorted photos show them."""
        return [
            View(view.name, view.camera.fitted(self.sources.max_size).undistorted(), view.cam_from_world)
            for view in self.sources.scene
        ]


@reads(lambda task: [task.sources.chosen])
def plan(task: Painting) -> None:
    """Find places in the atlas.

    Parameters
    ----------
    task : Painting
    """
    mesh, choice = (
        kept_part(task.sources.chosen, "mesh", Mesh),
        kept_part(task.sources.chosen, "choice", Choice),
    )
    made = plan_atlas(mesh, choice, task.pinholes, task.texture_size)
    keep_step(task.plan, {"views": made.views.tolist()}, plan=made)


@dataclass(frozen=True)
class CopyTask:
    """Which photos are copied into the atlas.

    Parameters
    ----------
    painting : Painting
        Whose `plan` is done.
    views : tuple of int
    """

    painting: Painting
    views: tuple[int, ...]


@reads(
    lambda task: [
        task.painting.plan,
        task.painting.sources.chosen,
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
    for view in task.views:
        photo, _ = load_view_image(sources.images, sources.scene.views[view], sources.max_size)
        made = paint_view(plan, view, photo, gains[view])
        keep_step(task.painting.painted(view), {}, painted=made)


@reads(lambda task, _: [task.plan, *(task.painted(view) for view in range(len(task.sources.scene)))])
def join(task: Painting, cores: int) -> None:
    """Put the charts into one atlas, and correct each as a whole so that they meet at the seams.

    Parameters
    ----------
    task : Painting
        Whose photos are copied.
    cores : int
        That this task may use.
    """
    painted = (kept_part(task.painted(view), "painted", Painted) for view in kept_facts(task.plan)["views"])
    with Threads(cores) as threads:
        atlas = joined(kept_part(task.plan, "plan", Plan), painted, level=task.level, threads=threads)
    keep_step(task.joined, {}, atlas=atlas)


@reads(lambda task, _: [task.plan, task.joined])
def blend(task: Painting, cores: int) -> None:
    """Close the steps that are left at the seams.

    Parameters
    ----------
    task : Painting
        Whose `join` is done.
    cores : int
        That this task may use.
    """
    with Threads(cores) as threads:
        atlas = blended(kept_part(task.plan, "plan", Plan), kept_part(task.joined, "atlas", Atlas), threads)
    keep_step(task.blended, {}, atlas=atlas)


@reads(lambda task, *_: [task.sources.chosen, task.plan, task.blended])
def write(task: Painting, out_dir: Path, cores: int) -> tuple[TextureCounts, float]:
    """Fill what no photo shows, and write the model.

    Parameters
    ----------
    task : Painting
        Whose other steps are done.
    out_dir : Path
        Receives ``textured_mesh.glb`` and ``preview.png``.
    cores : int
        That this task may use.

    Returns
    -------
    counts : TextureCounts
    doubted : float
        The doubted share of the surface.
    """
    chosen, scene = task.sources.chosen, task.sources.scene
    mesh, choice = kept_part(chosen, "mesh", Mesh), kept_part(chosen, "choice", Choice)
    atlas = kept_part(task.blended, "atlas", Atlas)
    with Threads(cores) as threads:
        made, counts = textured(
            mesh, choice, task.pinholes, kept_part(task.plan, "plan", Plan), atlas, threads
        )
    write_glb(out_dir / TEXTURED_MESH, made, quality=_JPEG_QUALITY, up=scene.up)
    write_preview(out_dir, scene, made)
    facts = asdict(counts)
    doubted = facts.pop("doubted")
    return TextureCounts(**facts), doubted

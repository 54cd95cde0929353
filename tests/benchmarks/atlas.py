"""How full atlases are, and what they cost: ``python -m tests.benchmarks.atlas PROJECT ...``.

Chooses the photos of finished projects as texturing does, lays the charts out, and tells the side of the
atlas, the texels a pixel of the photos, the share of the texels whose centres lie in a face, that share
without the faces that no photo sees, and the CPU-seconds of laying out, without compiling. ``--paint`` runs
the whole stage in this process too and compares the model with up to eight of the photos, where it shows.
``--keep`` keeps the choices, so that two checkouts can be compared on the same (``PYTHONPATH=CHECKOUT``).
Nothing is written into the projects.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon3d.compute.context import InlineContext
from recon3d.io.gltf import read_glb
from recon3d.io.undistort import load_view_image
from recon3d.layout import TEXTURED_MESH
from recon3d.options import TexturingOptions
from recon3d.pipeline.plan import load_stage
from recon3d.project import Project
from recon3d.rendering.render import render_mesh
from recon3d.stages.kept_steps import kept_part
from recon3d.stages.texturing.paint_tasks import Painting
from recon3d.stages.texturing.stage import chosen_sources
from recon3d.stages.texturing.texture_tasks import Sources
from recon3d.texture import texels
from recon3d.texture.assemble import Choice
from recon3d.texture.charts import lay_out
from recon3d.texture.painting import plan_atlas, texture_coordinates
from recon3d.texture.texels import INSIDE
from recon3d.types import Floats, Mesh
from tests.benchmarks.held_out import depth

#: Photos that a model is compared with.
_PHOTOS = 8


def _inputs(project: Project) -> dict[str, Path]:
    return {name: artifact.path for name, artifact in project.artifacts.items() if name != "texturing"}


def _chosen(project: Project, work: Path) -> tuple[Painting, TexturingOptions]:
    """The stage's task of painting; its choice is made where it is not kept."""
    options = TexturingOptions.model_validate(project.artifacts["texturing"].manifest.options)
    sources = chosen_sources(_inputs(project), options, work, InlineContext())
    paged = options.texture_size, options.texture_pages
    return Painting(sources, *paged, options.seam_levelling, work), options


def _covered(xy: Floats, faces: NDArray[np.int32], size: int) -> float:
    """Share of the texels whose centres lie in a face, or on its border."""
    mask = np.zeros((size, size), np.uint8)
    # Corners of cells lie on centres of texels, up to rounding.
    places = np.round(xy * 256) / 256
    one = np.array([0, len(faces)])
    texels.correct(np.zeros((size, size, 3), np.int16), mask, places, faces, one, np.zeros((len(xy), 3)))
    return float(np.count_nonzero(mask == INSIDE)) / mask.size


def _likeness(project: Project, options: TexturingOptions, sources: Sources) -> str:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        began = time.process_time()
        load_stage("texturing").run(_inputs(project), options, out, InlineContext())
        seconds = time.process_time() - began
        model = read_glb(out / TEXTURED_MESH)
        size = (out / TEXTURED_MESH).stat().st_size
    squares, pixels = 0.0, 0
    views = sources.scene.views
    for view in views[:: -(-len(views) // _PHOTOS)]:
        photo, camera = load_view_image(sources.images, view)
        seen = np.isfinite(depth(model, camera, view.cam_from_world))
        picture = render_mesh(model, camera, view.cam_from_world, shaded=False)
        squares += float(np.square(picture[seen].astype(float) - photo[seen]).mean(axis=1).sum())
        pixels += int(np.count_nonzero(seen))
    psnr = 10 * np.log10(255**2 * pixels / squares)
    return f", stage {seconds:.1f} CPU-s, GLB {size / 1e6:.2f} MB, photos {psnr:.2f} dB"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("projects", type=Path, nargs="+", help="folders of finished projects")
    parser.add_argument("--keep", type=Path, help="folder that keeps the choices of photos")
    parser.add_argument("--paint", action="store_true", help="run the whole stage and compare with photos")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for folder in given.projects:
            project = Project.open(folder)
            task, options = _chosen(project, (given.keep or Path(temporary)) / folder.name)
            mesh = kept_part(task.sources.chosen, "mesh", Mesh)
            choice = kept_part(task.sources.chosen, "choice", Choice)
            for _ in range(2):  # the first time loads or compiles the kernels
                began = time.process_time()
                plan = plan_atlas(mesh, choice, task.pinholes, task.texture_size, task.pages)
                pages = [plan.charts_of(page) for page in range(plan.pages)]
                layouts = [lay_out(charts, task.pinholes, task.texture_size) for charts in pages]
                seconds = time.process_time() - began
            charts, size = plan.charts, max(layout.size for layout in layouts)
            uv, face_uv, grid = texture_coordinates(plan, layouts)
            xy = np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1) * [size * side for side in grid[::-1]]
            seen = charts.face_chart >= 0
            camera = task.pinholes[0].camera
            scale = min(layout.image_sizes[0].max() for layout in layouts) / max(camera.width, camera.height)
            every, alone = (_covered(xy, faces, size * grid[1]) for faces in (face_uv, face_uv[seen]))
            # The last row may have fewer pages, and there may be fewer rows than columns.
            share = grid[1] ** 2 / plan.pages
            print(
                f"{folder.name}: {len(charts)} charts, {np.count_nonzero(~seen)} of {len(seen)} faces unseen,"
                f" {plan.pages} of {size} texels, {scale:.3f} a pixel, covered {every * share:.3f},"
                f" charts only {alone * share:.3f},"
                f" laid out in {seconds:.2f} CPU-s"
                + (_likeness(project, options, task.sources) if given.paint else ""),
                flush=True,
            )


if __name__ == "__main__":
    main()

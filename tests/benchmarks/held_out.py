"""How well a model shows photos that it was not made from.

``python -m tests.benchmarks.held_out SET QUALITY`` holds out every sixth photo of a set with true cameras.
The model of the others is rendered from its camera. PSNR and SSIM are those of all held-out photos over
the whole silhouette of the true surface. A pixel whose ray meets the model nowhere, or more than 5 cm
behind the true surface, is a gap: it is black and does not count as covered. "Inside" is the covered share
without the pixels along the outline, where half a pixel decides. "Even" is the PSNR where it is covered,
after one gain for each photo and channel. ``--code FOLDER`` makes the model with another
checkout.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import open3d as o3d
from numpy.typing import NDArray

from recon3d import colmap
from recon3d.io.gltf import read_glb
from recon3d.io.ply import read_mesh
from recon3d.io.undistort import load_view_image
from recon3d.rendering.render import render_mesh
from recon3d.types import Camera, Floats, Mesh, TexturedMesh, View
from tests.benchmarks import checkouts
from tests.benchmarks.sets import DATA, SETS, TRUE_SETS, part_of_model, posed_frames

#: Every so many-th photo is held out.
STEP = 6
#: What lies further behind the true surface is seen through a gap, in metres.
_BEHIND = 0.05
#: Pixels this near to what is not the silhouette are its outline.
_OUTLINE = 1.5


@dataclass(frozen=True)
class Likeness:
    """What the held-out photos say of a model.

    Parameters
    ----------
    psnr, psnr_even : float
        Decibels over the silhouette; the same with gaps left out and evened exposures.
    ssim : float
        Mean structural similarity of the luminance over the silhouette.
    covered, inside : float
        Share of the silhouette, and of it without its outline.
    """

    psnr: float
    psnr_even: float
    ssim: float
    covered: float
    inside: float


def held_out(names: list[str]) -> list[str]:
    """The names that are held out."""
    return sorted(names)[STEP - 1 :: STEP]


def compare(model: Mesh | TexturedMesh, truth: Mesh, images: Path, views: list[View]) -> Likeness:
    """Render the model from the views, and compare it with their images."""
    squares, evened, similar, seen, total = 0.0, 0.0, 0.0, 0, 0
    inner_seen, inner_total = 0, 0
    for view in views:
        photo, camera = load_view_image(images, view)
        true_depth = depth(truth, camera, view.cam_from_world)
        silhouette = np.isfinite(true_depth)
        covered = silhouette & (depth(model, camera, view.cam_from_world) < true_depth + _BEHIND)
        picture = render_mesh(model, camera, view.cam_from_world, shaded=False)
        shown = np.where(silhouette[..., None], np.where(covered[..., None], picture, 0), photo)
        squares += float(np.square(shown[silhouette].astype(float) - photo[silhouette]).mean(axis=1).sum())
        gain = photo[covered].sum(axis=0, dtype=float) / np.maximum(picture[covered].sum(axis=0), 1)
        even = np.clip(picture[covered] * gain, 0, 255) - photo[covered]
        evened += float(np.square(even).mean(axis=1).sum())
        similar += float(structure(shown, photo)[silhouette].sum())
        seen += int(np.count_nonzero(covered))
        total += int(np.count_nonzero(silhouette))
        inner = cv2.distanceTransform(silhouette.astype(np.uint8), cv2.DIST_L2, 5) > _OUTLINE
        inner_seen += int(np.count_nonzero(covered & inner))
        inner_total += int(np.count_nonzero(inner))
    return Likeness(
        _decibels(squares / total),
        _decibels(evened / seen),
        similar / total,
        seen / total,
        inner_seen / inner_total,
    )


def _decibels(square: float) -> float:
    return float(10 * np.log10(255**2 / max(square, 1e-9)))


def depth(mesh: Mesh | TexturedMesh, camera: Camera, cam_from_world: Floats) -> NDArray[np.float32]:
    """Depth of the surface at each pixel, inf where there is none."""
    scene = o3d.t.geometry.RaycastingScene()
    tensor = o3d.core.Tensor.from_numpy
    scene.add_triangles(tensor(mesh.vertices.astype(np.float32)), tensor(mesh.faces.astype(np.uint32)))
    v, u = np.mgrid[: camera.height, : camera.width] + 0.5
    K, R = camera.K, cam_from_world[:3, :3]
    directions = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1) @ R
    rays = np.concatenate([np.broadcast_to(-R.T @ cam_from_world[:3, 3], directions.shape), directions], -1)
    hit: NDArray[np.float32] = scene.cast_rays(tensor(rays.astype(np.float32)))["t_hit"].numpy()
    return hit


def structure(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Floats:
    """Structural similarity of the luminance at each pixel (Wang et al. 2004)."""
    x, y = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) for image in (first, second))

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5))

    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    result: Floats = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return result


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=TRUE_SETS)
    parser.add_argument("quality", nargs="?", default="medium")
    parser.add_argument("--set", dest="options", action="append", default=[], help="as in recon3d run")
    parser.add_argument("--code", type=Path, default=checkouts.HERE, help="checkout that makes the model")
    parser.add_argument("--keep", type=Path, help="folder that keeps the project; it resumes there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.keep or Path(temporary)
        model, images = posed_frames(given.set, work)
        names = sorted(path.name for path in images.iterdir() if path.suffix in {".jpg", ".png"})
        truth_views = colmap.read_scene(model, names).views
        held = set(held_out([view.name for view in truth_views]))
        part = part_of_model(model, work / "part", {view.name for view in truth_views} - held)
        (work / "given").mkdir(parents=True, exist_ok=True)
        for name in set(names) - held:
            if not (work / "given" / name).exists():
                (work / "given" / name).symlink_to(images / name)
        project = work / "project"
        options = ["-q", given.quality, *(text for option in given.options for text in ("--set", option))]
        inputs = ["--poses", str(part), "--images", str(work / "given")]
        costs = checkouts.run(given.code, project, inputs, options)
        textured = read_glb(project / "results" / "textured_mesh.glb")
        truth = read_mesh(DATA / str(SETS[given.set].truth))
        likeness = compare(textured, truth, images, [view for view in truth_views if view.name in held])
    for stage, cost in costs.items():
        print(f"{stage:<24}{cost.cpu:8.1f} CPU-s {cost.wall:8.1f} s {cost.peak:8.0f} MB")
    print(
        f"{given.set} {given.quality} {checkouts.commit(given.code)}: {len(held)} photos, PSNR"
        f" {likeness.psnr:.2f} dB, SSIM {likeness.ssim:.4f}, covered {likeness.covered:.4f}, inside"
        f" {likeness.inside:.4f}; even"
        f" {likeness.psnr_even:.2f} dB"
    )


if __name__ == "__main__":
    main()

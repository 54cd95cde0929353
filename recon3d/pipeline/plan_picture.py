"""The plan of a model in the report: cameras and points from above, and what to film again."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recon3d.pipeline.coverage import Coverage, middle_of, plan_axes
from recon3d.types import Scene


def plan_svg(scene: Scene, coverage: Coverage, size: int = 420, points: int = 3000) -> str:
    """Draw cameras and sparse points as seen from above, with the weak directions marked.

    Parameters
    ----------
    scene : Scene
    coverage : Coverage
        Its gaps and weak sectors are drawn as wedges.
    size : int
        Side of the picture in pixels.
    points : int
        Points drawn at most.

    Returns
    -------
    str
        SVG.
    """
    axes = plan_axes(scene.up)
    centers = np.array([view.center for view in scene]) @ axes
    forward = np.array([view.cam_from_world[2, :3] for view in scene]) @ axes
    cloud = scene.points.xyz[:: max(1, len(scene.points) // points)] @ axes
    # A few stray points far away must not shrink the picture.
    low, high = centers.min(axis=0), centers.max(axis=0)
    if len(cloud):
        low = np.minimum(low, np.percentile(cloud, 5, axis=0))
        high = np.maximum(high, np.percentile(cloud, 95, axis=0))
    scale = 0.84 * size / max(float((high - low).max()), 1e-9)
    middle = (low + high) / 2

    def place(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        placed: NDArray[np.float64] = (xy - middle) * scale + size / 2
        return placed

    center = place(middle_of(scene)[None])[0]
    shapes = [
        _wedge(center, gap.start, gap.end, size, f"no image between {gap.before} and {gap.after}")
        for gap in coverage.gaps
    ]
    shapes += [_wedge(center, *part, size, "few images see this part") for part in coverage.weak]
    for (x, y), color in zip(
        place(cloud), scene.points.rgb[:: max(1, len(scene.points) // points)], strict=True
    ):
        if 0 <= x < size and 0 <= y < size:
            r, g, b = color
            shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1" fill="#{r:02x}{g:02x}{b:02x}"/>')
    for view, position, direction in zip(scene, place(centers), forward, strict=True):
        across = np.array([-direction[1], direction[0]])
        corners = [position, position + 11 * direction + 4 * across, position + 11 * direction - 4 * across]
        outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        shapes.append(
            f'<polygon points="{outline}" class="camera"><title>{_escaped(view.name)}</title></polygon>'
        )
    return f'<svg viewBox="0 0 {size} {size}" role="img">{"".join(shapes)}</svg>'


def _wedge(center: NDArray[np.float64], start: float, end: float, size: int, title: str) -> str:
    """A sector from `start` anticlockwise to `end`, in degrees; the picture clips it."""
    angles = np.radians(np.linspace(start, end, max(2, math.ceil((end - start) / 5))))
    # Twice the diagonal reaches the border from anywhere inside.
    rim = center + 3 * size * np.stack([np.cos(angles), -np.sin(angles)], axis=1)
    outline = " ".join(f"{x:.0f},{y:.0f}" for x, y in [center, *rim])
    return f'<polygon points="{outline}" class="weak"><title>{_escaped(title)}</title></polygon>'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")

"""The report of a project: ``report.json`` and one self-contained ``report.html``.

Both are made from the artifacts' manifests and the files beside them, nothing else.
"""

from __future__ import annotations

import base64
import importlib.resources
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from recon3d.events import RunState
from recon3d.io.atomic import atomic_path, read_json, write_json
from recon3d.layout import IMAGES, PREVIEW, REPORT_HTML, REPORT_JSON, TRANSFORMS, read_registration
from recon3d.project.artifacts import Artifact
from recon3d.project.project import Project
from recon3d.types import Scene

_PREVIEWS = {
    "dense_reconstruction": "Point cloud",
    "mesh_generation": "Surface",
    "texturing": "Textured model",
}


def reported_fingerprints(results: Path) -> dict[str, str]:
    """Read which artifacts a folder of results was made from.

    Parameters
    ----------
    results : Path
        The folder.

    Returns
    -------
    dict of str to str
        Fingerprints by stage.
    """
    path = results / REPORT_JSON
    if not path.is_file():
        return {}
    return {row["stage"]: row["fingerprint"] for row in read_json(path)["stages"]}


def write_report(project: Project, artifacts: Sequence[Artifact], state: RunState, folder: Path) -> None:
    """Write the report and the cameras' exports.

    Parameters
    ----------
    project : Project
    artifacts : sequence of Artifact
        Those of the run, in the order of the stages.
    state : RunState
        State of the run; its quality and its errors are told.
    folder : Path
        Where to write.
    """
    by_stage = {artifact.stage: artifact for artifact in artifacts}
    document: dict[str, Any] = {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quality": state.quality,
        "inputs": [{"kind": item.kind, "name": item.name} for item in project.inputs],
        "stages": [artifact.manifest.model_dump(mode="json") for artifact in artifacts],
        "errors": [
            {"stage": stage.name, "message": stage.error.message, "hint": stage.error.hint}
            for stage in state.stages.values()
            if stage.error is not None
        ],
        IMAGES: [],
        "world": {},
        "cameras": [],
        "attempts": [],
    }
    pictures: list[tuple[str, str]] = []
    plot = ""
    sparse = by_stage.get("sparse_reconstruction")
    if sparse is not None:
        from recon3d.io.nerfstudio import write_transforms

        document.update(asdict(read_registration(sparse.path)))
        scene = Scene.load(sparse.path)
        plot = _camera_plot(scene)
        with atomic_path(folder / TRANSFORMS) as temporary:
            write_transforms(temporary, scene, IMAGES)
    for stage, title in _PREVIEWS.items():
        picture = by_stage[stage].path / PREVIEW if stage in by_stage else None
        if picture is not None and picture.is_file():
            pictures.append((title, base64.b64encode(picture.read_bytes()).decode()))
    write_json(folder / REPORT_JSON, document)
    template = importlib.resources.files("recon3d") / "pipeline" / "report.html.j2"
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        name=project.path.name,
        report=document,
        pictures=pictures,
        plot=plot,
        seconds=sum(a.manifest.seconds for a in artifacts),
        cpu_seconds=sum(a.manifest.cpu_seconds for a in artifacts),
    )
    with atomic_path(folder / REPORT_HTML) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _camera_plot(scene: Scene, size: int = 420, points: int = 3000) -> str:
    """Cameras and sparse points seen from above, as SVG."""
    up = np.array([0.0, 1.0, 0.0]) if scene.up is None else scene.up / np.linalg.norm(scene.up)
    side = np.array([1.0, 0.0, 0.0]) if abs(up[0]) < 0.9 else np.array([0.0, 0.0, 1.0])
    right = np.cross(side, up)
    right /= np.linalg.norm(right)
    axes = np.stack([np.cross(up, right), -right], axis=1)
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

    shapes = []
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
        name = view.name.replace("&", "&amp;").replace("<", "&lt;")
        shapes.append(f'<polygon points="{outline}" class="camera"><title>{name}</title></polygon>')
    return f'<svg viewBox="0 0 {size} {size}" role="img">{"".join(shapes)}</svg>'

"""The model in one HTML file that opens from disk, with no server and no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.io.atomic import atomic_path
from recon3d.notebook.grid import Grid
from recon3d.notebook.photos import photo_of
from recon3d.notebook.view_content import Budget, Content, Shown, content_of
from recon3d.project.project import Project
from recon3d.project.scale import scale_of

_SCRIPTS = ("base.js", "drawing.js", "tools.js")
#: More photos than this stay out of the page; they are small, but it should stay small, too.
_PHOTOS = 200
_PHOTO_SIDE = 240


def export_html(
    shown: Shown, path: str | os.PathLike[str], *, title: str = "recon3d", budget: Budget | None = None
) -> Content:
    """Write a model as a page of its own.

    Parameters
    ----------
    shown : Project, Scene, PointCloud, Mesh or TexturedMesh
    path : path-like
        The HTML file.
    title : str
    budget : Budget, optional
        What is larger is thinned.

    Returns
    -------
    Content
        What was written; its `notes` say what was thinned.

    Raises
    ------
    InputError
        There is nothing to show yet.
    """
    content = content_of(shown, budget)
    scale = scale_of(shown) if isinstance(shown, Project) else None
    if scale is not None and scale.reconstruction != content.reconstruction:
        scale = None
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        temporary.write_text(page(content, title, None if scale is None else scale.factor), encoding="utf-8")
    return content


def page(content: Content, title: str, scale: float | None = None) -> str:
    """Render the page.

    Parameters
    ----------
    content : Content
    title : str
    scale : float, optional
        Metres per unit; None when unknown.

    Returns
    -------
    str
        HTML.
    """
    arrays: dict[str, dict[str, Any]] = {}
    elements: list[str] = []
    size = 0

    def put(name: str, array: NDArray[Any], **more: Any) -> None:
        nonlocal size
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        arrays[name] = {"type": little.dtype.str[1:], **more}
        elements.append(_element(name, little.tobytes()))
        size += little.nbytes

    for name in ("vertices", "points", "frusta"):
        positions = getattr(content, name)
        if positions is not None:
            grid = Grid.of(positions.reshape(-1, 3))
            put(name, grid.values, low=grid.low.tolist(), step=grid.step)
    if content.faces is not None and content.vertices is not None:
        put("faces", content.faces.astype(np.uint16 if len(content.vertices) <= 65536 else np.uint32))
    for name in ("vertex_colors", "point_colors", "uv"):
        if getattr(content, name) is not None:
            put(name, getattr(content, name))
    if content.jpeg:
        elements.append(_element("texture", content.jpeg))
        size += len(content.jpeg)
    low, high = content.bounds
    photos = _photos(content)
    left_out = ["no photos, since there are too many"] if len(content.names) > _PHOTOS else []
    document = {
        "arrays": arrays,
        "names": content.names,
        "photos": photos,
        "notes": [*content.notes, *left_out, f"{size / 1e6:.1f} MB of data"],
        "unit": content.unit,
        "scale": scale,
        "up": [0, 1, 0] if content.up is None else [float(v) for v in content.up],
        "low": low.tolist(),
        "high": high.tolist(),
    }
    own = files("recon3d.notebook").joinpath("page")
    script = "\n".join(own.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS)
    text = own.joinpath("page.html").read_text(encoding="utf-8")
    parts = {
        # Only this script and this style may run, whatever the names and titles hold.
        "SCRIPT_HASH": _hash(f"\n{script}\n"),
        "STYLE_HASH": _hash(text.partition("<style>")[2].partition("</style>")[0]),
        "TITLE": html.escape(title),
        # A camera may be called "</script>".
        "DATA": json.dumps(document).replace("<", "\\u003c"),
        "ARRAYS": "\n".join(elements),
        "SCRIPT": script,
    }
    pieces: list[str] = []
    for name, value in parts.items():
        before, text = text.split(f"@{name}@")
        pieces += [before, value]
    return "".join([*pieces, text])


def _hash(text: str) -> str:
    """A source of a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _element(name: str, data: bytes) -> str:
    return f'<script id="{name}" type="text/plain">{base64.b64encode(data).decode("ascii")}</script>'


def _photos(content: Content) -> dict[str, str]:
    if len(content.names) > _PHOTOS:
        return {}
    photos = {name: photo_of(content.images, name, _PHOTO_SIDE) for name in content.names}
    return {name: base64.b64encode(jpeg).decode("ascii") for name, jpeg in photos.items() if jpeg}

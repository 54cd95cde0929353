"""The model in one HTML file that opens from disk, with no server and no network."""

from __future__ import annotations

import base64
import html
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.io.files import atomic_path
from recon3d.notebook.content import Budget, Content, Shown, content_of


def export_html(shown: Shown, path: Path, *, title: str = "recon3d", budget: Budget | None = None) -> Content:
    """Write a model as a page of its own.

    Parameters
    ----------
    shown : Project, Scene, PointCloud, Mesh or TexturedMesh
    path : Path
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
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(page(content, title), encoding="utf-8")
    return content


def page(content: Content, title: str) -> str:
    """The page's text."""
    document: dict[str, Any] = {
        name: _encode(getattr(content, name))
        for name in ("points", "point_colors", "vertices", "faces", "vertex_colors", "uv", "frusta")
    }
    document["texture"] = None if content.texture is None else _jpeg(content.texture)
    document |= {"names": content.names, "notes": content.notes, "unit": content.unit}
    document["up"] = [0, 1, 0] if content.up is None else [float(v) for v in content.up]
    # A camera may be called "</script>".
    text = json.dumps(document).replace("<", "\\u003c")
    own = files("recon3d.notebook")
    template = own.joinpath("viewer.html").read_text(encoding="utf-8")
    script = own.joinpath("viewer.js").read_text(encoding="utf-8")
    head, rest = template.split("@DATA@")
    before, after = rest.split("@SCRIPT@")
    return "".join([head.replace("@TITLE@", html.escape(title)), text, before, script, after])


def _encode(array: NDArray[Any] | None) -> str | None:
    if array is None:
        return None
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode("ascii")


def _jpeg(texture: NDArray[np.uint8]) -> str:
    _, data = cv2.imencode(".jpg", texture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")

"""The model in one HTML file that opens from disk, with no server and no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.errors import StageError
from recon3d.io.atomic import atomic_path
from recon3d.project.scale import scale_of
from recon3d.viewer.aligning import aligned, facing
from recon3d.viewer.grid import Grid, as_shares
from recon3d.viewer.page_files import page_file, viewer_script
from recon3d.viewer.scene_document import MOST_PHOTOS, scene_document
from recon3d.viewer.still import quick_picture
from recon3d.viewer.thinning import Budget
from recon3d.viewer.view_content import Content, Shown, content_of, project_of

_PAGE_STYLE = "html,body,main{margin:0;height:100%;overflow:hidden}"
_STILL = (800, 600)
#: Before the names of the other model's elements.
_OTHER = "other-"
#: Before the names of a draft's.
_DRAFT = "draft-"


def export_html(
    shown: Shown,
    path: str | os.PathLike[str],
    *,
    compare: Shown | None = None,
    titles: tuple[str, str] = ("before", "after"),
    title: str = "recon3d",
    credit: str = "",
    licence: str = "",
    budget: Budget | None = None,
) -> Content:
    """Write a model as a page of its own.

    Parameters
    ----------
    shown : Project, RunRecord, Scene, PointCloud, Mesh or TexturedMesh
    path : path-like
        The HTML file.
    compare : Project, RunRecord, Scene, PointCloud, Mesh or TexturedMesh, optional
        Another model of the subject, such as an earlier run of the project. The page shows it left of a
        divider, which a mouse, a finger or the arrow keys move. It is moved onto `shown` by the cameras
        with the same names.
    titles : tuple of str
        What the page calls `compare` and `shown` where it has both.
    title, credit, licence : str
        What the page says of the model: its name, who made it, what others may do with it.
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
    StageError
        The file cannot be written; names it.
    """
    content = content_of(shown, budget)
    scene = scene_document(content, title=title, credit=credit, licence=licence, scale=_scale(shown, content))
    other = None
    if compare is not None:
        other = content_of(compare, budget)
        scene["titles"] = list(titles)
        scene["notes"] += [f"{titles[0]}: {note}" for note in other.notes]
        same = aligned(other, content)
        if same is None:
            scene["notes"].append("not aligned, since fewer than three photos have the same names")
        other = same or facing(other, content)
    target = Path(path)
    document = page(content, scene, other)
    try:
        with atomic_path(target) as temporary:
            temporary.write_text(document, encoding="utf-8")
    except OSError as error:
        raise StageError(
            f"{target} could not be written: {error.strerror or error}.",
            "Free space on the disk, check the folder's permissions, or choose another file with --output.",
        ) from error
    return content


def view_scene(shown: Shown, *, title: str = "", credit: str = "", licence: str = "") -> dict[str, Any]:
    """Describe a model for a page of one's own that shows its GLB with `viewer_files`.

    Parameters
    ----------
    shown : Project, Scene, PointCloud, Mesh or TexturedMesh
    title, credit, licence : str
        What the page says of the model.

    Returns
    -------
    dict
        For JSON: where the photos were taken, the first view, up, unit and scale. No photos.

    Raises
    ------
    InputError
        There is nothing to show yet.
    """
    content = content_of(shown)
    scale = _scale(shown, content)
    scene = scene_document(content, title=title, credit=credit, licence=licence, scale=scale, photos=False)
    return {**scene, "notes": []}


def page(content: Content, scene: dict[str, Any], other: Content | None = None) -> str:
    """Render the page.

    Parameters
    ----------
    content : Content
    scene : dict
        As `scene_document` gives it.
    other : Content, optional
        Another model, in the world of `content`.

    Returns
    -------
    str
        HTML.
    """
    described = dict(scene)
    first: list[str] = []
    rest: list[str] = []
    size = 0
    for key, shown, prefix in (("arrays", content, ""), ("other", other, _OTHER)):
        if shown is None:
            continue
        described[key], elements, more = _arrays(shown, prefix)
        size += more
        if shown.draft is None:
            first += elements
            continue
        described[key]["draft"], drafted, more = _arrays(shown.draft, f"{prefix}{_DRAFT}")
        first, rest, size = first + drafted, rest + elements, size + more
    left_out = ["no photos, since there are too many"] if len(content.names) > MOST_PHOTOS else []
    notes = [*scene["notes"], *left_out, f"{size / 1e6:.1f} MB of data"]
    title = html.escape(str(scene["title"]) or "recon3d")
    script = f"{viewer_script()}{page_file('start.js')}"
    style = page_file("viewer.css") + _PAGE_STYLE
    parts = {
        # Only this script and this style may run, whatever the names and titles hold.
        "SCRIPT_HASH": _hash(script),
        "STYLE_HASH": _hash(style),
        "TITLE": title,
        "STYLE": style,
        # All that is seen without JavaScript or WebGL 2, or until the first picture, if that is late: to
        # scale it costs a browser without a graphics card time.
        "STILL": f'<img src="data:image/jpeg;base64,{_still(content)}" alt="{title}">',
        # A camera may be called "</script>".
        "SCENE": json.dumps({**described, "notes": notes}).replace("<", "\\u003c"),
        "FIRST": "\n".join(first),
        "SCRIPT": script,
        # The browser draws before it reads on.
        "REST": "\n".join(rest),
    }
    text = page_file("page.html")
    pieces: list[str] = []
    for name, value in parts.items():
        before, text = text.split(f"@{name}@")
        pieces += [before, value]
    return "".join([*pieces, text])


def _arrays(content: Content, prefix: str) -> tuple[dict[str, dict[str, Any]], list[str], int]:
    """A model's arrays: what they are, the page's elements that hold them, and their bytes."""
    about: dict[str, dict[str, Any]] = {}
    elements: list[str] = []
    size = 0

    def put(name: str, array: NDArray[Any], **more: Any) -> None:
        nonlocal size
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        about[name] = {"type": little.dtype.str[1:], **more}
        elements.append(_element(prefix + name, little.tobytes()))
        size += little.nbytes

    for name in ("vertices", "points"):
        positions = getattr(content, name)
        if positions is not None:
            grid = Grid.of(positions)
            put(name, grid.values, low=grid.low.tolist(), step=grid.step)
    if content.faces is not None and content.vertices is not None:
        put("faces", content.faces.astype(np.uint16 if len(content.vertices) <= 65536 else np.uint32))
    for name in ("vertex_colors", "point_colors"):
        if getattr(content, name) is not None:
            put(name, getattr(content, name))
    if content.uv is not None:
        put("uv", as_shares(content.uv))
    if content.jpeg:
        elements.append(_element(f"{prefix}texture", content.jpeg))
        size += len(content.jpeg)
    return about, elements, size


def _scale(shown: Shown, content: Content) -> float | None:
    """Metres per unit, where a project knows it of this reconstruction."""
    project = project_of(shown)
    scale = None if project is None else scale_of(project)
    return scale.factor if scale is not None and scale.reconstruction == content.reconstruction else None


def _still(content: Content) -> str:
    _, data = cv2.imencode(".jpg", quick_picture(content, _STILL)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return base64.b64encode(data.tobytes()).decode("ascii")


def _hash(text: str) -> str:
    """A source of a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _element(name: str, data: bytes) -> str:
    text = base64.b64encode(data).decode("ascii")
    return f'<script id="recon3d-{name}" type="text/plain">{text}</script>'

"""The script and the style sheet that show a model, for the exported page and for others."""

from __future__ import annotations

from importlib.resources import files

_SCRIPTS = (
    *("vectors", "strings", "sources", "surfaces", "painting", "camera", "picking"),
    *("hand", "measuring", "overlay", "photos", "split", "panel", "viewer"),
)


def viewer_files() -> dict[str, bytes]:
    """Give the script and the style sheet that show a model in a page of one's own.

    Returns
    -------
    dict of str to bytes
        By file name: ``recon3d-viewer.js`` and ``recon3d-viewer.css``.
    """
    return {
        "recon3d-viewer.js": viewer_script().encode(),
        "recon3d-viewer.css": page_file("viewer.css").encode(),
    }


def viewer_script() -> str:
    """Join the parts of the script; it defines one name, ``Recon3DViewer``.

    Returns
    -------
    str
    """
    parts = "\n".join(page_file(f"{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\nwindow.Recon3DViewer = {{ open }};\n}})();\n'


def page_file(name: str) -> str:
    """Read a file of the folder ``web``.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return files("recon3d.viewer").joinpath("web", name).read_text(encoding="utf-8")

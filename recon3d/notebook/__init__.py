"""What notebooks show: the model, the progress of a run, plots.

It needs the extra ``notebook``; each name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon3d.notebook import plots
    from recon3d.notebook.app import App
    from recon3d.notebook.panel import Panel
    from recon3d.notebook.viewer import Viewer, compare
    from recon3d.viewer.html_export import export_html

_HOME = {
    "App": "notebook.app",
    "Panel": "notebook.panel",
    "Viewer": "notebook.viewer",
    "compare": "notebook.viewer",
    "export_html": "viewer.html_export",
}

__all__ = ["App", "Panel", "Viewer", "compare", "export_html", "plots"]


def __getattr__(name: str) -> Any:
    if name == "plots":
        return importlib.import_module("recon3d.notebook.plots")
    if name not in _HOME:
        raise AttributeError(f"module 'recon3d.notebook' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"recon3d.{_HOME[name]}"), name)
    globals()[name] = value
    return value

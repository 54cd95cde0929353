"""What a notebook shows for an object that ends a cell: a run its panel, a model the viewer.

Nothing of the widgets is loaded before the first such object. A front end without widgets, and a
saved notebook that is read elsewhere, show the object's HTML; a terminal shows its text.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from recon3d.errors import Recon3DError
from recon3d.notebook.answering import KernelAnswers
from recon3d.pipeline.background import answer_while_waiting

#: Browsers give a page some 16 WebGL contexts and then take the oldest away; a few are left to others.
_LIVE_VIEWERS = 6

_viewers: deque[Any] = deque()


def register() -> bool:
    """Tell the notebook's kernel about our objects; does nothing where there is none.

    Returns
    -------
    bool
        Whether there is one.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return False
    answer_while_waiting(KernelAnswers(shell.kernel))
    formatter = shell.display_formatter.mimebundle_formatter
    # By name, so that nothing is imported before it is used.
    formatter.for_type_by_name("recon3d.pipeline.run", "Run", _panel)
    formatter.for_type_by_name("recon3d.project.runs", "RunRecord", _panel)
    for name in ("Scene", "PointCloud", "Mesh", "TexturedMesh"):
        formatter.for_type_by_name("recon3d.types", name, _model)
    return True


def _panel(run: Any, **choice: Any) -> Any:
    def make() -> Any:
        from recon3d.notebook.panel import Panel

        return Panel(run)

    return _bundle(make)


def _model(shown: Any, **choice: Any) -> Any:
    def make() -> Any:
        from recon3d.notebook.viewer import Viewer

        viewer = Viewer(shown)
        _viewers.append(viewer)
        while len(_viewers) > _LIVE_VIEWERS:
            _viewers.popleft().close()
        return viewer

    return _bundle(make)


def _bundle(make: Callable[[], Any]) -> Any:
    """The widget's own MIME types; text and HTML come from the object's reprs."""
    try:
        data, metadata = _split(make().widget._repr_mimebundle_())
    except (Recon3DError, ImportError):  # no widgets here, or nothing to see: the reprs are left
        return {}
    data.pop("text/plain", None)
    return data, metadata


def _split(bundle: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return bundle if isinstance(bundle, tuple) else (bundle, {})

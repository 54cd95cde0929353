"""What a notebook shows for an object that ends a cell: a run its panel, a model the viewer.

Nothing of the widgets is loaded before the first such object.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from recon3d.errors import Recon3DError
from recon3d.notebook.answering import KernelAnswers
from recon3d.notebook.stand_in import show_plainly
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
    formatter = shell.display_formatter.ipython_display_formatter
    # By name, so that nothing is imported before it is used.
    formatter.for_type_by_name("recon3d.pipeline.run", "Run", _panel)
    formatter.for_type_by_name("recon3d.project.runs", "RunRecord", _panel)
    for name in ("Scene", "PointCloud", "Mesh", "TexturedMesh"):
        formatter.for_type_by_name("recon3d.types", name, _model)
    return True


def _panel(run: Any) -> None:
    try:
        from recon3d.notebook.panel import Panel
    except (Recon3DError, ImportError):  # no widgets here: the reprs are left
        show_plainly(run)
    else:
        Panel(run)._ipython_display_()


def _model(shown: Any) -> None:
    try:
        from recon3d.notebook.viewer import Viewer

        viewer = Viewer(shown)
    except (Recon3DError, ImportError):  # no widgets here, or nothing to see
        show_plainly(shown)
        return
    _viewers.append(viewer)
    while len(_viewers) > _LIVE_VIEWERS:
        _viewers.popleft().close()
    viewer._ipython_display_(repr(shown))

"""Widgets with a stand-in: what is seen where, or while, there is no kernel behind them.

A cell gets three outputs: a marker with a style, the stand-in, and the widget. The style shows either
the stand-in or the widget. Without the style, as on GitHub and in a PDF, the stand-in is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: JupyterLab marks the widgets of a kernel that is gone, and shows one line of text for lost ones.
_LIVE = ".jp-OutputArea-child .recon3d-live:not(.jupyter-widgets-disconnected)"
_MARKER = f"""<div class="recon3d-marker"><style>
.jp-OutputArea-child:has(.recon3d-marker):has(+ * + {_LIVE}) + .jp-OutputArea-child,
.jp-OutputArea-child:has(.recon3d-marker):not(:has(+ * + {_LIVE})) + * +
.jp-OutputArea-child:has(> .lm-Panel.jp-OutputArea-output) {{ display: none }}
</style></div>"""


def show_with(widget: Any, stand_in: Mapping[str, str]) -> Any:
    """Show a widget and its stand-in as outputs of the cell that runs.

    Parameters
    ----------
    widget : ipywidgets.DOMWidget
    stand_in : mapping of str to str
        The stand-in by MIME type.

    Returns
    -------
    IPython.display.DisplayHandle
        Its ``update(…, raw=True)`` replaces the stand-in.
    """
    from IPython.display import display

    widget.add_class("recon3d-live")
    display({"text/html": _MARKER, "text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]
    handle = display(dict(stand_in), raw=True, display_id=True)  # type: ignore[no-untyped-call]
    display(widget)  # type: ignore[no-untyped-call]
    return handle


def show_plainly(shown: Any) -> None:
    """Show an object by its reprs.

    Parameters
    ----------
    shown : object
        Has ``_repr_html_``.
    """
    from IPython.display import display

    display({"text/html": shown._repr_html_(), "text/plain": repr(shown)}, raw=True)  # type: ignore[no-untyped-call]

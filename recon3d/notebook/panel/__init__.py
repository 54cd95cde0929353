"""The progress of a run, as widgets; the kernel stays free.

>>> from recon3d.notebook.panel import Panel
>>> Panel(run)  # doctest: +SKIP
"""

from recon3d.errors import EngineUnavailable

try:
    import ipywidgets as _ipywidgets  # noqa: F401
except ImportError as error:
    raise EngineUnavailable(
        "The progress panel needs ipywidgets, which is not installed.", "pip install 'recon3d[notebook]'"
    ) from error

from recon3d.notebook.panel.panel import Panel, describe

__all__ = ["Panel", "describe"]

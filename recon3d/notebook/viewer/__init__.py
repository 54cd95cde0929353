"""The 3D viewer of notebooks; the only package that imports pythreejs.

>>> from recon3d.notebook.viewer import Viewer, compare
>>> Viewer(project)  # doctest: +SKIP
"""

from recon3d.errors import EngineUnavailable

try:
    import ipywidgets as _ipywidgets  # noqa: F401
    import pythreejs as _pythreejs  # noqa: F401
except ImportError as error:
    raise EngineUnavailable(
        f"The viewer needs {error.name}, which is not installed.", "pip install 'recon3d[notebook]'"
    ) from error

from recon3d.notebook.viewer.comparing import Comparison, compare
from recon3d.notebook.viewer.viewer import Viewer

__all__ = ["Comparison", "Viewer", "compare"]

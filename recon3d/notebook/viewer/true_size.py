"""How large the model that a viewer shows is in truth."""

from __future__ import annotations

import math

from recon3d.errors import InputError
from recon3d.project.scale import scale_of, set_scale
from recon3d.types import Scene
from recon3d.viewer.view_content import Content, Shown, project_of


class TrueSize:
    """The scale of what is shown: that of its project, or one that is only known here.

    Parameters
    ----------
    shown : Project, RunRecord, Scene, PointCloud, Mesh or TexturedMesh
    content : Content
    """

    def __init__(self, shown: Shown, content: Content) -> None:
        self._content = content
        self._project = project_of(shown)
        self._own = shown.scale if isinstance(shown, Scene) else None

    @property
    def scale(self) -> float | None:
        """Metres per unit of the reconstruction, where a true length was given."""
        if self._project is None:
            return self._own
        stored = scale_of(self._project)
        same = stored is not None and stored.reconstruction == self._content.reconstruction
        return stored.factor if stored is not None and same else None

    @property
    def unit(self) -> str:
        """Unit of `of`: "m", or "" while the scale is unknown."""
        return "m" if self.scale is not None else self._content.unit

    def of(self, length: float) -> float:
        """Compute a true length.

        Parameters
        ----------
        length : float
            In the picture's scene.

        Returns
        -------
        float
            In `unit`.
        """
        return length / self._content.enlarged * (self.scale or 1.0)

    def set(self, length: float | None, metres: float) -> float:
        """Set the scale by a true length; a project keeps it.

        Parameters
        ----------
        length : float or None
            Measured, in the picture's scene.
        metres : float

        Returns
        -------
        float
            Metres per unit of the reconstruction.

        Raises
        ------
        InputError
            Nothing was measured, a length is not above zero, or the project has been reconstructed anew
            since.
        ProjectError
            A run works on the project.
        """
        if length is None:
            raise InputError("Nothing is measured yet.", "Click two points in the measuring mode first.")
        if not (math.isfinite(metres) and metres > 0 and length > 0):
            raise InputError(f"A length of {metres:g} cannot set the scale.", "Give one above zero.")
        scale = metres / length * self._content.enlarged
        if self._project is not None:
            set_scale(self._project, metres / scale, metres, self._content.reconstruction)
        self._own = scale
        return scale

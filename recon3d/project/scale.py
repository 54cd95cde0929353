"""The true size of a reconstruction, where a person has measured it.

Pictures alone do not tell how large a thing is. `set_scale` stores one known length with the
project; exports and viewers then speak of metres. Artifacts and ``results`` stay as they were made.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from recon3d.errors import InputError
from recon3d.io.atomic import read_json, write_json
from recon3d.layout import SCALE_FILE
from recon3d.rendering.formatting import Described


class _Artifact(Protocol):
    @property
    def manifest(self) -> Any: ...


class ScaledProject(Protocol):
    """What of a project its scale needs."""

    @property
    def path(self) -> Path:
        """The project's folder."""
        ...

    @property
    def artifacts(self) -> Mapping[str, _Artifact]:
        """Its artifacts by stage."""
        ...

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold it against other writers."""
        ...


@dataclass(frozen=True, repr=False)
class Scale(Described):
    """Metres per unit of a reconstruction, and where that comes from.

    Parameters
    ----------
    factor : float
        Metres per unit.
    measured : float
        The length in the reconstruction that was compared.
    known : float
        The same length in metres.
    reconstruction : str
        Fingerprint of the sparse reconstruction that it holds for: another one has another size.
    """

    factor: float
    measured: float
    known: float
    reconstruction: str

    def _facts(self) -> list[str]:
        return [f"{self.factor:.4g} m a unit", f"{self.measured:.4g} units are {self.known:.4g} m"]


def set_scale(
    project: ScaledProject, measured: float, known: float, reconstruction: str | None = None
) -> Scale:
    """Tell a project its true size by one known length.

    Parameters
    ----------
    project : Project
    measured : float
        A length in the reconstruction's units, such as `Viewer.measured` gives.
    known : float
        The same length in metres.
    reconstruction : str, optional
        Fingerprint of the sparse reconstruction in which it was measured; by default the present one.

    Returns
    -------
    Scale

    Raises
    ------
    InputError
        A length is not positive and finite, there is no reconstruction yet, or it was measured in
        another one.
    """
    for name, value in (("measured", measured), ("known", known)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"The {name} length is {value:g}.", "Give a length above zero.")
    measured, known = float(measured), float(known)
    present = _reconstruction(project)
    if reconstruction not in (None, present):
        raise InputError(
            "This length was measured in an earlier reconstruction; the present one has another size.",
            "View the project again and measure there.",
        )
    scale = Scale(known / measured, measured, known, present)
    with project.lock():
        write_json(_path(project), asdict(scale))
    return scale


def scale_of(project: ScaledProject) -> Scale | None:
    """Read the scale that was set for a project's present reconstruction.

    Parameters
    ----------
    project : ScaledProject

    Returns
    -------
    Scale or None
        None when no scale was set.

    Raises
    ------
    InputError
        The file with the scale is damaged or cannot be read.
    """
    try:
        scale = Scale(**read_json(_path(project)))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(
            f"{_path(project)} cannot be read: {error.strerror}.",
            "Check that it is a file and who may read it.",
        ) from error
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{_path(project)} is damaged: {error}.", "Remove it and set the scale again."
        ) from error
    artifact = project.artifacts.get("sparse_reconstruction")
    current = artifact is not None and artifact.manifest.fingerprint == scale.reconstruction
    return scale if current else None


def clear_scale(project: ScaledProject) -> None:
    """Remove the project's scale.

    Parameters
    ----------
    project : ScaledProject
    """
    with project.lock():
        _path(project).unlink(missing_ok=True)


def _path(project: ScaledProject) -> Path:
    return project.path / SCALE_FILE


def _reconstruction(project: ScaledProject) -> str:
    artifact = project.artifacts.get("sparse_reconstruction")
    if artifact is None:
        raise InputError(f"{project.path} has no reconstruction yet.", "Run the pipeline first.")
    return str(artifact.manifest.fingerprint)

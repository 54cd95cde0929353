"""The sample that comes with the package."""

from __future__ import annotations

from pathlib import Path

from recon3d.errors import InputError

_NAME = "bust.mp4"


def sample_video() -> Path:
    """Locate the bundled video: 6 s around a bust (Geoffrey Marchal's scan, CC BY 4.0).

    Returns
    -------
    Path

    Raises
    ------
    InputError
        The package was installed without it.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "sample", package.parent / "examples" / "data"):
        if (folder / _NAME).is_file():
            return folder / _NAME
    raise InputError(
        "The bundled sample is missing.", "Install recon3d again: pip install --force-reinstall recon3d"
    )

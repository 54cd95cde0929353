"""Dask's performance report of a run: one HTML file with the workers' tasks over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recon3d.errors import OptionError


def has_bokeh(client: Any) -> bool:
    """Tell whether a scheduler can draw: its dashboard, and performance reports.

    Parameters
    ----------
    client : distributed.Client

    Returns
    -------
    bool
    """
    import distributed.versions

    # A function of Dask, which is there also where recon3d is not.
    found = client.run_on_scheduler(distributed.versions.get_versions, packages=["bokeh"])
    return found["packages"].get("bokeh") is not None


def check_report(path: Path) -> None:
    """Make the folder of a report, before a run begins.

    Parameters
    ----------
    path : Path
        The HTML file.

    Raises
    ------
    OptionError
        Its folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"The performance report cannot be written to {path}: {error.strerror}.", "Choose another file."
        ) from error


class PerformanceReport:
    """Dask's report of the time from its making until `write`.

    Parameters
    ----------
    client : distributed.Client
    path : Path
        The HTML file.

    Attributes
    ----------
    problem : str
        Why there will be no report; ``""`` if there will be one.
    """

    def __init__(self, client: Any, path: Path) -> None:
        import distributed

        self.problem = ""
        self._client = client
        self._path = path
        self._report = distributed.performance_report(filename=str(path))
        if not has_bokeh(client):
            self.problem = (
                f"The performance report {path} is not written: the scheduler has no bokeh. "
                "Install it there: pip install 'recon3d[cluster]'."
            )
            return
        with client.as_current():
            self._report.__enter__()

    def write(self) -> str:
        """Write the file.

        Returns
        -------
        str
            Why it could not be written; ``""`` if it was, or if that was known before.
        """
        if self.problem:
            return ""
        try:
            with self._client.as_current():
                self._report.__exit__(None, None, None)
        except Exception as error:
            return f"The performance report {self._path} is not written: {type(error).__name__}: {error}"
        return ""

"""Dask's performance report of a run: one HTML file with the workers' tasks over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class PerformanceReport:
    """Dask's report of the time from its making until `write`.

    Parameters
    ----------
    client : distributed.Client
    path : Path
        The HTML file.
    """

    def __init__(self, client: Any, path: Path) -> None:
        import distributed

        self._client = client
        self._path = path
        self._report = distributed.performance_report(filename=str(path))
        with client.as_current():
            self._report.__enter__()

    def write(self) -> str:
        """Write the file.

        Returns
        -------
        str
            Why it could not be written; ``""`` if it was.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._client.as_current():
                self._report.__exit__(None, None, None)
        except ImportError:
            return (
                f"The performance report {self._path} is not written: the scheduler has no bokeh. "
                "Install it there: pip install 'recon3d[cluster]'."
            )
        except Exception as error:
            return f"The performance report {self._path} is not written: {type(error).__name__}: {error}"
        return ""

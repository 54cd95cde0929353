"""Compiling kernels with numba, so that its cache follows the sources."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function that numba compiles, nogil, and keeps in its cache.

    Kernels inline functions and constants of the modules beside theirs, but numba's cache looks at
    the function's own file only, and outlives an upgrade. Here the sources of the whole package count.

    Parameters
    ----------
    **options
        As for `numba.njit`.

    Returns
    -------
    callable
        The decorator.
    """
    compiled: Any = numba.njit

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = compiled(nogil=True, cache=True, **options)(function)
        index = dispatcher._cache._cache_file  # numba has no public way to say this
        index._source_stamp = (index._source_stamp, _digest(Path(function.__code__.co_filename).parent))
        return dispatcher

    return decorate


@functools.cache
def _digest(package: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(package.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()

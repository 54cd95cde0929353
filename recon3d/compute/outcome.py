"""What came of a task: its result, or an error in words that users understand."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from recon3d.errors import OutOfMemory, Recon3DError, StageError

_MEMORY_HINT = "Use a lower quality, or a machine with more memory."
#: How the log says that memory ran out: of the system, of C++, of a worker's limit.
_OUT_OF_MEMORY = ("killed by signal 9", "bad_alloc", "memory budget")


def outcome(future: Any, name: str, log_tail: Callable[[str], str]) -> Any:
    """Fetch a task's result.

    Parameters
    ----------
    future : distributed.Future
        Of a task that has ended.
    name : str
        What errors call it.
    log_tail : callable
        Gives the last lines that the workers logged, those of one nanny if its address is given.

    Returns
    -------
    object
        What the task returned.

    Raises
    ------
    Recon3DError
        The task's own error, or a `StageError` that names it.
    """
    import distributed

    try:
        return future.result()
    except Recon3DError:
        raise
    except MemoryError as error:
        raise OutOfMemory(f"Not enough memory for {name}.", _MEMORY_HINT) from error
    except distributed.KilledWorker as error:
        tail = log_tail(error.last_worker.nanny or "")
        if any(words in tail for words in _OUT_OF_MEMORY):
            raise OutOfMemory(
                f"The worker process that worked on {name} was killed, most likely for its memory.",
                _MEMORY_HINT,
                log_tail=tail,
            ) from error
        raise StageError(
            f"Native code crashed on {name}, {_times(error.allowed_failures + 1)}.",
            "The log's tail below says where; a damaged image is the usual cause. Finished work is kept.",
            log_tail=tail,
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise  # the pipeline explains a full disk
        raise StageError(
            f"{name}: {type(error).__name__}: {error}",
            "This is most likely a bug in recon3d; please report it with the log's tail.",
            log_tail=log_tail(""),
        ) from error


def _times(number: int) -> str:
    return "twice" if number == 2 else f"{number} times"

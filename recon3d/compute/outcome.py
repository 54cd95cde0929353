"""What came of a task: its result, or an error in words that users understand."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from recon3d.compute.deaths import Cause
from recon3d.errors import OutOfMemory, Recon3DError, StageError

if TYPE_CHECKING:
    from recon3d.compute.engine import Engine

_MEMORY_HINT = "Use a lower quality, or a machine with more memory."
#: How the log says that C++ got no memory.
_NO_MEMORY = "bad_alloc"
#: Lost workers after which a task is given up that nothing speaks against.
MOST_LOST = 12


class WorkersLost(StageError):
    """Workers that ran a task were lost, and not by its fault: it may be run again.

    Parameters
    ----------
    message, hint, log_tail : str
        As of a `StageError` for users, if it is not run again.
    times : int
        How often, since the task was sent.
    how : str
        What happened to them.
    """

    def __init__(self, message: str, hint: str, *, times: int, how: str, log_tail: str) -> None:
        super().__init__(message, hint, log_tail=log_tail)
        self.times = times
        self.how = how


def outcome(future: Any, name: str, engine: Engine, seconds: float, lost: int = 0) -> Any:
    """Fetch a task's result.

    Parameters
    ----------
    future : distributed.Future
        Of a task that has ended.
    name : str
        What errors call it.
    engine : Engine
        Knows how workers ended.
    seconds : float
        How far to look back in the log.
    lost : int
        How often workers were lost before, with this task.

    Returns
    -------
    object
        What the task returned.

    Raises
    ------
    WorkersLost
        Nothing says that the lost workers lacked memory, or that the task ended them.
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
        raise _why_lost(error, name, engine, seconds, lost) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise  # the pipeline explains a full disk
        raise StageError(
            f"{name}: {type(error).__name__}: {error}",
            "This is most likely a bug in recon3d; please report it with the log's tail.",
            log_tail=engine.log_tail(seconds),
        ) from error


def _why_lost(error: Any, name: str, engine: Engine, seconds: float, lost: int) -> StageError:
    """Tell why a task has no worker: what the last one's nanny saw decides."""
    worker = error.last_worker
    death = engine.death_of(worker.nanny or "", worker.pid)
    tail = engine.log_tail(seconds, worker.nanny or "")
    times = error.allowed_failures + 1
    cause = death.cause
    if cause is Cause.MEMORY or (cause is Cause.CRASHED and _NO_MEMORY in tail):
        facts = f": {death.facts}" if death.facts else ""
        return OutOfMemory(
            f"The worker process that worked on {name} was killed for its memory{facts}.",
            _MEMORY_HINT,
            log_tail=tail,
        )
    if cause is Cause.CRASHED:
        return StageError(
            f"Native code crashed on {name}, {_times(times + lost)}.",
            "The log's tail below says where; a damaged image is the usual cause. Finished work is kept.",
            log_tail=tail,
        )
    if cause is Cause.UNKNOWN:
        return StageError(
            f"The worker process that worked on {name} ended {_times(times + lost)}, and nobody saw why.",
            "Workers with a nanny and recon3d's preload tell it; `recon3d cluster worker` starts them. "
            "Finished work is kept.",
            log_tail=tail,
        )
    total = _times(times + lost)
    if cause is Cause.LOST:
        how = "its machine or container was lost"
        hint = (
            "Look there why; a container may have been ended for its memory, which a larger limit or a "
            "lower quality mends."
        )
        told = f"The worker that worked on {name} was lost with its machine or container, {total}."
    else:
        facts = f", and not for its memory: {death.facts}" if death.facts else ""
        how = f"somebody ended its process by signal {death.signal}{facts}"
        hint = "Look what ends processes on that machine: a batch system, a watchdog, a person."
        told = (
            f"Somebody ended the worker process that worked on {name} by signal {death.signal}, "
            f"{total}{facts}."
        )
    return WorkersLost(
        told,
        f"{hint} Then run the same command again; finished work is kept.",
        times=times,
        how=how,
        log_tail=tail,
    )


def _times(number: int) -> str:
    return "twice" if number == 2 else f"{number} times"

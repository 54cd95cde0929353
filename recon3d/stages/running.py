"""One step of a stage, for each part of what it works on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from recon3d.compute import StageContext


def run_step(
    context: StageContext,
    step: Callable[..., None],
    calls: Sequence[tuple[Any, ...]],
    *,
    done: int = 0,
    memory: int = 0,
) -> None:
    """Run a step for all parts at once; that of a single part tells its own progress.

    Parameters
    ----------
    context : StageContext
    step : callable
        A function that workers can import.
    calls : sequence of tuple
        Its arguments for each part.
    done : int
        Parts for which an earlier run has done it.
    memory : int
        Bytes that it needs at its peak.
    """
    if done + len(calls) > 1:
        context.starmap(step, calls, names=[step.__name__] * len(calls), done=done, memory=memory)
        return
    context.progress(done, 1)
    for arguments in calls:
        context.call(step, *arguments, memory=memory)

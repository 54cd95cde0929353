"""The log lines of a job: a text file that its runner appends to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from recon3d import events as run_events


def append(path: Path, lines: Iterable[str]) -> None:
    """Append lines, each with the time.

    Parameters
    ----------
    path : Path
        The job's log.
    lines : iterable of str
    """
    stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8", errors="replace") as file:
        file.writelines(f"{stamp} {line}\n" for line in lines)


def read(path: Path, offset: int = 0, limit: int = 10_000) -> list[str]:
    """Read complete lines.

    Parameters
    ----------
    path : Path
        The job's log.
    offset : int
        Lines to skip.
    limit : int
        Most lines to return.

    Returns
    -------
    list of str
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [
                line[:-1] for line in itertools.islice(file, offset, offset + limit) if line.endswith("\n")
            ]
    except FileNotFoundError:
        return []


def describe(event: run_events.Event) -> list[str]:
    """Describe an event of a stage for the log.

    Parameters
    ----------
    event : run_events.Event

    Returns
    -------
    list of str
        Lines.
    """
    if isinstance(event, run_events.StageStarted):
        return [f"{event.stage} started"]
    if isinstance(event, run_events.StageSkipped):
        return [f"{event.stage} skipped: {event.reason}"]
    if isinstance(event, run_events.StageCompleted):
        counts = ", ".join(f"{key}={value}" for key, value in event.counts.items())
        return [
            *event.fallbacks,
            f"{event.stage} completed in {event.seconds:.1f} s ({event.cpu_seconds:.1f} CPU-s, "
            f"{event.peak_memory / 2**20:.0f} MiB): {counts}",
        ]
    if isinstance(event, run_events.StageFailed):
        return [f"{event.stage} failed: {event.error.message} {event.error.hint}".strip()]
    if isinstance(event, run_events.VerdictReached):
        return [f"Verdict: {event.level}.", *event.sentences, *event.advice]
    if isinstance(event, run_events.InputsChecked):
        return [f"Check of the inputs: {event.level}.", *event.sentences, *event.advice]
    if isinstance(event, run_events.StageProgress):
        return [event.message or f"{event.done:g} of {event.total:g} {event.unit}".strip()]
    return []

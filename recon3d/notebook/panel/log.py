"""What a run's files tell, read as they grow."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path

from pydantic import ValidationError

from recon3d.events import (
    Event,
    InputsChecked,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    StageCompleted,
    StageFailed,
    StageProgress,
    StageSkipped,
    StageStarted,
    VerdictReached,
    parse_event,
)
from recon3d.layout import EVENTS, WORKERS_LOG

#: Lines that are kept of the events, and of the workers' log.
LINES = 200
#: Bytes of the workers' log that are looked at.
_TAIL = 32_768


class RunLog:
    """The files of a run, each byte read once.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Attributes
    ----------
    artifacts : dict of str to str
        Where each finished stage's artifact is, relative to the project.
    """

    def __init__(self, folder: Path) -> None:
        self._events = folder / EVENTS
        self._workers = folder / WORKERS_LOG
        self._offset = 0
        self._lines: deque[str] = deque(maxlen=LINES)
        self.artifacts: dict[str, str] = {}

    def read(self) -> list[Event]:
        """Read the events since the last call.

        Returns
        -------
        list of Event
        """
        try:
            with open(self._events, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:  # not begun yet
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        events = []
        for line in whole.splitlines():
            try:
                events.append(parse_event(line))
            except ValidationError:
                continue  # of a newer version, or damaged by a full disk
        for event in events:
            if isinstance(event, StageCompleted | StageSkipped) and event.artifact:
                self.artifacts[event.stage] = event.artifact
            for text in _words(event):
                self._lines.append(f"{time.strftime('%H:%M:%S', time.localtime(event.time))} {text}")
        return events

    def text(self) -> str:
        """Format the last events, and the end of the workers' log.

        Returns
        -------
        str
        """
        parts = list(self._lines)
        workers = self._tail()
        if workers:
            parts += ["", "workers.log:", *workers]
        return "\n".join(parts)

    def _tail(self) -> list[str]:
        try:
            with open(self._workers, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL))
                lines = file.read().decode("utf-8", errors="replace").splitlines()
        except OSError:
            return []
        return lines[1 if size > _TAIL else 0 :][-LINES:]


def _words(event: Event) -> list[str]:
    if isinstance(event, StageProgress):
        return [f"{_stage(event.stage)}: {event.message}"] if event.message else []
    if isinstance(event, RunStarted):
        return [f"run {event.run} started, quality {event.quality}, recon3d {event.version}", *event.notes]
    if isinstance(event, StageStarted):
        return [f"{_stage(event.stage)} started"]
    if isinstance(event, StageSkipped):
        return [f"{_stage(event.stage)} skipped: {event.reason}"]
    if isinstance(event, StageCompleted):
        counts = "".join(f", {key.replace('_', ' ')} {value}" for key, value in event.counts.items())
        return [f"{_stage(event.stage)} completed in {event.seconds:.1f} s{counts}"]
    if isinstance(event, StageFailed | RunFailed):
        what = _stage(event.stage) if isinstance(event, StageFailed) else "run"
        error = event.error
        return [f"{what} failed: {error.message} {error.hint}", *error.log_tail.splitlines()]
    if isinstance(event, InputsChecked | VerdictReached):
        what = "verdict" if isinstance(event, VerdictReached) else "check of the inputs"
        return [f"{what}: {event.level}", *event.sentences, *event.advice]
    if isinstance(event, RunCompleted):
        return [f"run completed in {event.seconds:.1f} s"]
    return ["run cancelled"] if isinstance(event, RunCancelled) else []


def _stage(name: str) -> str:
    return name.replace("_", " ")

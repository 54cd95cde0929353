"""Showing a run's events in a terminal, or as JSON lines."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from recon3d.events import (
    Event,
    InputsChecked,
    RunCompleted,
    RunStarted,
    RunState,
    StageCompleted,
    StageFailed,
    StageProgress,
    StageSkipped,
    StageStarted,
    VerdictReached,
    fold,
)
from recon3d.rendering.formatting import duration_text


@contextlib.contextmanager
def event_printer(console: Console, as_json: bool = False) -> Iterator[Callable[[Event], None]]:
    """Yield a function that shows events.

    Parameters
    ----------
    console : Console
        Where a person reads: bars on a terminal, one line a stage elsewhere.
    as_json : bool
        Print each event as a line of JSON on stdout instead.

    Yields
    ------
    callable
        Called with each event of a run.
    """
    if as_json:
        yield _print_json
    elif console.is_terminal:
        with Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]:<8}"),
            TextColumn("{task.fields[eta]}"),
            console=console,
        ) as progress:
            yield _Bars(progress)
    else:
        yield _Lines(console)


def _print_json(event: Event) -> None:
    sys.stdout.write(event.model_dump_json() + "\n")
    sys.stdout.flush()


class _Lines:
    """One line when a stage begins and ends: for logs and scripts."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state = RunState()

    def __call__(self, event: Event) -> None:
        self._state = fold([event], self._state)
        text = _ending(event)
        if isinstance(event, StageStarted):
            text = f"{event.stage} …"
        if text:
            self._console.print(text, markup=False, soft_wrap=True)
        _tell(self._console, event, self._state)


class _Bars:
    """A bar for the running stage, and one for the whole run from when its time is foretold."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._state = RunState()
        self._tasks: dict[str, TaskID] = {}
        self._whole: TaskID | None = None

    def __call__(self, event: Event) -> None:
        self._state = fold([event], self._state)
        text = _ending(event)
        if text:
            self._progress.console.print(text, markup=False, soft_wrap=True)
        _tell(self._progress.console, event, self._state)
        self._show_whole(event.time)
        stage = getattr(event, "stage", None)
        if stage is None:
            return
        if isinstance(event, StageStarted):
            self._tasks[stage] = self._progress.add_task(stage, total=None, unit="", eta="")
        elif isinstance(event, StageProgress) and stage in self._tasks:
            state = self._state.stages[stage]
            eta = "" if state.eta is None else f"{duration_text(state.eta)} left"
            total = round(state.total) if state.total > 0 else None
            self._progress.update(
                self._tasks[stage], completed=round(state.done), total=total, unit=state.unit, eta=eta
            )
        elif isinstance(event, StageCompleted | StageFailed) and stage in self._tasks:
            self._progress.remove_task(self._tasks.pop(stage))

    def _show_whole(self, now: float) -> None:
        left = self._state.time_left(now)
        if left is None:
            if self._whole is not None:  # the run has ended, or it is unknown
                self._progress.remove_task(self._whole)
                self._whole = None
            return
        if self._whole is None:
            self._whole = self._progress.add_task("whole run", total=100, unit="%", eta="")
        eta = f"about {duration_text(left)} left"
        self._progress.update(self._whole, completed=round(100 * self._state.fraction), eta=eta)


def _ending(event: Event) -> str:
    """What is worth a line that stays."""
    if isinstance(event, RunStarted):
        return "\n".join(event.notes)
    if isinstance(event, StageCompleted):
        counts = ", ".join(
            f"{value} {key.replace('_', ' ')}" for key, value in event.counts.items() if _short(value)
        )
        return f"✓ {event.stage}: {duration_text(event.seconds)}{', ' + counts if counts else ''}"
    if isinstance(event, StageSkipped):
        took = "" if event.seconds is None else f" (took {duration_text(event.seconds)})"
        return f"✓ {event.stage}: {event.reason}{took}"
    if isinstance(event, StageFailed):
        return f"✗ {event.stage}"
    if isinstance(event, RunCompleted):
        return f"Completed in {duration_text(event.seconds)}"
    if isinstance(event, StageProgress) and event.message:
        return f"  {event.message}"
    return ""


_COLORS = {"good": "green", "doubtful": "yellow", "unusable": "red", "hopeless": "red"}


def _tell(console: Console, event: Event, state: RunState) -> None:
    """What was found about the inputs and the model: doubts at once, the verdict again at the end."""
    if isinstance(event, InputsChecked | VerdictReached):
        # What the end will say is said at the end. An unusable model is an error, which says the same.
        at_end = isinstance(event, VerdictReached) and event.stage == next(reversed(state.stages), None)
        if event.level == "doubtful" and not at_end:
            _print_found(console, event)
    elif isinstance(event, RunCompleted) and state.verdict is not None:
        _print_found(console, state.verdict)


def _print_found(console: Console, found: InputsChecked | VerdictReached) -> None:
    what = "Verdict" if isinstance(found, VerdictReached) else "Check of the inputs"
    color = _COLORS[found.level]
    # One print: bars that are shown below it would erase an unfinished line.
    line = Text(f"{what}: {found.level}.", f"bold {color}")
    console.print(line.append(f" {' '.join(found.sentences)}", f"not bold {color}"), soft_wrap=True)
    for advice in found.advice:
        console.print(f"  {advice}", markup=False, soft_wrap=True)


def _short(value: object) -> bool:
    return isinstance(value, int | float | str) and len(str(value)) < 20

"""One row a stage, pictures of what it makes, the log folded away, and Cancel."""

from __future__ import annotations

import html
import threading
import time
from dataclasses import replace
from typing import Any

import ipywidgets

from recon3d.errors import Recon3DError
from recon3d.events import RunState, StageState, fold
from recon3d.notebook.panel.log import RunLog
from recon3d.notebook.panel.pictures import Pictures, StageFolder
from recon3d.notebook.stand_in import show_with
from recon3d.pipeline.background import Background
from recon3d.pipeline.run import Run
from recon3d.project.runs import RunRecord
from recon3d.rendering.formatting import duration_text

_STYLES = {"completed": "success", "skipped": "success", "failed": "danger", "cancelled": "warning"}
#: A stage may stop when all that it counts is done: its bar is not that of a finished one.
_STOPPED = 0.95
#: Seconds between checks whether a run of another process is still alive; each check takes its lock.
_ASK = 3.0


class Panel:
    """One row a stage, pictures of what it makes, the log folded away, and Cancel.

    Everything is read from the run's files by a thread of the panel's own, so that it shows a run
    of this kernel, one that another process is at, and one that ended long ago; the pictures stay.

    Parameters
    ----------
    run : Run or RunRecord
        The panel follows it until its end. A `RunRecord` (``project.runs``) cannot be cancelled
        from here.
    interval : float
        Seconds between two looks at the run.

    Attributes
    ----------
    widget : ipywidgets.VBox
    cancel_button : ipywidgets.Button
    pictures : Pictures
    log : ipywidgets.Accordion
        The last events in words, and the end of what the workers wrote; filled when it is opened.
    """

    def __init__(self, run: Run | RunRecord, interval: float = 0.3) -> None:
        self.run = run
        self._interval = interval
        self._log = RunLog(run.folder)
        self._state = RunState()
        self._rows: dict[str, tuple[Any, Any]] = {}
        self._table = ipywidgets.VBox()
        self._title = ipywidgets.HTML()
        self.cancel_button = ipywidgets.Button(description="Cancel", icon="stop")
        self.cancel_button.on_click(self._cancel)
        if isinstance(run, RunRecord):
            self.cancel_button.layout.display = "none"
        self.pictures = Pictures()
        self._lines = ipywidgets.HTML()
        self.log = ipywidgets.Accordion(children=[self._lines], titles=("Log",), selected_index=None)
        self.log.observe(lambda _: self._show_log(), "selected_index")
        self.widget = ipywidgets.VBox(
            [
                ipywidgets.HBox([self._title, self.cancel_button]),
                *(self._table, self.pictures.widget, self.log),
            ]
        )
        self._stand_in: Any = None
        self._told: object = None
        self._running, self._asked = True, -_ASK
        self._look()
        self._follower = Background(self._follow, "recon3d-panel")
        self._follower.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the panel shows the run's end.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.
        """
        self._follower.wait(timeout)

    # --- the bars -------------------------------------------------------------------------------

    def _show(self, state: RunState, *, interrupted: bool = False) -> None:
        if list(self._rows) != list(state.stages):
            self._rows = {name: (_bar(name), ipywidgets.HTML()) for name in state.stages}
            self._table.children = [ipywidgets.HBox(row) for row in self._rows.values()]
        for name, (bar, text) in self._rows.items():
            stage = state.stages[name]
            cut = interrupted and stage.status == "running"
            stopped = cut or stage.status in ("failed", "cancelled")
            bar.value = min(stage.fraction, _STOPPED) if stopped else stage.fraction
            bar.bar_style = "warning" if cut else _STYLES.get(stage.status, "")
            text.value = html.escape("interrupted" if cut else describe(stage))
        status = "interrupted" if interrupted else state.status
        name = self.run.folder.parents[1].name
        line = (
            f'<b title="{html.escape(self.run.name)}">{html.escape(name)}</b> {status}, {state.fraction:.0%}'
        )
        if state.seconds is not None:
            line += f", {duration_text(state.seconds)} in all"
        elif state.started is not None and not interrupted:
            now = time.time()
            line += f", {duration_text(state.time_spent(now) or 0.0)} so far"
            if (left := state.time_left(now)) is not None:
                line += f", about {duration_text(left)} left"
        if state.error is not None:
            line += f"<br>{html.escape(state.error.message)} {html.escape(state.error.hint)}"
        elif interrupted:
            line += "<br>Its process has ended. Start the pipeline again to resume."
        self._title.value = line

    def _cancel(self, _: Any) -> None:
        if isinstance(self.run, Run):
            self.cancel_button.disabled = True
            self.cancel_button.description = "Cancelling"
            self.run.cancel()

    # --- pictures and log -----------------------------------------------------------------------

    def _folders(self, state: RunState) -> dict[str, StageFolder]:
        """Where the stages that have begun work or have worked."""
        root = self.run.folder.parents[1]
        folders = {}
        for name, stage in state.stages.items():
            if name in self._log.artifacts:
                folders[name] = StageFolder(root / self._log.artifacts[name], done=True)
            elif stage.started is not None:
                found = sorted((root / "work").glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
                if found:
                    folders[name] = StageFolder(found[-1], done=False)
        return folders

    def _show_log(self) -> None:
        if self.log.selected_index is not None:
            style = "max-height:18em;overflow:auto;line-height:1.3;font-size:12px"
            self._lines.value = f'<pre style="{style}">{html.escape(self._log.text())}</pre>'

    # --- following ------------------------------------------------------------------------------

    def _look(self) -> None:
        new = self._log.read()
        self._state = self.run.state if isinstance(self.run, Run) else fold(new, self._state)
        self._show(self._state)
        self._update_stand_in()
        if new:
            self._show_log()

    def _goes_on(self) -> bool:
        if isinstance(self.run, Run):
            return self.run.running
        if self._state.ended is not None:
            return False
        if time.monotonic() - self._asked >= _ASK:
            self._asked = time.monotonic()
            self._running = self.run.running
        return self._running

    def _follow(self) -> None:
        ended = threading.Event()
        while self._goes_on():
            self._look()
            self._look_at_pictures()
            ended.wait(self._interval)
        self._look()
        self._look_at_pictures(now=True)
        self._show_log()
        self._show(self._state, interrupted=self._state.ended is None and isinstance(self.run, RunRecord))
        self._tell_why_not_begun()
        self.cancel_button.disabled = True
        self.cancel_button.description = "Cancel"

    def _look_at_pictures(self, *, now: bool = False) -> None:
        try:
            folders = self._folders(self._state)
        except OSError:  # a folder was renamed while we looked
            return
        self.pictures.look(folders, now=now)

    def _tell_why_not_begun(self) -> None:
        """A run that could not even take its project's lock has no events."""
        if isinstance(self.run, Run) and not self._state.stages and self._state.error is None:
            try:
                self.run.wait()
            except Recon3DError as error:
                self._title.value += f"<br>{html.escape(error.message)} {html.escape(error.hint)}"

    def _ipython_display_(self) -> None:
        self._stand_in = show_with(self.widget, self._words())

    def _words(self) -> dict[str, str]:
        """What is left of the panel when the kernel is gone: the last state that it told."""
        when = "" if self._state.ended else f"As of {time.strftime('%H:%M:%S')}."
        state = replace(self._state, run=self.run.name)
        return {"text/html": state.html(state.status) + when, "text/plain": repr(self.run)}

    def _update_stand_in(self) -> None:
        """At each stage's beginning and end, and at the run's."""
        told = [(stage.status, stage.name) for stage in self._state.stages.values()], self._state.status
        if self._stand_in is not None and told != self._told:
            self._told = told
            self._stand_in.update(self._words(), raw=True)


def describe(stage: StageState) -> str:
    """Describe a stage's count, remaining time and memory.

    Parameters
    ----------
    stage : StageState

    Returns
    -------
    str
    """
    parts: list[str] = [stage.status]
    if stage.status == "running":
        parts = [stage.counted]
        if stage.eta is not None:
            minutes, seconds = divmod(round(stage.eta), 60)
            parts.append(f"{minutes}:{seconds:02d} left")
    if stage.status == "skipped":
        parts = [stage.message]
    if stage.seconds is not None:
        parts.append(f"{'took ' if stage.status == 'skipped' else ''}{stage.seconds:.1f} s")
    if stage.peak_memory:
        parts.append(f"{stage.peak_memory / 1e9:.2f} GB")
    if stage.error is not None:
        parts.append(stage.error.message)
    return ", ".join(parts)


def _bar(name: str) -> Any:
    return ipywidgets.FloatProgress(
        max=1.0,
        description=name.replace("_", " "),
        style={"description_width": "12em"},
        layout={"width": "30em"},
    )

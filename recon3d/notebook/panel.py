"""The progress of a run, as widgets; the kernel stays free."""

from __future__ import annotations

import html
import threading
from typing import Any

from recon3d.errors import EngineUnavailable
from recon3d.events import RunState, StageState
from recon3d.run import Run

try:
    import ipywidgets
except ImportError as error:
    raise EngineUnavailable(
        "The progress panel needs ipywidgets, which is not installed.", "pip install 'recon3d[notebook]'"
    ) from error

_STYLES = {"completed": "success", "skipped": "success", "failed": "danger", "cancelled": "warning"}


class Panel:
    """One row a stage, and Cancel.

    Parameters
    ----------
    run : Run
        The panel follows it in a thread of its own until its end.
    interval : float
        Seconds between two looks at the run.
    """

    def __init__(self, run: Run, interval: float = 0.3) -> None:
        self.run = run
        self._interval = interval
        self._rows: dict[str, tuple[Any, Any]] = {}
        self._table = ipywidgets.VBox()
        self._title = ipywidgets.HTML()
        self.cancel_button = ipywidgets.Button(description="Cancel", icon="stop")
        self.cancel_button.on_click(self._cancel)
        self.widget = ipywidgets.VBox([ipywidgets.HBox([self._title, self.cancel_button]), self._table])
        self.update(run.state)
        self._thread = threading.Thread(target=self._follow, name="recon3d-panel", daemon=True)
        self._thread.start()

    def update(self, state: RunState) -> None:
        """Show a state."""
        if list(self._rows) != list(state.stages):
            self._rows = {name: (_bar(name), ipywidgets.HTML()) for name in state.stages}
            self._table.children = [ipywidgets.HBox(row) for row in self._rows.values()]
        for name, (bar, text) in self._rows.items():
            stage = state.stages[name]
            bar.value = stage.fraction
            bar.bar_style = _STYLES.get(stage.status, "")
            text.value = html.escape(describe(stage))
        line = f"<b>{html.escape(state.run)}</b> {state.status}, {state.fraction:.0%}"
        if state.error is not None:
            line += f"<br>{html.escape(state.error.message)} {html.escape(state.error.hint)}"
        self._title.value = line

    def join(self, timeout: float | None = None) -> None:
        """Wait until the panel shows the run's end."""
        self._thread.join(timeout)

    def _cancel(self, _: Any) -> None:
        self.cancel_button.disabled = True
        self.cancel_button.description = "Cancelling"
        self.run.cancel()

    def _follow(self) -> None:
        ended = threading.Event()
        while self.run.running:
            self.update(self.run.state)
            ended.wait(self._interval)
        self.update(self.run.state)
        self.cancel_button.disabled = True
        self.cancel_button.description = "Cancel"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)  # type: ignore[no-untyped-call]


def describe(stage: StageState) -> str:
    """A stage's count, rest of time and memory in words."""
    parts: list[str] = [stage.status]
    if stage.status == "running" and stage.total > 0:
        parts = [f"{stage.done:g} of {stage.total:g} {stage.unit}".strip()]
        if stage.eta is not None:
            minutes, seconds = divmod(round(stage.eta), 60)
            parts.append(f"{minutes}:{seconds:02d} left")
    if stage.ended is not None and stage.started is not None:
        parts.append(f"{stage.ended - stage.started:.1f} s")
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

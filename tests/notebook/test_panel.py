"""The progress panel on the side of Python."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from recon3d.events import (
    EventLog,
    RunCancelled,
    RunStarted,
    RunState,
    StageCompleted,
    StageProgress,
    StageStarted,
    fold,
    read_events,
)

pytest.importorskip("ipywidgets", reason="needs recon3d[notebook]")

from recon3d.notebook.panel import Panel


class _Run:
    """A run whose events the test writes itself, with the real log."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.jsonl"
        self.log = EventLog(self.path, "run-1")
        self.over = threading.Event()

    @property
    def state(self) -> RunState:
        return fold(read_events(self.path))

    @property
    def running(self) -> bool:
        return not self.over.is_set()

    def cancel(self) -> None:
        self.log.emit(RunCancelled())
        self.over.set()


def test_the_panel_moves_with_the_run_and_its_button_cancels(tmp_path: Path) -> None:
    run: Any = _Run(tmp_path)
    run.log.emit(RunStarted(stages=("frame_extraction", "texturing"), quality="low", version="1"))
    run.log.emit(StageStarted(stage="frame_extraction"))
    run.log.emit(
        StageCompleted(
            stage="frame_extraction",
            artifact="a",
            seconds=1,
            cpu_seconds=1,
            peak_memory=2_000_000_000,
            counts={},
            fallbacks=(),
        )
    )
    run.log.emit(StageStarted(stage="texturing"))
    run.log.emit(StageProgress(stage="texturing", done=3, total=4, unit="views", rate=1, eta=61))
    panel = Panel(run, interval=0.02)
    rows = [row.children for row in panel.widget.children[1].children]
    assert [bar.value for bar, _ in rows] == [1.0, 0.75]
    assert "2.00 GB" in rows[0][1].value
    assert rows[1][1].value == "3 of 4 views, 1:01 left"
    panel.cancel_button.click()
    panel.join(10)
    assert not run.running
    assert rows[1][0].bar_style == "warning"
    assert "cancelled" in panel.widget.children[0].children[0].value

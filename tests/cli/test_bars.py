"""The bars that a terminal shows while a run works."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from recon3d import events as ev
from recon3d.cli.terminal import event_printer


def test_the_whole_run_has_a_bar_with_its_time_left() -> None:
    text = StringIO()
    console = Console(file=text, force_terminal=True, width=120, color_system=None)
    with event_printer(console) as printer:
        stages = ("dense_reconstruction", "texturing")
        for event in (
            ev.RunStarted(seq=1, time=0, stages=stages, quality="low", version="1"),
            ev.TimesForetold(seq=2, time=0, seconds={"dense_reconstruction": 60, "texturing": 180}),
            ev.StageStarted(seq=3, time=0, stage="dense_reconstruction"),
        ):
            printer(event)
        bars = printer._progress.tasks  # type: ignore[attr-defined]
        assert [(bar.description, bar.fields["eta"]) for bar in bars] == [
            ("whole run", "about 4 min 00 s left"),
            ("dense_reconstruction", ""),
        ]
        printer(ev.StageProgress(seq=4, time=30, stage="dense_reconstruction", done=2, total=4))
        assert bars[0].completed == 12
        assert bars[0].fields["eta"] == "about 3 min 30 s left"
        printer(ev.RunCancelled(seq=5, time=31))
        assert [bar.description for bar in printer._progress.tasks] == ["dense_reconstruction"]  # type: ignore[attr-defined]

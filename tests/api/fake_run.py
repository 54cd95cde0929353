"""Stands in for `recon3d run` where a test is about the runner: genuine events, stages of sleep.

It takes the command line that the runner makes, and keeps a file for each finished stage, as the
real one keeps artifacts, so that a killed run resumes. What it should do is in ``behaviour.json``
beside the project: ``seconds`` a stage, ``steps``, ``fail``, its ``hint`` and the percentage ``fail_at``,
``crash``, ``crash_once``, ``hold`` (until there is a file ``go`` beside it; for a file ``step`` it tells
that it is at 25 %) and ``stubborn`` (stages), ``verdict`` (a level), ``fallbacks`` (by stage),
``foretold`` (seconds of each stage).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from recon3d import Project, events
from recon3d.cli.terminal import event_printer
from recon3d.stage_table import STAGE_NAMES


def command_for(quality: str, until: str | None, root: Path) -> list[str]:
    """What a runner starts in the place of recon3d."""
    # As text: what is confined reads the installation, which the tests may not be part of.
    source = Path(__file__).read_text()
    command = [sys.executable, "-c", source, "run", "-o", str(root / "model"), "--quality", quality]
    return [*command, *(["--until", until] if until else [])]


class Cancelled(Exception):
    """SIGTERM came."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("-o", dest="project", type=Path)
    parser.add_argument("--quality")
    parser.add_argument("--until", default=STAGE_NAMES[-1])
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--engine")
    parser.add_argument("--events", action="store_true")
    arguments = parser.parse_args()
    # The marker of a run tells how often it was begun, by whom, and that none overlaps another.
    root = arguments.project.parent
    behaviour = {"seconds": 0.05, "steps": 3}
    if (root / "behaviour.json").exists():
        behaviour |= json.loads((root / "behaviour.json").read_text())
    with open(root / "begun", "a") as file:
        file.write(f"{os.getpid()}\n")

    def on_sigterm(number: int, frame: object) -> None:
        if not behaviour.get("stubborn"):
            raise Cancelled

    signal.signal(signal.SIGTERM, on_sigterm)
    project = Project.create(arguments.project, exist_ok=True)
    with event_printer(None, as_json=True) as printer, project.lock():  # type: ignore[arg-type]
        name = f"{time.time_ns()}"
        log = events.EventLog(project.path / "runs" / name / "events.jsonl", name, printer)
        sys.stderr.write(f"hello from {project.path}\n")
        go(log, root, arguments.until, arguments.quality, behaviour)


def go(log: events.EventLog, root: Path, until: str, quality: str, behaviour: dict) -> None:
    done = root / "done"
    done.mkdir(exist_ok=True)
    stages = STAGE_NAMES[: STAGE_NAMES.index(until) + 1]
    log.emit(events.RunStarted(stages=stages, quality=quality, version="fake"))
    if foretold := behaviour.get("foretold"):
        log.emit(events.TimesForetold(seconds=dict.fromkeys(stages, foretold)))
    try:
        for stage in stages:
            if (done / stage).exists():
                log.emit(events.StageSkipped(stage=stage, reason="up to date"))
                continue
            log.emit(events.StageStarted(stage=stage))
            if stage == behaviour.get("crash"):
                os.kill(os.getpid(), signal.SIGKILL)
            if stage == behaviour.get("crash_once") and not (root / "crashed").exists():
                (root / "crashed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if stage == behaviour.get("fail"):
                if at := behaviour.get("fail_at"):
                    log.emit(events.StageProgress(stage=stage, done=at, total=100, unit="%"))
                error = events.Failure(
                    type="StageError",
                    message=f"{root}/model/x.jpg is bad.",
                    hint=behaviour.get("hint", "Mend it."),
                    log_tail="last words",
                )
                log.emit(events.StageFailed(stage=stage, error=error))
                log.emit(events.RunFailed(error=error))
                sys.exit(1)
            if stage == behaviour.get("helper"):
                # As a worker process would: in another session, ignoring everything.
                subprocess.Popen(
                    [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
                )
            steps = behaviour["steps"]
            for step in range(steps):
                time.sleep(behaviour["seconds"] / steps)
                log.emit(events.StageProgress(stage=stage, done=step + 1, total=steps, unit="views"))
            while stage == behaviour.get("hold") and not (root / "go").exists():
                time.sleep(0.05)
                if (root / "step").exists():
                    (root / "step").unlink()
                    log.emit(events.StageProgress(stage=stage, done=25, total=100, unit="%"))
            (done / stage).touch()
            if "verdict" in behaviour and stage in ("sparse_reconstruction", stages[-1]):
                log.emit(
                    events.VerdictReached(
                        stage=stage,
                        level=behaviour["verdict"],
                        sentences=("Only 26 of 46 images could be placed.",),
                        advice=("Film again.",),
                    )
                )
            log.emit(
                events.StageCompleted(
                    stage=stage,
                    artifact=f"artifacts/{stage}",
                    seconds=behaviour["seconds"],
                    cpu_seconds=behaviour["seconds"],
                    peak_memory=1 << 20,
                    counts={"frames": behaviour.get("frames", 12), "images": 12},
                    fallbacks=tuple(behaviour.get("fallbacks", {}).get(stage, ())),
                )
            )
        log.emit(events.RunCompleted(results={}, seconds=1.0))
    except Cancelled:
        log.emit(events.RunCancelled())
        sys.exit(130)


if __name__ == "__main__":
    main()

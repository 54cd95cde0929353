"""What kept runs would have told as their time left, against what was left.

``python -m tests.benchmarks.time_left KEPT`` reads the runs that `preflight_times` keeps, puts into each
log what the run would have foretold by prices that do not know its set, and prints told / real at parts
of the run, and how much the told end moved, as a share of the run.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from recon3d.events import (
    Event,
    InputsChecked,
    RunState,
    StageCompleted,
    StageStarted,
    TimesForetold,
    fold,
    read_events,
)
from recon3d.options import resolve_options
from recon3d.preflight.cost import estimate
from recon3d.preflight.foretelling import foretell
from recon3d.project.project import Project
from tests.benchmarks.preflight_times import Prices, Run, fit, in_use, read_run, speed_of

MARKS = (0.1, 0.25, 0.5, 0.75, 0.9)


def with_foretold(run: Run, folder: Path, prices: Prices) -> list[Event]:
    """Events of a kept run, with what it would foretell by prices."""
    events: list[Event] = []
    with in_use(prices):
        options, speed = resolve_options(run.quality), speed_of(run, prices)
        first = estimate(run.quality, run.job, options, speed, run.workers).stages
        kept = {artifact.stage: artifact for artifact in Project.open(folder).store.all()}
        done = {}
        for event in read_events(next(folder.glob("runs/*/events.jsonl"))):
            if isinstance(event, StageStarted) and done:
                told = foretell(done, options, run.workers, speed.factors)
                events.append(TimesForetold(time=event.time, seconds=told))
            events.append(event)
            if isinstance(event, InputsChecked):
                events.append(TimesForetold(time=event.time, seconds=first))
            if isinstance(event, StageCompleted):
                done[event.stage] = kept[event.stage]
    return [event.model_copy(update={"seq": i + 1}) for i, event in enumerate(events)]


def replay(events: list[Event]) -> tuple[dict[float, float], float]:
    """Told / real at each mark, and how much the told end moved, looked at once a second."""
    begin, end = events[0].time, events[-1].time
    state, place, moved, before = RunState(), 0, 0.0, None
    ratios: dict[float, float] = {}
    for second in range(int(end - begin)):
        now = begin + second
        while events[place].time <= now:
            state = fold([events[place]], state)
            place += 1
        left = state.time_left(now)
        if left is None:
            continue
        moved += 0.0 if before is None else abs(now + left - before)
        before = now + left
        for mark in MARKS:
            if mark not in ratios and second >= mark * (end - begin):
                ratios[mark] = left / (end - now)
    return ratios, moved / (end - begin)


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kept", type=Path)
    given = parser.parse_args()
    runs = [(path, run) for path in sorted(given.kept.iterdir()) if (run := read_run(path)) is not None]
    rows = []
    for path, run in runs:
        prices = fit([other for _, other in runs if other.set != run.set])
        ratios, moved = replay(with_foretold(run, path, prices))
        rows.append((ratios, moved))
        told = "  ".join(f"{ratio:.2f}" for ratio in ratios.values())
        print(f"{path.name:<18}{told}   the end moved by {moved:.2f}")
    print()
    for mark in MARKS:
        found = [ratios[mark] for ratios, _ in rows if mark in ratios]
        wrong = [max(ratio, 1 / ratio) for ratio in found]
        print(
            f"at {mark:.0%}: told / real {statistics.median(found):.2f} (median of {len(found)}), "
            f"wrong by {statistics.median(wrong):.2f}, by {max(wrong):.2f} at most"
        )
    print(f"the end moved by {statistics.median(moved for _, moved in rows):.2f}")


if __name__ == "__main__":
    main()

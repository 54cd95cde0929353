"""Events of a run, their log, and the state that they add up to.

A run writes its events to ``events.jsonl``; notebooks, the command line and the service read them
there or as they happen. `fold` is the only place where progress is computed from events, so live
and replayed views agree.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from recon3d.rendering.formatting import Described, byte_text, card, duration_text, grid
from recon3d.stage_table import STAGES

VerdictLevel = Literal["good", "doubtful", "unusable"]
CheckLevel = Literal["good", "doubtful", "hopeless"]

#: Shares of a run's time where nothing is foretold.
_WEIGHTS: dict[str, float] = {stage.name: stage.weight for stage in STAGES}
#: What the foretold pace weighs against the measured one, in parts of the whole foretold run.
_DOUBT = 0.1
#: Its time is mostly that of the workers' start, which tells nothing of the later stages.
_PACELESS = "frame_extraction"
#: Done of a stage of which nothing is foretold, before its own pace tells what is left of it.
_TELLING = 0.1


class Failure(BaseModel):
    """An error, as events and reports carry it."""

    model_config = ConfigDict(frozen=True)

    type: str
    message: str
    hint: str = ""
    log_tail: str = ""


class BaseEvent(BaseModel):
    """Fields of every event.

    `time` is that of the machine's clock, which may be set meanwhile; `clock` counts seconds from the run's
    first event by one that nobody sets. Earlier versions wrote no `clock`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    seq: int = 0
    time: float = 0.0
    run: str = ""
    clock: float | None = None


class RunStarted(BaseEvent):
    """A run begins; `stages` are those that it will go through, `notes` say what inputs were left out."""

    type: Literal["run_started"] = "run_started"
    stages: tuple[str, ...]
    quality: str
    version: str
    notes: tuple[str, ...] = ()


class StageStarted(BaseEvent):
    """A stage begins."""

    type: Literal["stage_started"] = "stage_started"
    stage: str


class StageProgress(BaseEvent):
    """A stage makes progress; `rate` is in units a second and `eta` in seconds."""

    type: Literal["stage_progress"] = "stage_progress"
    stage: str
    done: float
    total: float
    unit: str = ""
    message: str = ""
    rate: float | None = None
    eta: float | None = None


class StageSkipped(BaseEvent):
    """A stage has nothing to do; `reason` says why, the costs are those of the run that did the work."""

    type: Literal["stage_skipped"] = "stage_skipped"
    stage: str
    reason: str
    artifact: str | None = None
    seconds: float | None = None
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    counts: dict[str, Any] = Field(default_factory=dict)


class StageCompleted(BaseEvent):
    """A stage is done; `artifact` is its folder, relative to the project's."""

    type: Literal["stage_completed"] = "stage_completed"
    stage: str
    artifact: str
    seconds: float
    cpu_seconds: float
    peak_memory: int
    counts: dict[str, Any]
    fallbacks: tuple[str, ...]


class StageFailed(BaseEvent):
    """A stage failed."""

    type: Literal["stage_failed"] = "stage_failed"
    stage: str
    error: Failure


class InputsChecked(BaseEvent):
    """The inputs were looked at before the first stage; `level` says whether they can make a model."""

    type: Literal["inputs_checked"] = "inputs_checked"
    level: CheckLevel
    sentences: tuple[str, ...]
    advice: tuple[str, ...]


class TimesForetold(BaseEvent):
    """How long stages are expected to take, those that are done included: `seconds` by stage."""

    type: Literal["times_foretold"] = "times_foretold"
    seconds: dict[str, float]


class VerdictReached(BaseEvent):
    """How far the model can be trusted after a stage; `sentences` give the reasons."""

    type: Literal["verdict_reached"] = "verdict_reached"
    stage: str
    level: VerdictLevel
    sentences: tuple[str, ...]
    advice: tuple[str, ...]


class RunCompleted(BaseEvent):
    """The run is done; `results` are files by name, relative to the project's folder."""

    type: Literal["run_completed"] = "run_completed"
    results: dict[str, str]
    seconds: float


class RunFailed(BaseEvent):
    """The run ended with an error."""

    type: Literal["run_failed"] = "run_failed"
    error: Failure


class RunCancelled(BaseEvent):
    """The run was cancelled."""

    type: Literal["run_cancelled"] = "run_cancelled"


Event = Annotated[
    RunStarted
    | StageStarted
    | StageProgress
    | StageSkipped
    | StageCompleted
    | StageFailed
    | InputsChecked
    | TimesForetold
    | VerdictReached
    | RunCompleted
    | RunFailed
    | RunCancelled,
    Field(discriminator="type"),
]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


def parse_event(line: str | bytes) -> Event:
    """Parse one event.

    Parameters
    ----------
    line : str or bytes
        JSON text.

    Returns
    -------
    Event
        Of the class that its ``type`` names.
    """
    return _ADAPTER.validate_json(line)


class EventLog:
    """The one writer of a run's events.

    Parameters
    ----------
    path : Path
        File that the events are appended to, a JSON object a line.
    run : str
        Name of the run.
    listener : callable, optional
        Receives every event.
    """

    def __init__(self, path: Path, run: str, listener: Callable[[Event], None] | None = None) -> None:
        self.path = path
        self.run = run
        self._listener = listener
        self._seq = 0
        self._began: float | None = None
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def emit(self, event: Event) -> Event:
        """Number, date and append an event, then pass it to the listener.

        Parameters
        ----------
        event : Event
            Its ``seq``, ``time``, ``run`` and ``clock`` are replaced.

        Returns
        -------
        Event
            The event as written.
        """
        with self._lock:
            self._seq += 1
            now = time.monotonic()
            self._began = now if self._began is None else self._began
            clock = round(now - self._began, 3)
            own = {"seq": self._seq, "time": time.time(), "run": self.run, "clock": clock}
            stamped: Event = event.model_copy(update=own)
            try:
                with open(self.path, "a", encoding="utf-8") as file:
                    file.write(stamped.model_dump_json() + "\n")
            except OSError:
                # A full disk must not hide the error that it causes: listeners are still told.
                pass
        if self._listener is not None:
            self._listener(stamped)
        return stamped


def read_events(path: Path, after: int = 0) -> list[Event]:
    """Read the events of a log; an incomplete last line is skipped.

    Parameters
    ----------
    path : Path
        An ``events.jsonl``.
    after : int
        Only events with a higher ``seq``.

    Returns
    -------
    list of Event
    """
    if not path.exists():
        return []
    events = []
    with open(path, "rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                event = parse_event(line)
            except ValidationError:
                continue  # of a newer version, or damaged by a full disk
            if event.seq > after:
                events.append(event)
    return events


def follow_events(path: Path, after: int = 0, poll: float = 0.2) -> Iterator[Event]:
    """Yield the events of a log as they are written, until the run ends.

    Parameters
    ----------
    path : Path
        An ``events.jsonl``.
    after : int
        Only events with a higher ``seq``.
    poll : float
        Seconds between looks at the file.

    Yields
    ------
    Event
    """
    while True:
        for event in read_events(path, after):
            after = event.seq
            yield event
            if isinstance(event, RunCompleted | RunFailed | RunCancelled):
                return
        time.sleep(poll)


StageStatus = Literal["pending", "running", "skipped", "completed", "failed", "cancelled"]
RunStatus = Literal["pending", "running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, repr=False)
class StageState(Described):
    """How far a stage is; `seconds` is what its work took, in an earlier run if it was skipped.

    `began` is the run's own clock at its start, and `took` how long it took by that, with what it waited for.
    """

    name: str
    status: StageStatus = "pending"
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    message: str = ""
    rate: float | None = None
    eta: float | None = None
    started: float | None = None
    ended: float | None = None
    fraction: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    counts: dict[str, Any] = field(default_factory=dict)
    error: Failure | None = None
    seconds: float | None = None
    began: float | None = None
    took: float | None = None

    @property
    def counted(self) -> str:
        """What is done of how much, in words; "starting" while nothing can be counted."""
        if self.total <= 0:
            return "starting"
        if self.unit == "%":
            return f"{self.done:.0f} %"
        return f"{self.done:g} of {self.total:g} {self.unit}".rstrip()

    def _facts(self) -> list[str]:
        facts = [self.name.replace("_", " "), self.status]
        if self.status == "running":
            facts.append(self.counted)
        if self.seconds is not None:
            facts.append(f"{'took ' if self.status == 'skipped' else ''}{self.seconds:.1f} s")
        elif self.started is not None and self.ended is not None:
            facts.append(f"{self.ended - self.started:.1f} s")
        if self.peak_memory:
            facts.append(byte_text(self.peak_memory))
        return facts if self.error is None else [*facts, self.error.message]


@dataclass(frozen=True, repr=False)
class RunState(Described):
    """How far a run is: what its events add up to; `time` and `clock` are those of the last one."""

    run: str = ""
    status: RunStatus = "pending"
    quality: str = ""
    stages: dict[str, StageState] = field(default_factory=dict)
    started: float | None = None
    ended: float | None = None
    fraction: float = 0.0
    seq: int = 0
    error: Failure | None = None
    results: dict[str, str] = field(default_factory=dict)
    foretold: dict[str, float] = field(default_factory=dict)
    check: InputsChecked | None = None
    verdict: VerdictReached | None = None
    time: float = 0.0
    clock: float | None = None

    @property
    def current(self) -> StageState | None:
        """The stage that is running."""
        return next((s for s in self.stages.values() if s.status == "running"), None)

    @property
    def seconds(self) -> float | None:
        """How long the run took; None before its end."""
        return None if self.ended is None else self.time_spent(self.ended)

    def time_spent(self, now: float) -> float | None:
        """How long the run has taken, whatever was done to the machine's clock before the last event.

        Parameters
        ----------
        now : float
            Seconds since the epoch, as `time.time` gives them.

        Returns
        -------
        float or None
            Seconds, without those that the machine slept, as far as the system tells; None before its start.
        """
        return None if self.started is None else self._since(0.0, self.started, now)

    def _since(self, began: float | None, started: float, now: float) -> float:
        """Seconds since a moment of the run's own clock; since one of the machine's where it has none."""
        if self.clock is None or began is None:
            return max(now - started, 0.0)
        return self.clock - began + max(now - self.time, 0.0)

    def time_left(self, now: float) -> float | None:
        """How long the run still takes: what was foretold, corrected by what this run has measured.

        Finished stages say how fast the run is against what was foretold. The further a stage is, the
        more its own pace counts.

        Parameters
        ----------
        now : float
            Seconds since the epoch, as `time.time` gives them.

        Returns
        -------
        float or None
            Seconds; None when the run does not work, and while of a stage that is to come, or has hardly
            begun, nothing is foretold.
        """
        if self.status != "running" or not self.foretold:
            return None
        known = {name: self.foretold[name] for name in self.stages if name in self.foretold}
        expected = measured = _DOUBT * sum(known.values())
        for name, seconds in known.items():
            stage = self.stages[name]
            if stage.status != "completed" or name == _PACELESS:
                continue
            if stage.started is not None and stage.ended is not None:
                expected += seconds
                # Without a clock of the run's own, the machine's may have been set back meanwhile.
                wall = max(stage.ended - stage.started, stage.seconds or 0.0)
                measured += wall if stage.took is None else stage.took
        pace = measured / expected if expected > 0 else 1.0
        left = 0.0
        for name, stage in self.stages.items():
            if stage.status == "pending":
                if name not in known:
                    return None
                left += known[name] * pace
            elif stage.status == "running" and stage.started is not None:
                done, elapsed = stage.fraction, self._since(stage.began, stage.started, now)
                if name in known:
                    # What is foretold of it and its own pace, elapsed / done, weighed by done².
                    left += (1 - done) * ((1 - done**2) * known[name] * pace + done * elapsed)
                elif done < _TELLING:
                    return None
                else:
                    left += (1 - done) * elapsed / done
        return left

    def _facts(self) -> list[str]:
        facts = [f"{self.run} {self.status}".lstrip(), f"{self.fraction:.0%}"]
        if self.seconds is not None:
            facts.append(f"{duration_text(self.seconds)} in all")
        if self.error is not None:
            return [*facts, self.error.message]
        return facts if self.current is None else [*facts, *self.current._facts()]

    def _repr_html_(self) -> str:
        return self.html(self.status)

    def html(self, status: str) -> str:
        """Render the state as HTML.

        Parameters
        ----------
        status : str
            Status to show; events do not tell that a run was interrupted.

        Returns
        -------
        str
        """
        total = "" if self.seconds is None else f", {duration_text(self.seconds)} in all"
        lines = [f"{self.run} {status}, {self.fraction:.0%}{total}"]
        if self.error is not None:
            lines += [self.error.message, self.error.hint]
        elif self.verdict is not None and self.verdict.level != "good":
            lines += [f"Verdict: {self.verdict.level}.", *self.verdict.sentences, *self.verdict.advice]
        rows = []
        for stage in self.stages.values():
            name, told, *more = stage._facts()
            rows.append((name, status if stage is self.current else told, ", ".join(more)))
        return card("Run", lines, table=grid(["stage", "state", ""], rows))


def fold(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """Add events to a state.

    Parameters
    ----------
    events : iterable of Event
    state : RunState, optional
        State to start from; events that it knows already change nothing.

    Returns
    -------
    RunState
        Its fractions never go backwards.
    """
    state = state or RunState()
    for event in events:
        if event.seq > state.seq:
            state = replace(_apply(state, event), seq=event.seq, time=event.time, clock=event.clock)
    return state


def _apply(state: RunState, event: Event) -> RunState:
    if isinstance(event, RunStarted):
        stages = {name: StageState(name) for name in event.stages}
        return replace(
            state,
            run=event.run,
            status="running",
            quality=event.quality,
            stages=stages,
            started=event.time,
        )
    if isinstance(event, RunCompleted):
        return replace(state, status="completed", ended=event.time, fraction=1.0, results=event.results)
    if isinstance(event, RunFailed):
        return replace(state, status="failed", ended=event.time, error=event.error)
    if isinstance(event, RunCancelled):
        stages = {
            name: replace(s, status="cancelled") if s.status in ("running", "pending") else s
            for name, s in state.stages.items()
        }
        return replace(state, status="cancelled", ended=event.time, stages=stages)
    if isinstance(event, InputsChecked):
        return replace(state, check=event)
    if isinstance(event, TimesForetold):
        return replace(state, foretold={**state.foretold, **event.seconds})
    if isinstance(event, VerdictReached):
        return replace(state, verdict=event)
    stage = state.stages.get(event.stage, StageState(event.stage))
    if isinstance(event, StageStarted):
        stage = replace(stage, status="running", started=event.time, began=event.clock)
    elif isinstance(event, StageProgress):
        fraction = event.done / event.total if event.total > 0 else 0.0
        stage = replace(
            stage,
            done=event.done,
            total=event.total,
            unit=event.unit,
            message=event.message or stage.message,
            rate=event.rate,
            eta=event.eta,
            fraction=min(max(stage.fraction, fraction), 1.0),
        )
    elif isinstance(event, StageSkipped):
        stage = replace(
            stage,
            status="skipped",
            message=event.reason,
            ended=event.time,
            fraction=1.0,
            eta=None,
            cpu_seconds=event.cpu_seconds,
            peak_memory=event.peak_memory,
            counts=event.counts,
            seconds=event.seconds,
        )
    elif isinstance(event, StageCompleted):
        stage = replace(
            stage,
            status="completed",
            ended=event.time,
            fraction=1.0,
            eta=None,
            cpu_seconds=event.cpu_seconds,
            peak_memory=event.peak_memory,
            counts=event.counts,
            seconds=event.seconds,
            took=None if event.clock is None or stage.began is None else event.clock - stage.began,
        )
    else:
        stage = replace(stage, status="failed", ended=event.time, error=event.error, eta=None)
    stages = {**state.stages, event.stage: stage}
    return replace(state, stages=stages, fraction=max(state.fraction, _overall(stages, state.foretold)))


def _overall(stages: dict[str, StageState], foretold: dict[str, float]) -> float:
    # Seconds of some stages and usual shares of the others do not go together.
    known = foretold if all(name in foretold for name in stages) else _WEIGHTS
    weights = {name: known.get(name) or 0.1 for name in stages}
    return sum(weights[name] * stage.fraction for name, stage in stages.items()) / sum(weights.values())

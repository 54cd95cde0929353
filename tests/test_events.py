"""The event log and the state that events add up to."""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon3d import events as ev
from recon3d import stage_table

STAGES = ("frame_extraction", "texturing")


def _run(log: ev.EventLog) -> None:
    log.emit(ev.RunStarted(stages=STAGES, quality="low", version="1"))
    log.emit(ev.StageSkipped(stage="frame_extraction", reason="up to date"))
    log.emit(ev.StageStarted(stage="texturing"))
    log.emit(ev.StageProgress(stage="texturing", done=1, total=4, unit="views", rate=0.5, eta=6))


def test_replayed_events_give_the_live_state(tmp_path: Path) -> None:
    live = ev.RunState()

    def listen(event: ev.Event) -> None:
        nonlocal live
        live = ev.fold([event], live)

    path = tmp_path / "run" / "events.jsonl"
    _run(ev.EventLog(path, "r1", listen))
    assert ev.fold(ev.read_events(path)) == live
    assert live.status == "running"
    assert live.current is not None
    assert live.current.name == "texturing"
    assert live.current.eta == 6
    assert 0.0 < live.fraction < 1.0
    assert live.stages["frame_extraction"].status == "skipped"


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    _run(ev.EventLog(path, "r1"))
    whole = ev.read_events(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert ev.read_events(path) == whole[:-1]
    assert ev.read_events(path, after=2) == whole[2:-1]


def test_cancelling_ends_what_was_not_finished(tmp_path: Path) -> None:
    log = ev.EventLog(tmp_path / "events.jsonl", "r1")
    _run(log)
    log.emit(ev.RunCancelled())
    state = ev.fold(ev.read_events(log.path))
    assert [stage.status for stage in state.stages.values()] == ["skipped", "cancelled"]


@given(st.lists(st.tuples(st.sampled_from(STAGES), st.floats(0, 120), st.floats(0, 100)), max_size=30))
def test_progress_never_goes_backwards(points: list[tuple[str, float, float]]) -> None:
    stream: list[ev.Event] = [ev.RunStarted(seq=1, stages=STAGES, quality="low", version="1")]
    stream += [
        ev.StageProgress(seq=i + 2, stage=stage, done=done, total=total)
        for i, (stage, done, total) in enumerate(points)
    ]
    states = list(itertools.accumulate(stream, lambda s, e: ev.fold([e], s), initial=ev.RunState()))
    fractions = [state.fraction for state in states]
    assert fractions == sorted(fractions)
    assert all(0 <= f <= 1 for f in fractions)
    assert ev.fold(stream, states[-1]) == states[-1]


def streams() -> st.SearchStrategy[list[ev.Event]]:
    """Any events of a run, in any order, after its start."""
    stage = st.sampled_from(STAGES)
    failure = ev.Failure(type="StageError", message="m", hint="h")
    number = st.floats(0, 100)
    event = st.one_of(
        st.builds(ev.StageStarted, stage=stage),
        st.builds(ev.StageProgress, stage=stage, done=number, total=number, message=st.text(max_size=3)),
        st.builds(ev.StageSkipped, stage=stage, reason=st.just("up to date")),
        st.builds(
            ev.StageCompleted,
            stage=stage,
            seconds=number,
            cpu_seconds=number,
            peak_memory=st.integers(0, 10**9),
            counts=st.just({"faces": 3}),
        ),
        st.builds(ev.StageFailed, stage=stage, error=st.just(failure)),
        st.builds(ev.TimesForetold, seconds=st.dictionaries(stage, number)),
        st.builds(ev.RunCompleted, results=st.just({"mesh": "mesh.ply"}), seconds=number),
        st.builds(ev.RunFailed, error=st.just(failure)),
        st.builds(ev.RunCancelled),
    )
    return st.lists(event, max_size=20).map(
        lambda events: [ev.RunStarted(stages=STAGES, quality="low", version="1"), *events]
    )


@given(streams(), st.data())
@settings(max_examples=60)
def test_live_and_replayed_states_are_equal_and_never_go_backwards(
    events: list[ev.Event], data: st.DataObject
) -> None:
    live = ev.RunState()
    fractions = []

    def listen(event: ev.Event) -> None:
        nonlocal live
        live = ev.fold([event], live)
        fractions.append([live.fraction, *(stage.fraction for stage in live.stages.values())])

    with tempfile.TemporaryDirectory() as folder:
        log = ev.EventLog(Path(folder) / "events.jsonl", "r1", listen)
        for event in events:
            log.emit(event)
        replayed = ev.read_events(log.path)
    assert ev.fold(replayed) == live
    for before, after in itertools.pairwise(fractions):
        assert all(b <= a <= 1 for b, a in zip(before, after, strict=True))
    # A reader that reconnects gets some events twice; they change nothing.
    seen = data.draw(st.integers(0, len(replayed)))
    again = data.draw(st.integers(0, seen))
    assert ev.fold(replayed[again:], ev.fold(replayed[:seen])) == live


def test_every_event_survives_json() -> None:
    failure = ev.Failure(type="StageError", message="m", hint="h")
    for event in (
        ev.StageFailed(stage="texturing", error=failure),
        ev.RunFailed(error=failure),
        ev.RunCompleted(results={"mesh": "results/mesh.ply"}, seconds=2),
    ):
        assert ev.parse_event(event.model_dump_json()) == event


def test_a_skipped_stage_tells_what_it_had_cost_and_the_run_its_total() -> None:
    state = ev.fold(
        [
            ev.RunStarted(seq=1, time=100.0, run="r", stages=("texturing",), quality="low", version="1"),
            ev.StageSkipped(
                seq=2,
                time=101.0,
                stage="texturing",
                reason="up to date",
                seconds=12.34,
                peak_memory=2 * 10**9,
            ),
            ev.RunCompleted(seq=3, time=285.0, results={}, seconds=185.0),
        ]
    )
    assert repr(state.stages["texturing"]) == "<StageState: texturing, skipped, took 12.3 s, 2.0 GB>"
    assert repr(state) == "<RunState: r completed, 100%, 3 min 05 s in all>"
    # Events of earlier versions tell no costs.
    old = ev.parse_event('{"type": "stage_skipped", "seq": 1, "stage": "texturing", "reason": "up to date"}')
    assert repr(ev.fold([old]).stages["texturing"]) == "<StageState: texturing, skipped>"


def test_nothing_to_count_yet_is_not_called_0_of_0() -> None:
    state = ev.fold([ev.StageStarted(seq=1, stage="texturing")])
    assert repr(state.stages["texturing"]) == "<StageState: texturing, running, starting>"


FORETOLD = {
    "frame_extraction": 10.0,
    "dense_reconstruction": 40.0,
    "mesh_generation": 30.0,
    "texturing": 20.0,
}


def _completed(seq: int, time: float, stage: str, seconds: float) -> ev.StageCompleted:
    return ev.StageCompleted(
        seq=seq, time=time, stage=stage, artifact="a", seconds=seconds, cpu_seconds=seconds, peak_memory=0,
        counts={}, fallbacks=(),
    )  # fmt: skip


def test_the_time_left_is_what_was_foretold_at_the_pace_that_is_measured() -> None:
    state = ev.fold([ev.RunStarted(seq=1, time=0.0, stages=tuple(FORETOLD), quality="low", version="1")])
    assert state.time_left(0.0) is None  # nothing is foretold
    state = ev.fold([ev.TimesForetold(seq=2, time=0.0, seconds=FORETOLD)], state)
    assert state.time_left(0.0) == pytest.approx(100)
    # The first stage waits for the workers: that it takes three times as long says nothing of the others.
    state = ev.fold([ev.StageStarted(seq=3, time=0.0, stage="frame_extraction")], state)
    state = ev.fold([_completed(4, 30.0, "frame_extraction", 30.0)], state)
    assert state.time_left(30.0) == pytest.approx(90)
    assert state.fraction == pytest.approx(0.1)
    # A stage that has counted nothing yet: all of it is left.
    state = ev.fold([ev.StageStarted(seq=5, time=30.0, stage="dense_reconstruction")], state)
    assert state.time_left(50.0) == pytest.approx(90)
    # Half of it took 40 s: what was foretold of it, 20 s, counts three times as much as its own pace.
    half = ev.StageProgress(seq=6, time=70.0, stage="dense_reconstruction", done=1, total=2)
    state = ev.fold([half], state)
    assert state.time_left(70.0) == pytest.approx(0.75 * 20 + 0.25 * 40 + 50)
    assert state.fraction == pytest.approx(0.3)
    # It took 90 s, not 40: with a tenth of the run's 100 s as doubt, the pace is 100 : 50.
    state = ev.fold([_completed(7, 120.0, "dense_reconstruction", 90.0)], state)
    assert state.time_left(120.0) == pytest.approx(50 * 2)
    # Better known counts take the place of what was foretold.
    state = ev.fold([ev.TimesForetold(seq=8, time=120.0, seconds={"mesh_generation": 60.0})], state)
    assert state.time_left(120.0) == pytest.approx(80 * (13 + 90) / (13 + 40))
    ended = ev.fold([ev.RunCompleted(seq=9, time=200.0, results={}, seconds=200)], state)
    assert ended.time_left(200.0) is None


def test_a_clock_that_is_set_back_leaves_the_pace_as_the_stage_measured_it() -> None:
    state = ev.fold(
        [
            ev.RunStarted(seq=1, time=5000.0, stages=tuple(FORETOLD), quality="low", version="1"),
            ev.TimesForetold(seq=2, time=5000.0, seconds=FORETOLD),
            _completed(3, 5000.0, "frame_extraction", 10.0),
            ev.StageStarted(seq=4, time=5000.0, stage="dense_reconstruction"),
            _completed(5, 1000.0, "dense_reconstruction", 90.0),
            ev.StageStarted(seq=6, time=1000.0, stage="mesh_generation"),
        ]
    )
    assert state.time_left(1000.0) == pytest.approx(50 * (10 + 90) / (10 + 40))
    assert state.time_left(-1000.0) == state.time_left(1000.0)


def _dated(*moments: tuple[float, float]) -> ev.RunState:
    """A run whose machine's clock was set: pairs of its time and the run's own."""
    whole: list[ev.Event] = [
        ev.RunStarted(stages=tuple(FORETOLD), quality="low", version="1"),
        ev.TimesForetold(seconds=FORETOLD),
        _completed(0, 0, "frame_extraction", 10.0),
        ev.StageStarted(stage="dense_reconstruction"),
        _completed(0, 0, "dense_reconstruction", 50.0),
        ev.StageStarted(stage="mesh_generation"),
        ev.StageProgress(stage="mesh_generation", done=1, total=2),
    ]
    dated = zip(whole, moments, strict=True)
    return ev.fold(
        event.model_copy(update={"seq": seq, "time": time, "clock": clock})
        for seq, (event, (time, clock)) in enumerate(dated, 1)
    )


@pytest.mark.parametrize("jump", [0.0, 86400.0, -86400.0])
def test_a_clock_that_is_set_does_not_spoil_the_time_left(jump: float) -> None:
    """By an NTP server, or since the machine slept: within a finished stage, and within the running one."""
    clocks = (0.0, 0.0, 10.0, 10.0, 100.0, 100.0, 130.0)
    for first in (4, 6):
        state = _dated(*((clock + jump * (i >= first), clock) for i, clock in enumerate(clocks)))
        now = 140.0 + jump
        pace = (10 + 90) / (10 + 40)
        mesh = 0.5 * (0.75 * 30 * pace + 0.5 * 40)
        assert state.time_left(now) == pytest.approx(mesh + 20 * pace)
        assert state.time_spent(now) == pytest.approx(140)
        ended = ev.fold([ev.RunCompleted(seq=9, time=now, clock=140.0, results={}, seconds=140)], state)
        assert ended.seconds == pytest.approx(140)


def test_the_run_has_a_clock_of_its_own(tmp_path: Path) -> None:
    log = ev.EventLog(tmp_path / "events.jsonl", "r")
    time.sleep(0.05)  # what was before the first event does not count
    first = log.emit(ev.RunStarted(stages=(), quality="low", version="1"))
    time.sleep(0.05)
    second = log.emit(ev.RunCancelled())
    assert first.clock == 0
    assert second.clock is not None
    assert 0.05 <= second.clock < 5
    assert [event.clock for event in ev.read_events(log.path)] == [first.clock, second.clock]


def test_where_a_stage_is_not_foretold_the_time_left_is_not_known() -> None:
    """As of a stage that may run on a GPU."""
    some = {name: seconds for name, seconds in FORETOLD.items() if name != "dense_reconstruction"}
    state = ev.fold(
        [
            ev.RunStarted(seq=1, time=0.0, stages=tuple(FORETOLD), quality="low", version="1"),
            ev.StageStarted(seq=2, time=0.0, stage="frame_extraction"),
            _completed(3, 10.0, "frame_extraction", 10.0),
            ev.TimesForetold(seq=4, time=10.0, seconds=some),
        ]
    )
    assert state.time_left(10.0) is None
    state = ev.fold([ev.StageStarted(seq=5, time=10.0, stage="dense_reconstruction")], state)
    early = ev.StageProgress(seq=6, time=12.0, stage="dense_reconstruction", done=1, total=20)
    state = ev.fold([early], state)
    assert state.time_left(12.0) is None
    # Then its own pace tells: half of it took 20 s.
    half = ev.StageProgress(seq=7, time=30.0, stage="dense_reconstruction", done=1, total=2)
    state = ev.fold([half], state)
    assert state.time_left(30.0) == pytest.approx(20 + 50)
    # It says nothing of the others' pace.
    state = ev.fold([_completed(8, 60.0, "dense_reconstruction", 50.0)], state)
    assert state.time_left(60.0) == pytest.approx(50)
    weights = {stage.name: stage.weight for stage in stage_table.STAGES}
    share = weights["frame_extraction"] + weights["dense_reconstruction"]
    assert state.fraction == pytest.approx(share / sum(weights[name] for name in FORETOLD))


def test_what_is_skipped_takes_no_time() -> None:
    state = ev.fold(
        [
            ev.RunStarted(seq=1, time=0.0, stages=tuple(FORETOLD), quality="low", version="1"),
            ev.StageSkipped(seq=2, time=0.0, stage="frame_extraction", reason="up to date", seconds=99.0),
            ev.StageSkipped(seq=3, time=0.0, stage="dense_reconstruction", reason="up to date", seconds=99.0),
            ev.TimesForetold(seq=4, time=0.0, seconds=FORETOLD),
            ev.StageStarted(seq=5, time=0.0, stage="mesh_generation"),
        ]
    )
    assert state.time_left(0.0) == pytest.approx(50)

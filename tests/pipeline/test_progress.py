"""The time left: told after several even steps, without the first, which compiles."""

from __future__ import annotations

import pytest

from recon3d.events import Event, StageProgress
from recon3d.pipeline import progress


class _Meter:
    """A meter on a clock of its own; calling it takes the seconds first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._clock = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self._clock)
        self._told: list[Event] = []
        self._meter = progress.ProgressMeter("texturing", self._told.append)

    def __call__(self, seconds: float, done: float, total: float, unit: str = "views") -> StageProgress:
        self._clock += seconds
        self._meter(done, total, unit)
        last = self._told[-1]
        assert isinstance(last, StageProgress)
        return last


def test_the_step_that_compiles_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = _Meter(monkeypatch)
    meter(0, 0, 20)
    assert meter(60, 1, 20).eta is None
    for done in range(2, 5):
        assert meter(2, done, 20).eta is None
    told = [meter(2, done, 20) for done in range(5, 12)]
    assert [event.rate for event in told] == pytest.approx([0.5] * 7)
    assert [event.eta for event in told] == pytest.approx([2.0 * (20 - done) for done in range(5, 12)])


def test_uneven_steps_tell_nothing_until_they_are_even(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = _Meter(monkeypatch)
    meter(0, 0, 100)
    slow = [meter(8, done, 100) for done in range(1, 8)]
    assert slow[-1].eta == pytest.approx(93 * 8)
    quick = [meter(1, done, 100) for done in range(8, 60)]
    assert None in [event.eta for event in quick]
    assert quick[-1].eta == pytest.approx(41, rel=0.3)


def test_each_unit_starts_anew_and_a_late_step_lengthens_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = _Meter(monkeypatch)
    for done in range(8):
        last = meter(2, done, 8)
    assert last.eta == pytest.approx(2.0)
    assert meter(2, 0, 30, "blocks").eta is None
    for done in range(1, 7):
        last = meter(1, done, 30, "blocks")
    assert last.eta == pytest.approx(24.0)
    assert meter(9, 6, 30, "blocks").eta > 40


def test_many_small_steps_are_judged_over_their_whole_time(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = _Meter(monkeypatch)
    for done in range(400):
        last = meter(0.5, done, 1000, "%")
    assert last.eta == pytest.approx(601 * 0.5, rel=0.02)

"""Rate and time left of a stage, from its counts of done units."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from recon3d.events import Event, StageProgress

#: Steps that are remembered, and that an estimate needs at least.
_MOST, _FEWEST = 48, 5
#: How much faster or slower the earlier half of these steps may have been than the later half.
_EVEN = 2.0


class ProgressMeter:
    """Turns done/total into `StageProgress` with rate and time left, a few times a second.

    The time left is told only after several even steps. What was done up to the first step does not
    count: it compiles the kernels or loads them.

    Parameters
    ----------
    stage : str
        Name of the stage.
    emit : callable
        Receives the events.
    interval : float
        Seconds between two events at least.
    """

    def __init__(self, stage: str, emit: Callable[[Event], object], interval: float = 0.25) -> None:
        self._stage = stage
        self._emit = emit
        self._interval = interval
        self._lock = threading.Lock()
        self._unit = ""
        self._last = (0.0, 0.0, 1.0)
        self._steps: list[tuple[float, float]] = []
        self._before: float | None = None

    def __call__(self, done: float, total: float, unit: str = "", message: str = "") -> None:
        """Report; a negative `total` repeats the last numbers with a message."""
        with self._lock:
            now = time.monotonic()
            if total < 0:
                done, total, unit = self._last[1], self._last[2], self._unit
            elif unit != self._unit:
                # Another unit is another part of the stage's work: its rate starts anew.
                self._unit, self._last, self._before = unit, (0.0, done, total), None
                self._steps.clear()
            self._count(now, done)
            if not message and done < total and now - self._last[0] < self._interval:
                return
            self._last = (now, done, total)
            rate = self._rate(now)
        eta = (total - done) / rate if rate else None
        self._emit(
            StageProgress(
                stage=self._stage, done=done, total=total, unit=unit, message=message, rate=rate, eta=eta
            )
        )

    def _count(self, now: float, done: float) -> None:
        if self._before is not None and done > self._before:
            if len(self._steps) == _MOST:
                del self._steps[1::2]
            self._steps.append((now, done))
        self._before = done

    def _rate(self, now: float) -> float | None:
        """Units a second over the last two thirds of the steps; None while they are few or uneven."""
        count = len(self._steps)
        steps = self._steps[max(0, min(count // 3, count - _FEWEST)) :]
        if len(steps) < _FEWEST:
            return None
        (begin, first), (middle, half), (end, last) = steps[0], steps[len(steps) // 2], steps[-1]
        if not begin < middle < end:
            return None
        earlier, later = (half - first) / (middle - begin), (last - half) / (end - middle)
        if max(earlier, later) > _EVEN * min(earlier, later):
            return None
        # While a step takes longer than usual, the rate falls.
        late = now - (end - begin) / (len(steps) - 1)
        return (last - first) / (max(end, late) - begin)

"""Waits that Ctrl-C may interrupt anywhere, and signal handlers that end them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from recon3d.latch import Latch
from recon3d.pipeline.background import Background


class _Moment:
    """Calls something at the n-th step (a call, line or return) of the Python code that runs in `with`."""

    def __init__(self, number: int, happens: Callable[[], None]) -> None:
        self._left = number
        self._happens = happens
        self.reached = False

    def __enter__(self) -> _Moment:
        sys.settrace(self._step)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code is _Moment.__exit__.__code__:
            return None
        self._left -= 1
        if self._left == 0:
            sys.settrace(None)
            self.reached = True
            self._happens()
        return self._step


def _interrupt() -> None:
    raise KeyboardInterrupt


def _interrupted_everywhere(wait: Callable[[], object]) -> set[type[BaseException]]:
    """The errors that a wait ends with when Ctrl-C comes at each of its steps."""
    errors: set[type[BaseException]] = set()
    number = 1
    while True:
        try:
            with _Moment(number, _interrupt) as moment:
                wait()
        except BaseException as error:
            errors.add(type(error))
        if not moment.reached:
            return errors
        number += 1


@pytest.fixture
def traced() -> Any:
    former = sys.gettrace()
    yield
    sys.settrace(former)


@pytest.mark.usefixtures("traced")
def test_an_interrupt_at_any_step_of_a_wait_is_one() -> None:
    # An event has a step where it becomes another error: this test would see it.
    assert RuntimeError in _interrupted_everywhere(lambda: threading.Event().wait(0.001))
    assert _interrupted_everywhere(lambda: Latch().wait(0.001)) == {KeyboardInterrupt}

    ended = threading.Event()
    work = Background(ended.wait, "recon3d-test")
    work.start()
    assert _interrupted_everywhere(lambda: work.wait(0.001)) == {KeyboardInterrupt}
    assert not work.ended
    ended.set()
    assert work.wait(5)


@pytest.mark.usefixtures("traced")
def test_a_signal_handler_may_set_it_at_any_step_of_a_wait() -> None:
    number, reached = 1, True
    while reached:
        latch = Latch()
        with _Moment(number, latch.set) as moment:
            latch.wait(0.001)  # an event waits for ever at one of its steps: for its own lock
        reached = moment.reached
        assert latch.wait(0) == reached
        number += 1
    assert number > 5


def test_waits_end_when_it_is_set() -> None:
    latch = Latch()
    began = time.monotonic()
    assert not latch.wait(0.2)
    assert 0.2 <= time.monotonic() - began < 2
    threading.Timer(0.2, latch.set).start()
    assert latch.wait()
    assert latch.wait(0)
    assert latch.is_set()
    assert not Latch().wait(0)
    assert not Latch().wait(-1)

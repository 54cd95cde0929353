"""An event that Ctrl-C can interrupt at any moment."""

from __future__ import annotations

import math
import time

#: Pauses between two looks: short waits end at once, and long ones cost nothing.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05


class Latch:
    """An event that is set once, without a lock.

    `threading.Event` has two faults in the main thread. An interrupt in the moment when a wait takes
    its lock back becomes ``RuntimeError: release unlocked lock`` (CPython issues 78667 and 118433).
    A signal handler that sets an event stops for ever if the thread it interrupts holds that lock. A
    latch is for what the main thread waits for, and for what signal handlers set.
    """

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Let all waits end, now and later."""
        self._set = True

    def is_set(self) -> bool:
        """Tell whether it has been set.

        Returns
        -------
        bool
        """
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        bool
            Whether it has been set.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while not self._set and (left := end - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        return self._set

"""The server program: uvicorn, which sleeps while there is nothing to do."""

from __future__ import annotations

import asyncio
import contextlib
from types import FrameType

import uvicorn

#: Seconds between updates of the header Date, which tells seconds.
_TICK = 1.0


class Server(uvicorn.Server):
    """uvicorn's server, waking once a second where the original wakes ten times.

    Signals end it at once.

    Parameters
    ----------
    config : uvicorn.Config
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until the server is asked to end."""
        self._loop = asyncio.get_running_loop()
        asked = self._loop.create_task(self._asked.wait())
        try:
            while not await self.on_tick(0):
                await asyncio.wait({asked}, timeout=_TICK)
        finally:
            asked.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End because of a signal.

        Parameters
        ----------
        sig : int
        frame : frame or None
        """
        super().handle_exit(sig, frame)
        self._rouse()

    def ask_to_end(self) -> None:
        """End; any thread may call this."""
        self.should_exit = True
        self._rouse()

    def _rouse(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._asked.set)

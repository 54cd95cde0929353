"""Connections that hold the server without using it: too many of one address, or silent ones."""

from __future__ import annotations

import asyncio
import functools
import os
from collections import Counter
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from recon3d_api.settings import Settings

_REFUSAL = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
)
_DETAIL = b'{"detail":"Too many connections from this address"}'


def limited_protocol(settings: Settings) -> type[asyncio.Protocol]:
    """Make the class whose objects uvicorn gives each connection to.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    type
    """
    trusted = {part.strip() for part in os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1").split(",")}
    most, seconds = settings.connections_per_address, settings.header_seconds
    held: Counter[str] = Counter()

    class Limited(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        """uvicorn's protocol with limits."""

        _address = ""
        _timer: asyncio.TimerHandle | None = None
        _refused = False

        def connection_made(self, transport: Any) -> None:
            """Count the connection, and wait for its first request."""
            super().connection_made(transport)
            peer = transport.get_extra_info("peername")
            address = str(peer[0]) if isinstance(peer, tuple) else ""
            if most and address and not {address, "*"} & trusted:
                if held[address] >= most:
                    self._refused = True
                    transport.write(_REFUSAL % (len(_DETAIL), _DETAIL))
                    transport.close()
                    return
                held[address] += 1
                self._address = address
            self._await_head()

        def data_received(self, data: bytes) -> None:
            """Take what comes, unless the connection is refused."""
            if not self._refused:
                super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            """Forget the connection."""
            self._release()
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            """Wait for the next request."""
            super().on_response_complete()
            self._await_head()

        def handle_websocket_upgrade(self, *arguments: Any) -> None:
            """Count the WebSocket as the connection that it was."""
            super().handle_websocket_upgrade(*arguments)
            self._stop_timer()
            protocol = self.transport.get_protocol()
            lost = protocol.connection_lost

            @functools.wraps(lost)
            def connection_lost(exc: Exception | None) -> None:
                self._release()
                lost(exc)

            protocol.connection_lost = connection_lost

        def _await_head(self) -> None:
            self._stop_timer()
            if seconds:
                self._timer = self.loop.call_later(seconds, self._check_head)

        def _check_head(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _release(self) -> None:
            self._stop_timer()
            address, self._address = self._address, ""
            if address:
                held[address] -= 1
                if not held[address]:
                    del held[address]

    return Limited

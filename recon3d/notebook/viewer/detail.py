"""How much of a model the browser has, and how much of that it draws."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from recon3d.pipeline.background import Background

#: Seconds after which the rest follows, should the page not tell that it has drawn.
_LATEST = 3.0
#: Seconds, and seconds more for each megabyte, before it follows where no page tells: a browser draws only
#: when it has unpacked all that it was sent.
_FIRST, _UNPACK = 0.5, 0.1


class Detail:
    """Sends what the first picture can do without after it, and thins points while a hand moves.

    Parameters
    ----------
    layers : mapping of str to layer
    on_sent : callable
        Called when all that is seen has been sent.
    heard : bool
        Whether the page tells when it has drawn.
    """

    def __init__(self, layers: Mapping[str, Any], on_sent: Callable[[], None], *, heard: bool) -> None:
        self._points = layers.get("points")
        self._on_sent = on_sent
        self._timer: threading.Timer | None = None
        self._closing = threading.Event()
        self._drawn = threading.Event()
        self._sender: Background | None = None
        self._send_rest([layers[name] for name in ("mesh", "points") if name in layers], heard=heard)
        if self._points is not None:
            self._points.on_first = lambda: self._send_rest([self._points], heard=False)

    @property
    def complete(self) -> bool:
        """Whether all has been sent."""
        return self._sender is not None and self._sender.ended

    def wait(self) -> None:
        """Wait until all has been sent."""
        if self._sender is not None:
            self._sender.wait()

    def thin(self, seconds: float) -> None:
        """Draw only the first points for some seconds: moving needs speed, a still picture detail.

        Parameters
        ----------
        seconds : float
        """
        if self._points is None or not self._points.thinnable:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._points.thinned = seconds > 0
        if seconds > 0:
            self._timer = threading.Timer(seconds, setattr, (self._points, "thinned", False))
            self._timer.daemon = True
            self._timer.start()

    def drawn(self) -> None:
        """Tell that the page has drawn the first picture."""
        self._drawn.set()

    def close(self) -> None:
        """Send and change nothing more."""
        self._closing.set()
        self._drawn.set()
        if self._timer is not None:
            self._timer.cancel()
        self.wait()

    def _send_rest(self, layers: list[Any], *, heard: bool) -> None:
        before = self._sender

        def work() -> None:
            if before is not None:
                before.wait()
            if heard:
                self._drawn.wait(_LATEST)
            elif any(getattr(layer, "drafted", False) for layer in layers):
                self._closing.wait(_LATEST)
            else:
                self._closing.wait(_FIRST + _UNPACK * sum(layer.first_bytes for layer in layers) / 1e6)
            for layer in layers:
                while not self._closing.is_set() and layer.send_next():
                    pass
            if not self._closing.is_set():
                self._on_sent()

        self._sender = Background(work, "recon3d-viewer")
        self._sender.start()

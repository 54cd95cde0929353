"""Whole frames from interlaced video, whose frames hold two moments in alternate lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal

import av.error
import av.filter

from recon3d.io.video_frame import Frame


class Deinterlacer:
    """Deinterlaces frames with FFmpeg's bwdif.

    One frame comes out for each that goes in, with its time stamp, so that going through a video
    twice finds the same frames. Its picture is that of the earlier field's moment. The filter looks
    at the frames before and after, so the output is one frame late.

    Parameters
    ----------
    which : {"marked", "all"}
        The frames that are marked as interlaced, or all.
    """

    def __init__(self, which: Literal["marked", "all"]) -> None:
        self._which = which
        self._graph: Any = None
        self._layout: tuple[int, int, str] | None = None
        self._waiting: deque[Frame] = deque()

    def push(self, frame: Frame) -> Iterator[Frame]:
        """Give the next frame.

        Parameters
        ----------
        frame : Frame

        Yields
        ------
        Frame
            Those that are ready.
        """
        raw = frame.raw
        layout = (raw.width, raw.height, raw.format.name)
        if layout != self._layout:
            yield from self.flush()
            self._graph, self._layout = _graph(raw.width, raw.height, raw.format, self._which), layout
        self._waiting.append(frame)
        self._graph.vpush(raw)
        yield from self._pull()

    def flush(self) -> Iterator[Frame]:
        """End the sequence.

        Yields
        ------
        Frame
            Those that were late.
        """
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pull()
        self._graph = self._layout = None
        self._waiting.clear()

    def _pull(self) -> Iterator[Frame]:
        while self._waiting:
            try:
                raw = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield replace(self._waiting.popleft(), raw=raw)


def _graph(width: int, height: int, pixels: Any, which: Literal["marked", "all"]) -> Any:
    graph = av.filter.Graph()
    graph.threads = 1
    # The filter's own times are not used: frames come out in the order in which they went in.
    source = graph.add_buffer(width=width, height=height, format=pixels, time_base=Fraction(1, 1_000_000))
    chosen = "interlaced" if which == "marked" else "all"
    filtered = graph.add("bwdif", f"mode=send_frame:parity=auto:deint={chosen}")
    sink = graph.add("buffersink")
    source.link_to(filtered)
    filtered.link_to(sink)
    graph.configure()
    return graph

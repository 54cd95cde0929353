"""A cell that waits answers its page, and is interrupted whenever it is asked to be."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

zmq = pytest.importorskip("zmq", reason="needs recon3d[test]")

from recon3d.notebook.answering import KernelAnswers  # noqa: E402


class _Frame:
    """Is interrupted where it ends, as pyzmq's are at times; what is raised there is swallowed."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_where_a_message_ends_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = [[_Frame()]]

    def receive(*_: Any, **__: Any) -> list[_Frame]:
        if not arrived:
            raise zmq.Again
        return arrived.pop()

    ended: list[bool] = []
    stream = SimpleNamespace(
        socket=SimpleNamespace(recv_multipart=receive),
        _recv_callback=print,
        _rebuild_io_state=lambda: ended.append(True),
    )
    manager = SimpleNamespace(_shell_channel_to_main=SimpleNamespace(to_stream=stream))
    answers = KernelAnswers(SimpleNamespace(shell_channel_thread=SimpleNamespace(manager=manager)))
    monkeypatch.setattr(answers, "_answer_one", lambda frames: True)
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), answers() as answer:
            answer()
    finally:
        signal.signal(signal.SIGINT, former)
    assert ended == [True]

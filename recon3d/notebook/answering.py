"""A notebook's kernel that answers its pages while a cell waits for a run.

A page that is loaded again asks the kernel about itself and its widgets. ipykernel puts these
questions behind the cell that runs, so that a waiting cell would leave "Loading widget …" until its
end. Here the waiting cell answers them. Cells that are started meanwhile keep their order: they run
when the waiting one has ended.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any

#: Questions that no cell's code is needed for.
_ANSWERED = {"kernel_info_request", "comm_info_request", "comm_open", "comm_msg", "comm_close"}


class KernelAnswers:
    """Answers a kernel's messages in its main thread; a context manager gives the function for it.

    Parameters
    ----------
    kernel : ipykernel.kernelbase.Kernel
        Of ipykernel 7; with others nothing is answered.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Callable[[], None]]:
        """Give the function that answers what has arrived; cells that were put off begin after it."""
        stream = self._stream()
        if stream is None:
            yield lambda: None
            return
        put_off: list[list[Any]] = []
        try:
            yield lambda: self._answer_uninterrupted(stream.socket, put_off)
        finally:
            with _uninterrupted():
                for message in put_off:
                    # Its task is made now: the loop may have planned to read the socket before later ones,
                    # and what ends an abort arrives there as soon as the waiting cell has failed.
                    stream._run_callback(stream._recv_callback, message)
                # The socket tells only once that there are messages; an interrupt may have left some.
                stream._rebuild_io_state()

    def _stream(self) -> Any:
        """What the main thread receives messages by; None where that is unknown, or for other threads."""
        if threading.current_thread() is not threading.main_thread():
            return None
        manager = getattr(getattr(self._kernel, "shell_channel_thread", None), "manager", None)
        stream = getattr(getattr(manager, "_shell_channel_to_main", None), "to_stream", None)
        return stream if getattr(stream, "_recv_callback", None) is not None else None

    def _answer_uninterrupted(self, socket: Any, put_off: list[list[Any]]) -> None:
        with _uninterrupted():
            # A call, so that its frames end within it: pyzmq swallows what is raised where one ends.
            self._answer(socket, put_off)

    def _answer(self, socket: Any, put_off: list[list[Any]]) -> None:
        from zmq import NOBLOCK, Again

        while True:
            try:
                frames = socket.recv_multipart(NOBLOCK, copy=False)
            except Again:
                return
            if not self._answer_one(frames):
                put_off.append(frames)

    def _answer_one(self, frames: list[Any]) -> bool:
        kernel = self._kernel
        try:
            idents, parts = kernel.session.feed_identities(frames, copy=False)
            # The header alone: a message that was put off may be taken apart only once.
            kind = kernel.session.unpack(parts[1].bytes)["msg_type"]
            if kind not in _ANSWERED:
                return False
            message = kernel.session.deserialize(parts, content=True, copy=False)
        except Exception:  # ipykernel's own have no header; the loop says what it thinks of others
            return False
        reply = kernel.shell_channel_thread.manager.get_subshell_to_shell_channel_socket(None)
        ident, parent = kernel._shell_parent_ident.get(), kernel.get_parent("shell")
        sys.stdout.flush()
        sys.stderr.flush()
        kernel.set_parent(idents, message, channel="shell")
        kernel._publish_status("busy", "shell")
        try:
            _complete(kernel.shell_handlers[kind](reply, idents, message))
        except Exception:
            kernel.log.error("Exception in message handler:", exc_info=True)
        finally:
            kernel._publish_status("idle", "shell")
            kernel.set_parent(ident, parent, channel="shell")
            kernel._publish_status("busy", "shell")
        return True


def _complete(result: Any) -> None:
    """Run a handler that is a coroutine to its end; these wait for nothing."""
    if isinstance(result, Coroutine):
        try:
            result.send(None)
        except StopIteration:
            return
        result.close()
        raise RuntimeError("the handler of a message waits for the loop")


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put an interrupt off to the end, so that neither it nor a half answered message is lost."""
    asked: list[tuple[int, FrameType | None]] = []
    former = signal.signal(signal.SIGINT, lambda number, frame: asked.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
    if asked and callable(former):
        former(*asked[0])

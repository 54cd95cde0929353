"""A real notebook kernel, without a notebook in front of it."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager


class Kernel:
    """A kernel that runs cells one after the other.

    Attributes
    ----------
    displayed : list of dict
        What the last cell displayed beside its value, by MIME type.
    """

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.displayed: list[dict[str, Any]] = []
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str, timeout: float = 60.0) -> tuple[str, dict[str, Any]]:
        """Run a cell; gives what it printed, and its value by MIME type."""
        request = self.client.execute(code)
        printed, value = "", {}
        self.displayed = []
        end = time.monotonic() + timeout
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=max(end - time.monotonic(), 0.01))
            except queue.Empty:
                raise TimeoutError(f"{code!r} took more than {timeout} s") from None
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and content["name"] == "stdout":
                printed += content["text"]
            elif kind == "execute_result":
                value = content["data"]
            elif kind == "display_data":
                self.displayed.append(content["data"])
            elif kind == "error":
                raise RuntimeError(f"{content['ename']}: {content['evalue']}")
            elif kind == "status" and content["execution_state"] == "idle":
                return printed, value

    def completions(self, code: str) -> list[str]:
        """What Tab offers after `code`, without names that begin with an underscore."""
        content = self.client.complete(code, reply=True, timeout=30)["content"]
        names = [match.rpartition(".")[2] for match in content["matches"]]
        return [name for name in names if not name.startswith("_")]

    def restart(self) -> None:
        """Kill the kernel's process and start another, as a notebook's button does."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)


@contextmanager
def kernel(folder: Path) -> Iterator[Kernel]:
    """A kernel that works in `folder`."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder))
    try:
        started = Kernel(manager)
        yield started
        started.client.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)

"""Control groups with a memory limit: the kernel itself ends what exceeds it. They need root."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_FIRST = _ROOT / "memory"


def _why_none() -> str:
    if os.geteuid():
        return "control groups need root"
    with contextlib.suppress(OSError):
        if _FIRST.is_dir() or "memory" in (_ROOT / "cgroup.subtree_control").read_text().split():
            with _made():
                return ""
    return "no control group can be made here"


@contextlib.contextmanager
def _made() -> Iterator[Path]:
    folder = (_FIRST if _FIRST.is_dir() else _ROOT) / f"recon3d-test-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        deadline = time.monotonic() + 10
        while folder.is_dir():
            try:
                folder.rmdir()
            except OSError:  # its processes are ending
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


#: Why there can be none; empty where there can.
NO_GROUPS = _why_none()


@contextlib.contextmanager
def limited_to(size: int) -> Iterator[list[str]]:
    """The beginning of a command that runs in a group with so many bytes of memory, and no swap."""
    with _made() as folder:
        if _FIRST.is_dir():
            (folder / "memory.limit_in_bytes").write_text(str(size))
            with contextlib.suppress(OSError):  # a kernel that does not count swap
                (folder / "memory.memsw.limit_in_bytes").write_text(str(size))
        else:
            (folder / "memory.max").write_text(str(size))
            (folder / "memory.swap.max").write_text("0")
        yield ["sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh"]

"""Becomes the command that it is given, after asking the kernel to end it with its parent.

``python launch.py PARENT COMMAND…``. A fresh interpreter does this, since code between fork and
exec is unsafe in a process with threads.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Ask, check that the parent still lives, and become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()

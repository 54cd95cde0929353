"""Becomes the command that it is given, confined, after asking the kernel to end it with its parent.

``python launch.py PARENT RULES COMMAND…``; the rules are of `recon3d_api.work.confinement`. A fresh
interpreter does this, since code between fork and exec is unsafe in a process with threads.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

_PDEATHSIG, _CAPBSET_DROP, _CAP_AMBIENT, _CLEAR_ALL = 1, 24, 47, 4  # linux/prctl.h
#: What root may do with files, and with priorities: CAP_CHOWN to CAP_FSETID, CAP_SYS_NICE.
_KEPT = (0, 1, 2, 3, 4, 23)


def main() -> None:
    """Confine this process, ask, check that the parent still lives, and become the command."""
    parent, rules, command = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
    if rules:
        # This interpreter knows the standard library only.
        sys.path.append(str(Path(__file__).resolve().parents[2]))
        from recon3d_api.files import landlock

        hidden = [Path(path) for path in rules["hidden"]]
        read = [part for root in rules["read"] for part in landlock.without(Path(root), *hidden)]
        write, devices = ([Path(path) for path in rules[kind]] for kind in ("write", "devices"))
        try:
            landlock.restrict(read, write, devices=devices, network=True)
        except OSError as error:
            sys.exit(f"The run was not started, because it cannot be confined. {error}")
        _drop_capabilities()
        os.environ.update(rules["environment"])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    os.execvp(command[0], command)


def _drop_capabilities() -> None:
    """With CAP_PERFMON, root reads the environment of other processes in spite of Landlock."""
    libc = ctypes.CDLL(None)
    for capability in set(range(64)) - set(_KEPT):
        libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)  # fails where there is nothing to drop
    libc.prctl(_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)


if __name__ == "__main__":
    main()

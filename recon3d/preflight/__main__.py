"""A check in a process of its own: a request as JSON on stdin, the answer on stdout.

A request without inputs only asks how fast this machine is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from recon3d.compute.worker import die_with_parent


def main() -> None:
    """Read the request, work, and write the answer."""
    die_with_parent()
    request = json.load(sys.stdin)
    if "photos" not in request:
        from recon3d.preflight.history import machine_speed

        speed = machine_speed([Path(path) for path in request["history"]])
        json.dump({"factors": dict(speed.factors)}, sys.stdout)
        return
    from recon3d.preflight.examine import examine

    photos, videos, history = (
        [Path(path) for path in request[key]] for key in ("photos", "videos", "history")
    )
    answer = examine(photos, videos, history, request["workers"])
    json.dump(answer.to_json(), sys.stdout)


if __name__ == "__main__":
    main()

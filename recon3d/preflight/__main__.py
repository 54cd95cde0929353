"""A check in a process of its own: a request as JSON on stdin, the answer on stdout."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from recon3d.compute.worker import die_with_parent


def main() -> None:
    """Read the request, work, and write the answer."""
    die_with_parent()
    from recon3d.preflight.examine import examine

    request = json.load(sys.stdin)
    photos, videos, history = (
        [Path(path) for path in request[key]] for key in ("photos", "videos", "history")
    )
    answer = examine(photos, videos, history, request["workers"])
    json.dump(answer.to_json(), sys.stdout)


if __name__ == "__main__":
    main()

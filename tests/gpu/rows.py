"""Rows of the table that the check of a GPU prints, and where its steps find their files."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

OK, FAILED, NO_DEVICE = "ok", "FAILED", "no device"


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    engine: str
    seconds: float | None
    found: str
    status: str = OK


@dataclass(frozen=True)
class Place:
    """Where a step finds its input and leaves its files."""

    data: Path
    work: Path

    @property
    def photos(self) -> Path:
        """The photos."""
        return self.data / "images"

    @property
    def workers(self) -> int:
        """Worker processes: starting more takes longer than so few photos do."""
        return min(8, len(os.sched_getaffinity(0)))


class CheckError(Exception):
    """A step cannot go on, and why."""


def emit(row: Row) -> None:
    """Hand a row over to the process that prints the table."""
    sys.stdout.write(f"ROW {json.dumps(asdict(row))}\n")
    sys.stdout.flush()


def joined(*parts: str) -> str:
    """Parts of a finding that are not empty."""
    return "; ".join(part for part in parts if part)

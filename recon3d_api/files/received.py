"""A file that a client sent, before it is checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class ReceivedFile:
    """A file of a form; `name` is what the client calls it."""

    field: str
    name: str
    path: Path
    size: int = 0

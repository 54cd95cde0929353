"""What a file is, and where each fact comes from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recon3d.errors import InputError
from recon3d.io.probe import probe_input
from recon3d.layout import InputKind
from recon3d.preflight.facts import FileFacts
from recon3d.project.gathering import gather


@dataclass(frozen=True)
class NotProbed:
    """A file that cannot be described, and why."""

    path: str
    error: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """Convert to what JSON can hold.

        Returns
        -------
        dict
        """
        return {"path": self.path, "error": self.error, "hint": self.hint}


def probe(path: str | os.PathLike[str]) -> FileFacts:
    """Tell what a video or photo is; of a video some frames are decoded, of a photo all pixels.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    FileFacts
        Container, codec, size, times, rotation, colour, positions and focal length, each with its
        source; what the file does not say is absent.

    Raises
    ------
    InputError
        The file is missing, unreadable or unsupported.

    Examples
    --------
    >>> recon3d.probe("statue.mp4")["duration"]  # doctest: +SKIP
    12.4
    """
    return _described(Path(path), probe_input(Path(path)).kind)


def _described(path: Path, kind: InputKind) -> FileFacts:
    if kind == "photo":
        from recon3d.preflight.photo_facts import photo_facts

        return FileFacts(str(path), kind, photo_facts(path))
    from recon3d.preflight.video_facts import video_facts

    return FileFacts(str(path), kind, video_facts(path))


def probe_all(given: Sequence[Path]) -> tuple[list[FileFacts], list[NotProbed]]:
    """Describe files, and those in folders; a bad one does not stop the others.

    Parameters
    ----------
    given : sequence of Path
        Files, and folders, which are searched as a run does it.

    Returns
    -------
    found : list of FileFacts
    failed : list of NotProbed
    """
    found: list[FileFacts] = []
    failed: list[NotProbed] = []
    for path in given:
        files: list[tuple[Path, InputKind | None]] = [(path, None)]
        if path.is_dir():
            try:
                gathered, left_out = gather([path], None, kinds=("video", "photo"), strict=True, hashed=False)
            except InputError as error:
                failed.append(NotProbed(str(path), error.message, error.hint))
                continue
            files = [(file.path, file.kind) for file in gathered]
            for row in left_out:
                beside = str(path / row.name)
                failed.append(NotProbed(beside, f"{beside} {row.reason}."))
        for file, kind in files:
            try:
                found.append(_described(file, kind) if kind else probe(file))
            except InputError as error:
                failed.append(NotProbed(str(file), error.message, error.hint))
    return found, failed

"""What a file is, and where each fact comes from."""

from __future__ import annotations

import os
from pathlib import Path

from recon3d.io.probe import probe_input
from recon3d.preflight.facts import FileFacts


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
    path = Path(path)
    kind = probe_input(path).kind
    if kind == "photo":
        from recon3d.preflight.photo_facts import photo_facts

        return FileFacts(str(path), kind, photo_facts(path))
    from recon3d.preflight.video_facts import video_facts

    return FileFacts(str(path), kind, video_facts(path))

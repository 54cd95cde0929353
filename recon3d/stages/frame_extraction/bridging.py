"""More frames of a video where neighbouring ones hardly match."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from recon3d.compute import StageContext, reads
from recon3d.matching.small_images import Described
from recon3d.selection.links import BROKEN, describe_frame, fill_weak_gaps, link_strength
from recon3d.selection.sharpness import blur
from recon3d.stages.frame_extraction.sources import Source

#: Pairs of neighbours that one task matches.
_PAIRS_PER_TASK = 8

Link = tuple[Path, Path]


@dataclass
class Bridges:
    """What is known of the links between neighbouring frames.

    Parameters
    ----------
    images : Path
        Folder of the frames.
    max_frames : int
        Frames of a video at most.
    """

    images: Path
    max_frames: int

    def __post_init__(self) -> None:
        self._strength: dict[Link, int] = {}
        self._added: dict[str, int] = {}

    def extend(self, videos: Sequence[Source], context: StageContext) -> bool:
        """Choose more frames between neighbours that hardly match.

        Parameters
        ----------
        videos : sequence of Source
            Their chosen frames are written; those added are not yet.
        context : StageContext

        Returns
        -------
        bool
            Whether any was added.
        """
        self._measure(videos, context)
        before = sum(self._added.values())
        for source in videos:
            links = self._links(source)
            if not links:
                continue
            scan = source.scan
            chosen = fill_weak_gaps(
                source.chosen,
                [self._strength[link] for link in links],
                blur(scan["sharpness"], scan["time"]),
                scan["usable"],
                self.max_frames - len(source.chosen),
            )
            added = len(chosen) - len(source.chosen)
            self._added[source.name] = self._added.get(source.name, 0) + added
            source.chosen = chosen
        return sum(self._added.values()) > before

    def report(self, videos: Sequence[Source], context: StageContext) -> None:
        """Say what was added, and where neighbouring frames still hardly match.

        Parameters
        ----------
        videos : sequence of Source
        context : StageContext
        """
        self._measure(videos, context)
        for source in videos:
            links, times = self._links(source), source.scan.get("time", np.zeros(0))
            if added := self._added.get(source.name, 0):
                context.log(f"{source.name}: {added} frames were added where neighbouring ones hardly match.")
            weak = [k for k, link in enumerate(links) if self._strength[link] < BROKEN]
            if not weak:
                continue
            places = ", ".join(
                f"{times[source.chosen[k]]:.1f} to {times[source.chosen[k + 1]]:.1f} s" for k in weak[:5]
            )
            full = len(source.chosen) >= self.max_frames
            context.fallback(
                f"{source.name}: neighbouring frames hardly match at {len(weak)} of {len(links)} places "
                f"({places}{', …' if len(weak) > 5 else ''}); the model may break there. "
                + ("Raise frame_extraction.max_frames." if full else "Film such places slower, and in focus.")
            )

    def _links(self, source: Source) -> list[Link]:
        files = [self.images / source.frame_name(int(index)) for index in source.chosen]
        return list(itertools.pairwise(files))

    def _measure(self, videos: Sequence[Source], context: StageContext) -> None:
        new = [link for source in videos for link in self._links(source) if link not in self._strength]
        tasks = [tuple(new[k : k + _PAIRS_PER_TASK]) for k in range(0, len(new), _PAIRS_PER_TASK)]
        found = context.map(match_links, tasks, unit="groups of frames")
        self._strength.update(zip(new, [s for strengths in found for s in strengths], strict=True))


@reads(lambda links: [file for link in links for file in link])
def match_links(links: Sequence[Link]) -> list[int]:
    """Match pairs of frames.

    Parameters
    ----------
    links : sequence of (Path, Path)
        Files of frames.

    Returns
    -------
    list of int
        See `link_strength`.
    """

    @functools.cache
    def described(file: Path) -> Described:
        gray = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_GRAYSCALE)
        return describe_frame(np.asarray(gray, np.uint8))

    return [link_strength(described(first), described(second)) for first, second in links]

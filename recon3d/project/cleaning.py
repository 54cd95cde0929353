"""Removing what a project does not need any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from recon3d.errors import ProjectError
from recon3d.events import StageCompleted, StageSkipped, parse_event
from recon3d.layout import EVENTS
from recon3d.project.artifacts import Artifact
from recon3d.project.runs import RunRecord
from recon3d.rendering.formatting import Described, byte_text, count


@dataclass(frozen=True, repr=False)
class Cleaning(Described):
    """What `Project.clean` removed, or would remove.

    Parameters
    ----------
    removed : dict of Path to int
        Files and folders, with their bytes on disk.
    unlisted : tuple of Path
        Files in the project's ``inputs`` that were never added to it. They are kept.
    dry : bool
        Nothing was removed yet.
    """

    removed: dict[Path, int]
    unlisted: tuple[Path, ...] = ()
    dry: bool = False

    @property
    def freed(self) -> int:
        """Bytes on disk of what was removed."""
        return sum(self.removed.values())

    def _facts(self) -> list[str]:
        done = "would free" if self.dry else "freed"
        return [f"{done} {byte_text(self.freed)}", count(len(self.removed), "path")]

    def _details(self) -> list[str]:
        kept = [f"{path} is not on the list of inputs, and kept" for path in self.unlisted]
        return [*map(str, self.removed), *kept]


def superseded_artifacts(
    finished: Sequence[Artifact], newest: Iterable[Artifact], runs: Sequence[RunRecord]
) -> list[Path]:
    """Artifacts that runs made or used, but not the newest run of their stage nor what follows from it.

    An artifact that no log of a run names stays: its origin is unknown.

    Parameters
    ----------
    finished : sequence of Artifact
        All finished artifacts.
    newest : iterable of Artifact
        Those that stay, with everything that they were made from.
    runs : sequence of RunRecord

    Returns
    -------
    list of Path
        Folders of the artifacts.

    Raises
    ------
    ProjectError
        The log of a run is missing or damaged.
    """
    named = {record.folder.parents[1] / name for record in runs for name in _artifacts_in(record.folder)}
    needed = _with_sources(newest, {artifact.path.name: artifact for artifact in finished})
    return [a.path for a in finished if a.path in named and a.path.name not in needed]


def _with_sources(artifacts: Iterable[Artifact], known: dict[str, Artifact]) -> set[str]:
    """Names of artifacts and of all that they were made from."""
    names: set[str] = set()
    waiting = list(artifacts)
    while waiting:
        artifact = waiting.pop()
        if artifact.path.name not in names:
            names.add(artifact.path.name)
            sources = (f"{stage}-{mark}" for stage, mark in artifact.manifest.inputs.items())
            waiting += [known[name] for name in sources if name in known]
    return names


def _artifacts_in(run: Path) -> set[str]:
    """Artifacts that a run's log names, relative to the project's folder."""
    log = run / EVENTS
    try:
        lines = log.read_bytes().splitlines(keepends=True)
        # A killed process leaves its last line without an end.
        events = [parse_event(line) for line in lines if line.endswith(b"\n")]
    except (OSError, ValidationError) as error:
        trouble = error.strerror if isinstance(error, OSError) else "a line is damaged, or of a newer recon3d"
        raise ProjectError(
            f"{log} cannot be read ({trouble}), so it is unknown which artifacts that run needs.",
            f"Restore it, or remove {run} if you do not need that run's results.",
        ) from error
    made = [event for event in events if isinstance(event, StageCompleted | StageSkipped)]
    return {event.artifact for event in made if event.artifact is not None}

"""Removing what a project does not need any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from recon3d.errors import ProjectError
from recon3d.events import StageCompleted, StageSkipped, parse_event
from recon3d.project.artifacts import Artifact, bytes_in
from recon3d.project.project import Project
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


def clean(project: Project, *, superseded: bool, dry_run: bool) -> Cleaning:
    """Do what `Project.clean` says."""
    with project.lock():
        paths = [*project.store.leftovers(), *project.input_leftovers()]
        if superseded:
            paths += _superseded(project)
        cleaning = Cleaning({p: bytes_in(p) for p in paths}, tuple(project.unlisted_inputs()), dry_run)
        if not dry_run:
            for path in paths:
                project.store.remove(path)
        return cleaning


def _superseded(project: Project) -> list[Path]:
    """Artifacts that runs made or used, but not the newest run of their stage nor what follows from it.

    An artifact that no log of a run names stays: whose it is cannot be told.
    """
    named = {project.path / name for record in project.runs for name in _artifacts_in(record.folder)}
    finished = project.store.all()
    needed = _with_sources(project.artifacts.values(), {a.path.name: a for a in finished})
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
    log = run / "events.jsonl"
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

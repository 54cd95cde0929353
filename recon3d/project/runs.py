"""The runs that a project remembers, and what they made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recon3d.events import Event, RunState, StageCompleted, StageSkipped, fold, read_events
from recon3d.layout import EVENTS, RUNS
from recon3d.project.artifacts import Artifact, ArtifactStore
from recon3d.project.lock import is_held
from recon3d.rendering.formatting import Described


@dataclass(frozen=True, repr=False)
class RunRecord(Described):
    """A run that the project remembers."""

    name: str
    folder: Path

    @property
    def state(self) -> RunState:
        """What the run's events add up to."""
        return fold(self.events)

    @property
    def events(self) -> list[Event]:
        """What happened in it."""
        return read_events(self.folder / EVENTS)

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """The artifact of each stage that the run made or used, as far as the project still has them."""
        root = self.folder.parents[1]
        return _used(self, root, ArtifactStore(root).all())

    @property
    def running(self) -> bool:
        """Whether a process, this one or another, works on it."""
        root = self.folder.parents[1]
        return self.state.ended is None and _run_folders(root)[-1].name == self.name and is_held(root)

    @property
    def status(self) -> str:
        """Status of its state; "interrupted" when its process ended before the run did."""
        state = self.state
        return "interrupted" if state.ended is None and not self.running else state.status

    def _facts(self) -> list[str]:
        return [self.name, self.status, *self.state._facts()[1:]]

    def _repr_html_(self) -> str:
        return self.state.html(self.status)


def runs_of(root: Path) -> tuple[RunRecord, ...]:
    """List the runs of a project.

    Parameters
    ----------
    root : Path
        The project's folder.

    Returns
    -------
    tuple of RunRecord
        Oldest first.
    """
    return tuple(RunRecord(folder.name, folder) for folder in _run_folders(root))


def newest_artifacts(root: Path, finished: Sequence[Artifact]) -> dict[str, Artifact]:
    """The artifact of each stage that the newest run of that stage made or used.

    Parameters
    ----------
    root : Path
        The project's folder.
    finished : sequence of Artifact
        All finished artifacts, oldest first.

    Returns
    -------
    dict of str to Artifact
        Artifacts by stage.
    """
    newest = {artifact.stage: artifact for artifact in finished}
    if len(newest) == len(finished):  # no stage has a choice
        return newest
    chosen: dict[str, Artifact] = {}
    for record in reversed(runs_of(root)):
        chosen = _used(record, root, finished) | chosen
        if len(chosen) == len(newest):
            break
    return {stage: chosen.get(stage, artifact) for stage, artifact in newest.items()}


def _used(record: RunRecord, root: Path, finished: Sequence[Artifact]) -> dict[str, Artifact]:
    known = {artifact.path.relative_to(root).as_posix(): artifact for artifact in finished}
    made = [event for event in record.events if isinstance(event, StageCompleted | StageSkipped)]
    return {event.stage: known[event.artifact] for event in made if event.artifact in known}


def _run_folders(root: Path) -> list[Path]:
    return sorted(path for path in (root / RUNS).glob("*") if path.is_dir())

"""Artifacts: the finished, immutable folder that each stage leaves.

A stage writes into ``work/STAGE-FINGERPRINT``. When it is done the manifest is written there, last,
and the folder is renamed to ``artifacts/STAGE-FINGERPRINT``. Renamed means finished; nothing else
does. A folder in ``work`` belongs to an interrupted run and is handed to the next one that has the
same fingerprint.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from recon3d.errors import ProjectError
from recon3d.io.atomic import TEMPORARY, read_json, write_json
from recon3d.layout import ARTIFACTS, COUNTS, MANIFEST, PREVIEW, WORK, counts_of
from recon3d.rendering.formatting import Described, byte_text, card, jpeg_uri

#: Names of the folders of artifacts and of unfinished work: all else is not ours.
_NAME = re.compile(r"[a-z_]+-[0-9a-f]+")


class Manifest(BaseModel):
    """How an artifact came to be."""

    model_config = ConfigDict(frozen=True)

    stage: str
    stage_version: int
    fingerprint: str
    inputs: dict[str, str]
    options: dict[str, Any]
    seed: int
    engine: str
    workers: int
    versions: dict[str, str]
    started: float
    seconds: float
    cpu_seconds: float
    peak_memory: int
    #: Bytes that went through a storage; see `recon3d.storage.Moved`. Empty without one.
    moved: dict[str, int] = {}
    counts: dict[str, Any]
    fallbacks: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Artifact(Described):
    """A finished folder of a stage."""

    path: Path
    manifest: Manifest

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return self.manifest.stage

    @property
    def counts(self) -> Any:
        """The stage's counts, as attributes; the manifest has the same as a dictionary.

        Raises
        ------
        InputError
            The manifest lacks one, since another version of recon3d made it.
        """
        return counts_of(COUNTS[self.stage], self.manifest.counts)

    def _facts(self) -> list[str]:
        manifest = self.manifest
        counts = [f"{key.replace('_', ' ')} {value}" for key, value in manifest.counts.items()]
        memory = byte_text(manifest.peak_memory)
        return [
            self.stage.replace("_", " "),
            f"{manifest.seconds:.1f} s",
            memory,
            *counts,
            *manifest.fallbacks,
        ]

    def _details(self) -> list[str]:
        return [str(self.path)]

    def _repr_html_(self) -> str:
        picture = self.path / PREVIEW
        return card(
            "Artifact", [*self._facts(), *self._details()], jpeg_uri(picture if picture.is_file() else None)
        )


def fingerprint(
    stage: str, version: int, options: Mapping[str, Any], inputs: Mapping[str, str], seed: int
) -> str:
    """Name what a stage would make: 16 hexadecimal digits.

    Parameters
    ----------
    stage : str
    version : int
        Version of the stage's code.
    options : mapping
        The stage's options.
    inputs : mapping of str to str
        Fingerprints of what it reads.
    seed : int

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    text = json.dumps([stage, version, dict(options), dict(inputs), seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class ArtifactStore:
    """The artifacts of a project.

    Parameters
    ----------
    root : Path
        The project's folder.
    """

    def __init__(self, root: Path) -> None:
        self.finished = root / ARTIFACTS
        self.unfinished = root / WORK

    def find(self, stage: str, fingerprint: str) -> Artifact | None:
        """Find a finished artifact.

        Parameters
        ----------
        stage : str
            Name of the stage.
        fingerprint : str

        Returns
        -------
        Artifact or None
            None when it does not exist.

        Raises
        ------
        ProjectError
            Its manifest is missing or damaged; the same holds for `all`.
        """
        return _load(self.finished / f"{stage}-{fingerprint}")

    def all(self) -> list[Artifact]:
        """List all finished artifacts.

        Returns
        -------
        list of Artifact
            Oldest first.
        """
        paths = [path for path in self.finished.glob("*-*") if _NAME.fullmatch(path.name)]
        found = [artifact for path in paths if (artifact := _load(path)) is not None]
        return sorted(found, key=lambda artifact: artifact.manifest.started)

    def begin(self, stage: str, fingerprint: str) -> Path:
        """Make a working folder, or find the one that an interrupted run left.

        Parameters
        ----------
        stage : str
            Name of the stage.
        fingerprint : str

        Returns
        -------
        Path
        """
        path = self.unfinished / f"{stage}-{fingerprint}"
        path.mkdir(parents=True, exist_ok=True)
        for leftover in path.rglob(f"{TEMPORARY}*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        return path

    def commit(self, work: Path, manifest: Manifest) -> Artifact:
        """Turn a working folder into an artifact; temporary files (``.tmp-*``) in it are removed.

        Parameters
        ----------
        work : Path
            The working folder.
        manifest : Manifest
            Written into it.

        Returns
        -------
        Artifact
        """
        write_json(work / MANIFEST, manifest.model_dump(mode="json"))
        former = self.finished / work.name
        # A stage that was run again on purpose replaces its former artifact.
        discarded = [self._set_aside(path) for path in (*work.glob(f"{TEMPORARY}*"), former) if path.exists()]
        target = self.adopt(work, work.name)
        for path in discarded:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        return Artifact(target, manifest)

    def adopt(self, folder: Path, name: str) -> Path:
        """Make a whole folder an artifact: the disk holds its content before it gets its name.

        Parameters
        ----------
        folder : Path
            On the same disk; it has its manifest.
        name : str
            ``STAGE-FINGERPRINT``; there is no such artifact.

        Returns
        -------
        Path
            The artifact's folder.
        """
        target = self.finished / name
        self.finished.mkdir(parents=True, exist_ok=True)
        for path in folder.rglob("*"):
            if path.is_file():
                _sync(path)
        os.rename(folder, target)
        _sync(self.finished)
        return target

    def _set_aside(self, path: Path) -> Path:
        """Move something to where leftovers are removed."""
        aside = self.unfinished / f"{TEMPORARY}{uuid.uuid4().hex[:8]}"
        aside.parent.mkdir(exist_ok=True)
        os.rename(path, aside)
        return aside

    def leftovers(self) -> list[Path]:
        """List working folders, and folders set aside there; other files in ``work`` are not recon3d's.

        Returns
        -------
        list of Path
        """
        return sorted(
            path
            for path in self.unfinished.glob("*")
            if path.name.startswith(TEMPORARY) or _NAME.fullmatch(path.name)
        )

    def remove(self, path: Path) -> None:
        """Remove a file or folder of the project; after a crash nothing partial keeps its name.

        Parameters
        ----------
        path : Path
        """
        aside = self._set_aside(path)
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()


def bytes_in(path: Path) -> int:
    """Measure the size on disk of a file or folder; a file with two names counts once.

    Parameters
    ----------
    path : Path

    Returns
    -------
    int
        Bytes.
    """
    seen: dict[tuple[int, int], int] = {}
    for entry in (path, *path.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            status = entry.lstat()
            seen[(status.st_dev, status.st_ino)] = status.st_size
    return sum(seen.values())


def _load(folder: Path) -> Artifact | None:
    try:
        return Artifact(folder, Manifest.model_validate(read_json(folder / MANIFEST)))
    except FileNotFoundError:
        if not folder.is_dir():  # never made, or set aside at this moment
            return None
        trouble = "is missing"
    except (OSError, ValueError) as error:
        trouble = f"cannot be read ({type(error).__name__})"
    raise ProjectError(
        f"{folder / MANIFEST} {trouble}.",
        "Restore it, or move the whole folder away: the next run makes it again.",
    )


def _sync(path: Path) -> None:
    """Have the disk hold a file's or a folder's content, also after the power fails."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Artifacts: the finished, immutable folder that each stage leaves.

A stage writes into ``work/STAGE-FINGERPRINT``. When it is done the manifest is written there, last,
and the folder is renamed to ``artifacts/STAGE-FINGERPRINT``. Renamed means finished; nothing else
does. A folder in ``work`` belongs to an interrupted run and is handed to the next one that has the
same fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from recon3d.io.atomic import read_json, write_json
from recon3d.layout import ARTIFACTS, MANIFEST, PREVIEW, WORK
from recon3d.rendering.formatting import Described, byte_text, card, jpeg_uri


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
        """The finished artifact of that name, if there is one."""
        path = self.finished / f"{stage}-{fingerprint}"
        return Artifact(path, _read_manifest(path)) if (path / MANIFEST).is_file() else None

    def all(self) -> list[Artifact]:
        """All finished artifacts, oldest first."""
        paths = [p for p in self.finished.glob("*-*") if (p / MANIFEST).is_file()]
        return sorted((Artifact(p, _read_manifest(p)) for p in paths), key=lambda a: a.manifest.started)

    def begin(self, stage: str, fingerprint: str) -> Path:
        """The working folder of that name, with what an interrupted run left in it."""
        path = self.unfinished / f"{stage}-{fingerprint}"
        path.mkdir(parents=True, exist_ok=True)
        for leftover in path.rglob(".tmp-*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        return path

    def commit(self, work: Path, manifest: Manifest) -> Artifact:
        """Finish a working folder; what is called ``.tmp-*`` in it goes."""
        write_json(work / MANIFEST, manifest.model_dump(mode="json"))
        target = self.finished / work.name
        target.parent.mkdir(parents=True, exist_ok=True)
        # A stage that was run again on purpose replaces its former artifact.
        discarded = [self._set_aside(path) for path in (*work.glob(".tmp-*"), target) if path.exists()]
        for path in work.rglob("*"):
            if path.is_file():
                _sync(path)
        os.rename(work, target)
        _sync(target.parent)
        for path in discarded:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        return Artifact(target, manifest)

    def _set_aside(self, path: Path) -> Path:
        """Move something to where leftovers are removed."""
        aside = self.unfinished / f".tmp-{uuid.uuid4().hex[:8]}"
        os.rename(path, aside)
        return aside

    def discard_work(self, keep: frozenset[str] = frozenset()) -> None:
        """Remove working folders, except those named."""
        for path in self.unfinished.glob("*"):
            if path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)


def _read_manifest(folder: Path) -> Manifest:
    return Manifest.model_validate(read_json(folder / MANIFEST))


def _sync(path: Path) -> None:
    """Have the disk hold a file's or a folder's content, also after the power fails."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

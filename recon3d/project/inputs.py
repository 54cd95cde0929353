"""The files that the user gave, as a project keeps them."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from recon3d.errors import InputError, ProjectError
from recon3d.io.atomic import atomic_path, read_json, write_json

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".m4v", ".webm"})


@dataclass(frozen=True)
class Input:
    """A file that the user gave.

    Parameters
    ----------
    kind : {"video", "photo", "posed_photo"}
        A posed photo belongs to a model with known cameras.
    path : str
        Where the project keeps it, relative to its ``inputs`` folder.
    name : str
        The file's own name; of a posed photo, its name in the model.
    sha256 : str
        Digest of its bytes.
    """

    kind: Literal["video", "photo", "posed_photo"]
    path: str
    name: str
    sha256: str


class InputFolder:
    """A project's ``inputs``: the files, and ``inputs.json`` that lists them.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def items(self) -> tuple[Input, ...]:
        """The files that were added."""
        return tuple(Input(**row) for row in self._document()["inputs"])

    @property
    def poses(self) -> Path | None:
        """Folder of the COLMAP model with known cameras, if the user gave one."""
        relative = self._document()["poses"]
        return None if relative is None else self.path / relative

    def check(self, files: list[Path], kind: str) -> list[str]:
        """Digests of files that are to be added, each looked into first.

        Raises
        ------
        InputError
            A file cannot be read, or is not of that kind.
        """
        from recon3d.io.probe import probe_input

        digests = []
        for file in files:
            probed = probe_input(file)
            if (probed.kind == "video") != (kind == "video"):
                raise InputError(
                    f"{file} is a {probed.kind}.", "Add videos with add_video, photos with add_photos."
                )
            digests.append(_digest(file))
        return digests

    def add(
        self,
        files: list[Path],
        digests: list[str],
        kind: Literal["video", "photo", "posed_photo"],
        *,
        names: list[str],
        poses: Path | None = None,
    ) -> tuple[Input, ...]:
        """Copy files that `check` passed; the caller holds the project's lock.

        Raises
        ------
        ProjectError
            The project holds inputs of the other kind, or cannot be written.
        """
        document = self._document()
        rows: list[dict[str, Any]] = document["inputs"]
        given = poses is not None
        if rows and any((row["kind"] == "posed_photo") != given for row in rows):
            raise ProjectError(
                f"{self.path.parent} cannot mix photos with known cameras and others.",
                "Use another project for them.",
            )
        known = {(row["sha256"], row["name"] if given else ""): row for row in rows}
        added = []
        for file, name, digest in zip(files, names, digests, strict=True):
            key = (digest, name if given else "")
            if key not in known:
                taken = {row["path"] for row in rows}
                path = f"posed/{name}" if given else _free_path(f"{kind}s", name, taken)
                self._copy(file, self.path / path)
                known[key] = {"kind": kind, "path": path, "name": name, "sha256": digest}
                rows.append(known[key])
            added.append(Input(**known[key]))
        if poses is not None:
            parts = [part for part in sorted(poses.iterdir()) if part.suffix in (".bin", ".txt")]
            for part in parts:
                self._copy(part, self.path / "model" / part.name)
            # Cameras that are given again replace the former ones, in whichever format those were.
            for former in (self.path / "model").iterdir():
                if former.name not in {part.name for part in parts}:
                    former.unlink()
            document["poses"] = "model"
        if document != self._document():
            with self._explained("The list of inputs"):
                write_json(self.path / "inputs.json", document)
        return tuple(added)

    def remove_strays(self) -> None:
        """Remove copies that are not on the list: an addition that was cut off left them."""
        known = {self.path / row.path for row in self.items}
        for folder in ("videos", "photos", "posed_photos", "posed"):
            for file in (self.path / folder).rglob("*"):
                if file.is_file() and file not in known:
                    file.unlink()

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ProjectError(
                f"{what} cannot be written into {self.path.parent}: {error.strerror}.",
                "Free space on the disk, or check the folder's permissions; then run again.",
            ) from error

    def _copy(self, source: Path, target: Path) -> None:
        with self._explained(source.name), atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)

    def _document(self) -> dict[str, Any]:
        path = self.path / "inputs.json"
        return read_json(path) if path.is_file() else {"inputs": [], "poses": None}

    def fingerprint(self) -> str:
        """Digest of the inputs' bytes and names."""
        digest = hashlib.sha256()
        for item in sorted(self.items, key=lambda i: i.path):
            digest.update(f"{item.kind}\0{item.path}\0{item.sha256}\n".encode())
        if self.poses is not None:
            for part in sorted(self.poses.iterdir()):
                digest.update(f"{part.name}\0{_digest(part)}\n".encode())
        return digest.hexdigest()[:16]


def media(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """Files of a folder whose names end in one of `suffixes`, in order."""
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))
    if not found:
        raise InputError(
            f"{folder} holds nothing to reconstruct from.",
            f"Give files that end in {', '.join(sorted(suffixes))}.",
        )
    return found


def _free_path(folder: str, name: str, taken: set[str]) -> str:
    stem, suffix = Path(name).stem, Path(name).suffix
    path, number = f"{folder}/{name}", 2
    while path in taken:
        path, number = f"{folder}/{stem}-{number}{suffix}", number + 1
    return path


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    return digest.hexdigest()

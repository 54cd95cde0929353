"""A project: one folder with its inputs, artifacts, runs and results.

Only relative paths are stored, so the folder can be moved. Every change is a rename, so a crash at
any moment leaves either the old state or the new one. One writer at a time holds the lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import filelock

from recon3d.artifacts import Artifact, ArtifactStore
from recon3d.errors import InputError, ProjectError
from recon3d.events import RunState, fold, read_events
from recon3d.io.files import atomic_path, read_json, write_json
from recon3d.results import Results

_MARKER = "recon3d.json"
_FORMAT = 1
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


@dataclass(frozen=True)
class RunRecord:
    """A run that the project remembers."""

    name: str
    folder: Path

    @property
    def state(self) -> RunState:
        """What the run's events add up to."""
        return fold(read_events(self.folder / "events.jsonl"))


class Project:
    """A folder that holds everything about one reconstruction.

    Use `Project.create` or `Project.open`.

    Attributes
    ----------
    path : Path
        The project's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    # --- making and opening ---------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, exist_ok: bool = False) -> Project:
        """Make a project.

        Parameters
        ----------
        path : path-like
            A folder that does not exist yet, or is empty.
        exist_ok : bool
            Open the project when it exists already.

        Raises
        ------
        ProjectError
            The folder is in use or cannot be written.
        """
        root = Path(path).expanduser().absolute()
        if (root / _MARKER).is_file():
            if exist_ok:
                return cls.open(root)
            raise ProjectError(f"{root} is a project already.", "Use Project.open, or another folder.")
        if root.exists() and not root.is_dir():
            raise ProjectError(f"{root} is a file.", "Choose a folder for the project.")
        if root.is_dir() and any(entry.name != ".lock" for entry in root.iterdir()):
            raise ProjectError(
                f"{root} is not empty and not a project.", "Choose an empty or a new folder for the project."
            )
        try:
            root.mkdir(parents=True, exist_ok=True)
            write_json(root / _MARKER, {"format": _FORMAT, "created": time.time()})
        except OSError as error:
            raise ProjectError(
                f"{root} cannot be written: {error.strerror}.",
                "Choose a folder that you may write to, on a disk with free space.",
            ) from error
        return cls(root)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Project:
        """Open a project.

        Raises
        ------
        ProjectError
            The folder is not a project, or one of a newer version.
        """
        root = Path(path).expanduser().absolute()
        try:
            document = read_json(root / _MARKER)
        except FileNotFoundError:
            raise ProjectError(
                f"{root} is not a recon3d project.",
                "Make one with Project.create or `recon3d run INPUT -o FOLDER`.",
            ) from None
        except (OSError, ValueError) as error:
            raise ProjectError(
                f"{root / _MARKER} cannot be read: {error}.", "Restore the file, or start a new project."
            ) from error
        if document.get("format", 0) > _FORMAT:
            raise ProjectError(f"{root} was made by a newer recon3d.", "pip install --upgrade recon3d")
        return cls(root)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the project against other writers.

        Raises
        ------
        ProjectError
            Another process works on it, or the folder cannot be written.
        """
        # The operating system lets go of the lock when the process ends, however it ends.
        lock = filelock.FileLock(self.path / ".lock", timeout=0, thread_local=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise ProjectError(
                f"Another process works on {self.path}.", "Wait for it, cancel it, or use another project."
            ) from None
        except OSError as error:
            raise ProjectError(
                f"{self.path} cannot be written: {error.strerror}.", "Check the folder's permissions."
            ) from error
        try:
            yield
        finally:
            lock.release()

    # --- inputs ---------------------------------------------------------------------------------

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The files that were added."""
        return tuple(Input(**row) for row in self._inputs_document()["inputs"])

    @property
    def poses(self) -> Path | None:
        """Folder of the COLMAP model with known cameras, if the user gave one."""
        relative = self._inputs_document()["poses"]
        return None if relative is None else self.path / "inputs" / relative

    def add(self, inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[Input, ...]:
        """Copy videos, photos and folders of them into the project, whichever each is.

        Raises
        ------
        InputError
            A file is missing or cannot be read, or a folder holds neither.
        """
        given = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
        paths: list[Path] = []
        for entry in map(Path, given):
            paths += _media(entry, PHOTO_SUFFIXES | VIDEO_SUFFIXES) if entry.is_dir() else [entry]
        videos = [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES]
        photos = [path for path in paths if path not in videos]
        added = tuple(self.add_video(path) for path in videos)
        return added + (self.add_photos(photos) if photos else ())

    def add_video(self, path: str | os.PathLike[str]) -> Input:
        """Copy a video into the project; the same video twice is added once.

        Raises
        ------
        InputError
            The file is missing, or is not a video that can be read.
        """
        return self._add([Path(path)], "video")[0]

    def add_photos(
        self, photos: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    ) -> tuple[Input, ...]:
        """Copy photos into the project.

        Parameters
        ----------
        photos : path-like or sequence of path-like
            A photo, a folder of photos, or several of them.

        Raises
        ------
        InputError
            A file is missing or cannot be read, or a folder holds no photo.
        """
        given = [photos] if isinstance(photos, str | os.PathLike) else list(photos)
        files: list[Path] = []
        for entry in map(Path, given):
            files += _media(entry, PHOTO_SUFFIXES) if entry.is_dir() else [entry]
        return self._add(files, "photo")

    def add_posed_photos(
        self, images: str | os.PathLike[str], model: str | os.PathLike[str]
    ) -> tuple[Input, ...]:
        """Copy photos and a COLMAP model of their known cameras into the project.

        Parameters
        ----------
        images : path-like
            Folder that the model's image names are relative to.
        model : path-like
            Folder with cameras, images and points3D, as .bin or .txt.

        Raises
        ------
        InputError
            The model is incomplete, or names a photo that is missing.
        """
        from recon3d.io.colmap_model import model_image_names

        images, model = Path(images), Path(model)
        names = model_image_names(model)
        missing = [name for name in names if not (images / name).is_file()]
        if missing:
            raise InputError(
                f"{images / missing[0]} is missing: {len(missing)} of the model's {len(names)} images are.",
                "Give the folder that the model's image names are relative to.",
            )
        return self._add([images / name for name in names], "posed_photo", names=names, poses=model)

    def _add(
        self,
        files: list[Path],
        kind: Literal["video", "photo", "posed_photo"],
        names: list[str] | None = None,
        poses: Path | None = None,
    ) -> tuple[Input, ...]:
        from recon3d.io.probe import probe_input

        names = names or [file.name for file in files]
        digests = []
        for file in files:
            probed = probe_input(file)
            if (probed.kind == "video") != (kind == "video"):
                raise InputError(
                    f"{file} is a {probed.kind}.",
                    "Add videos with add_video, photos with add_photos.",
                )
            digests.append(_digest(file))
        with self.lock():
            document = self._inputs_document()
            rows: list[dict[str, Any]] = document["inputs"]
            given = poses is not None
            if rows and any((row["kind"] == "posed_photo") != given for row in rows):
                raise ProjectError(
                    f"{self.path} cannot mix photos with known cameras and others.",
                    "Use another project for them.",
                )
            known = {(row["sha256"], row["name"] if given else ""): row for row in rows}
            added = []
            for file, name, digest in zip(files, names, digests, strict=True):
                row = known.get((digest, name if given else ""))
                if row is None:
                    taken = {r["path"] for r in rows}
                    row = {
                        "kind": kind,
                        "path": f"posed/{name}" if given else _free_path(f"{kind}s", name, taken),
                        "name": name,
                        "sha256": digest,
                    }
                    self._copy(file, self.path / "inputs" / row["path"])
                    rows.append(row)
                    known[(digest, name if given else "")] = row
                added.append(Input(**row))
            if poses is not None:
                target = self.path / "inputs" / "model"
                for part in sorted(poses.iterdir()):
                    if part.suffix in (".bin", ".txt"):
                        self._copy(part, target / part.name)
                document["poses"] = "model"
            if document != self._inputs_document():
                write_json(self.path / "inputs" / "inputs.json", document)
        return tuple(added)

    def _copy(self, source: Path, target: Path) -> None:
        try:
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)
        except OSError as error:
            raise ProjectError(
                f"{source.name} cannot be copied into {self.path}: {error.strerror}.",
                "Free space on the disk, or check the folder's permissions; then run again.",
            ) from error

    def _inputs_document(self) -> dict[str, Any]:
        path = self.path / "inputs" / "inputs.json"
        return read_json(path) if path.is_file() else {"inputs": [], "poses": None}

    def inputs_fingerprint(self) -> str:
        """Digest of the inputs' bytes and names."""
        digest = hashlib.sha256()
        for item in sorted(self.inputs, key=lambda i: i.path):
            digest.update(f"{item.kind}\0{item.path}\0{item.sha256}\n".encode())
        if self.poses is not None:
            for part in sorted(self.poses.iterdir()):
                digest.update(f"{part.name}\0{_digest(part)}\n".encode())
        return digest.hexdigest()[:16]

    # --- what was made --------------------------------------------------------------------------

    @property
    def store(self) -> ArtifactStore:
        """Where artifacts are kept."""
        return ArtifactStore(self.path)

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """The newest finished artifact of each stage."""
        return {artifact.stage: artifact for artifact in self.store.all()}

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """Runs, oldest first."""
        folders = sorted(p for p in (self.path / "runs").glob("*") if p.is_dir())
        return tuple(RunRecord(p.name, p) for p in folders)

    @property
    def results(self) -> Results:
        """The files made so far."""
        return Results(self.path / "results")

    @property
    def size(self) -> int:
        """Bytes on disk; a file with two names in the project counts once."""
        seen: dict[tuple[int, int], int] = {}
        for entry in self.path.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                status = entry.lstat()
                seen[(status.st_dev, status.st_ino)] = status.st_size
        return sum(seen.values())

    def clean(self) -> int:
        """Remove unfinished work, and artifacts that no stage of the newest run used.

        Returns
        -------
        int
            Bytes that were freed.
        """
        with self.lock():
            before = self.size
            current = {artifact.path for artifact in self.artifacts.values()}
            for artifact in self.store.all():
                if artifact.path not in current:
                    shutil.rmtree(artifact.path)
            self.store.discard_work()
            known = {self.path / "inputs" / row.path for row in self.inputs}
            for folder in ("videos", "photos", "posed"):
                for file in (self.path / "inputs" / folder).rglob("*"):
                    if file.is_file() and file not in known:
                        file.unlink()
            return max(before - self.size, 0)

    def __repr__(self) -> str:
        made = ", ".join(self.artifacts) or "nothing yet"
        return f"<Project {self.path}: {len(self.inputs)} inputs, made: {made}>"


def _media(folder: Path, suffixes: frozenset[str]) -> list[Path]:
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

"""The files that the user gave, as a project keeps them."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from recon3d.errors import InputError, ProjectError
from recon3d.io.atomic import TEMPORARY, atomic_path
from recon3d.layout import Input, InputList, input_list_file, read_input_list, write_input_list

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".m4v", ".webm"})
_Kind = Literal["video", "photo", "posed_photo"]
#: Folder of the known cameras.
_MODEL = "model"
#: Folders of the copies, and what is in each.
_FOLDERS: dict[str, tuple[_Kind, frozenset[str]]] = {
    "videos": ("video", VIDEO_SUFFIXES),
    "photos": ("photo", PHOTO_SUFFIXES),
    "posed": ("posed_photo", PHOTO_SUFFIXES),
}
#: Files that an error names.
_SHOWN = 5


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
        """The files that were added.

        Raises
        ------
        ProjectError
            The list is damaged, or missing although there are files; the same holds for all else
            that reads it.
        """
        return self._listed().inputs

    @property
    def poses(self) -> Path | None:
        """Folder of the COLMAP model with known cameras, if the user gave one."""
        relative = self._listed().poses
        return None if relative is None else self.path / relative

    def check(self, files: list[Path], kind: str) -> list[str]:
        """Check files before they are added.

        Parameters
        ----------
        files : list of Path
        kind : {"video", "photo", "posed_photo"}

        Returns
        -------
        list of str
            Digests of the files.

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
        kind: _Kind,
        *,
        names: list[str],
        poses: Path | None = None,
    ) -> tuple[Input, ...]:
        """Copy files that `check` passed; the caller holds the project's lock.

        Parameters
        ----------
        files : list of Path
        digests : list of str
            From `check`.
        kind : {"video", "photo", "posed_photo"}
        names : list of str
            What the project calls each file.
        poses : Path, optional
            Folder of the COLMAP model with the photos' cameras.

        Returns
        -------
        tuple of Input
            The inputs that were added.

        Raises
        ------
        ProjectError
            The project holds inputs of the other kind, or cannot be written.
        """
        listed = self._listed()
        if not input_list_file(self.path).exists():  # of an earlier version, and still without files
            with self._explained("The list of inputs"):
                self.begin()
        rows = list(listed.inputs)
        given = poses is not None
        if any((row.kind == "posed_photo") != given for row in rows):
            raise ProjectError(
                f"{self.path.parent} cannot mix photos with known cameras and others.",
                "Use another project for them.",
            )
        known = {(row.sha256, row.name if given else ""): row for row in rows}
        added = []
        for file, name, digest in zip(files, names, digests, strict=True):
            key = (digest, name if given else "")
            new = key not in known
            if new:
                path = f"posed/{name}" if given else self._free_path(f"{kind}s", name, digest, rows)
                known[key] = Input(kind, path, name, digest)
                rows = [row for row in rows if row.path != path]  # a posed photo given anew
                rows.append(known[key])
            copy = self.path / known[key].path
            if not copy.is_file() or (new and _digest(copy) != digest):
                self._copy(file, copy)
            added.append(known[key])
        if poses is not None:
            self._copy_model(poses)
        changed = InputList(tuple(rows), listed.poses if poses is None else _MODEL)
        if changed != listed:
            with self._explained("The list of inputs"):
                write_input_list(self.path, changed)
        return tuple(added)

    def _copy_model(self, poses: Path) -> None:
        parts = [part for part in sorted(poses.iterdir()) if part.suffix in (".bin", ".txt")]
        for part in parts:
            self._copy(part, self.path / _MODEL / part.name)
        # Cameras that are given again replace the former ones, in whichever format those were.
        for old in (self.path / _MODEL).iterdir():
            if old.name not in {part.name for part in parts}:
                old.unlink()

    def begin(self) -> None:
        """Write an empty list, so that a list that is missing later was lost."""
        write_input_list(self.path, InputList())

    def leftovers(self) -> list[Path]:
        """List partial copies that an interrupted addition left.

        Returns
        -------
        list of Path
        """
        return [path for path in self._files() if path.name.startswith(TEMPORARY)]

    def unlisted(self) -> list[Path]:
        """List complete files that are not on the list of inputs.

        Returns
        -------
        list of Path
        """
        known = {self.path / item.path for item in self.items}
        return [path for path in self._files() if not path.name.startswith(".") and path not in known]

    def relist(self) -> tuple[Input, ...]:
        """Write a new list of the files that are there; the caller holds the project's lock.

        The former list, if there is one, is kept under another name. Files whose copies were renamed
        because two had the same name keep the name of the copy.

        Returns
        -------
        tuple of Input
            What is on the list now.

        Raises
        ------
        ProjectError
            There are photos with known cameras and others, the cameras are missing, or the list cannot
            be written.
        """
        rows = []
        for folder, (kind, suffixes) in _FOLDERS.items():
            for path in sorted((self.path / folder).rglob("*")):
                if path.is_file() and path.suffix.lower() in suffixes and not path.name.startswith("."):
                    relative = path.relative_to(self.path / folder).as_posix()
                    rows.append(Input(kind, f"{folder}/{relative}", relative, _digest(path)))
        posed = {row.kind == "posed_photo" for row in rows}
        if len(posed) > 1:
            raise ProjectError(
                f"{self.path} holds photos with known cameras, in posed/, and others.",
                "Move those that do not belong to the project to another folder.",
            )
        if True in posed and not (self.path / _MODEL).is_dir():
            raise ProjectError(
                f"{self.path / _MODEL} is missing: the known cameras of the photos in posed/.",
                "Restore the folder, or start a new project with the photos and their cameras.",
            )
        with self._explained("The list of inputs"):
            former = input_list_file(self.path)
            if former.exists():
                former.rename(_free_name(former.with_name(f"{former.name}.former")))
            write_input_list(self.path, InputList(tuple(rows), _MODEL if True in posed else None))
        return tuple(rows)

    def _files(self) -> list[Path]:
        return sorted(p for folder in _FOLDERS for p in (self.path / folder).rglob("*") if p.is_file())

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

    def _listed(self) -> InputList:
        path = input_list_file(self.path)
        try:
            return read_input_list(self.path)
        except FileNotFoundError:
            files = self._files()
            if not files:
                return InputList()
            trouble = f"{path} is missing"
        except OSError as error:
            raise ProjectError(
                f"{path} cannot be read: {error.strerror}.", "Check the file's permissions."
            ) from error
        except InputError as error:
            files, trouble = self._files(), error.message.rstrip(".")
        names = [file.relative_to(self.path).as_posix() for file in files]
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else "")
        raise ProjectError(
            f"{trouble}; the folder holds {shown or 'no files'}.",
            "Restore it from a copy, or list the files that are there anew with "
            f"`recon3d repair {self.path.parent}` or Project.relist_inputs().",
        )

    def _free_path(self, folder: str, name: str, digest: str, rows: list[Input]) -> str:
        """Where a copy may go: a file that is there already stays, unless it is the same."""
        taken = {row.path for row in rows}
        stem, suffix = Path(name).stem, Path(name).suffix
        path, number = f"{folder}/{name}", 2
        while path in taken or ((self.path / path).exists() and _digest(self.path / path) != digest):
            path, number = f"{folder}/{stem}-{number}{suffix}", number + 1
        return path

    def fingerprint(self) -> str:
        """Compute a digest of the inputs' bytes and names.

        Returns
        -------
        str
            Hexadecimal digits.
        """
        digest = hashlib.sha256()
        for item in sorted(self.items, key=lambda i: i.path):
            digest.update(f"{item.kind}\0{item.path}\0{item.sha256}\n".encode())
        if self.poses is not None:
            for part in sorted(self.poses.iterdir()):
                digest.update(f"{part.name}\0{_digest(part)}\n".encode())
        return digest.hexdigest()[:16]


def media(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """List the files of a folder with certain suffixes.

    Parameters
    ----------
    folder : Path
    suffixes : frozenset of str
        In lower case, with the dot.

    Returns
    -------
    list of Path
        Sorted.

    Raises
    ------
    InputError
        The folder holds no such file.
    """
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))
    if not found:
        raise InputError(
            f"{folder} holds nothing to reconstruct from.",
            f"Give files that end in {', '.join(sorted(suffixes))}.",
        )
    return found


def _free_name(path: Path) -> Path:
    free, number = path, 2
    while free.exists():
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    return digest.hexdigest()

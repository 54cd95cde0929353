"""The files that the user gave, as a project keeps them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from recon3d.errors import InputError, ProjectError
from recon3d.io.atomic import TEMPORARY, atomic_path
from recon3d.io.copy_names import copy_name
from recon3d.layout import (
    Input,
    InputKind,
    InputList,
    LeftOut,
    input_list_file,
    read_input_list,
    write_input_list,
)
from recon3d.project.gathering import Gathered, digest_of

#: What photos and videos are usually called; their content decides.
PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".heic", ".heif", ".avif", ".webp", ".dng"}
)
VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".mov", ".avi", ".mkv", ".m4v", ".webm", ".3gp", ".3g2"),
        *(".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".wmv"),
    }
)
#: Folder of the known cameras.
_MODEL = "model"
#: Folders of the copies, and what is in each.
_FOLDERS: dict[str, InputKind] = {"videos": "video", "photos": "photo", "posed": "posed_photo"}
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
    def left_out(self) -> tuple[LeftOut, ...]:
        """Files that were given and not added, and why."""
        return self._listed().left_out

    @property
    def poses(self) -> Path | None:
        """Folder of the COLMAP model with known cameras, if the user gave one."""
        relative = self._listed().poses
        return None if relative is None else self.path / relative

    def add(
        self, files: Sequence[Gathered], left_out: Sequence[LeftOut] = (), poses: Path | None = None
    ) -> tuple[Input, ...]:
        """Copy files into the project; the caller holds the project's lock.

        Parameters
        ----------
        files : sequence of Gathered
        left_out : sequence of LeftOut
            What was given with them and cannot be used.
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
        for file in files:
            key = (file.digest, file.name if given else "")
            new = key not in known
            if new:
                # A model names its photos by their paths, so those keep them.
                name = file.name if given else copy_name(file.path.name)
                path = f"posed/{name}" if given else self._free_path(f"{file.kind}s", name, file.digest, rows)
                known[key] = Input(file.kind, path, file.name, file.digest)
                rows = [row for row in rows if row.path != path]  # a posed photo given anew
                rows.append(known[key])
            copy = self.path / known[key].path
            if not copy.is_file() or (new and digest_of(copy) != file.digest):
                self._copy(file.path, copy)
            added.append(known[key])
        if poses is not None:
            self._copy_model(poses)
        seen_anew = {(f.folder, f.name) for f in files} | {(row.folder, row.name) for row in left_out}
        former = [row for row in listed.left_out if (row.folder, row.name) not in seen_anew]
        changed = InputList(tuple(rows), listed.poses if poses is None else _MODEL, (*former, *left_out))
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

    def remove(self, paths: Sequence[str]) -> tuple[Input, ...]:
        """Remove inputs; the caller holds the project's lock.

        Parameters
        ----------
        paths : sequence of str
            Paths of inputs, relative to this folder.

        Returns
        -------
        tuple of Input
            What was removed.

        Raises
        ------
        InputError
            A path is not on the list of inputs. Nothing was removed.
        ProjectError
            An input's camera is known, or the list cannot be written. Nothing was removed.
        """
        listed = self._listed()
        known = {row.path: row for row in listed.inputs}
        if missing := [path for path in paths if path not in known]:
            raise InputError(f"{missing[0]} is not an input of {self.path.parent}.", "`inputs` lists them.")
        gone = [known[path] for path in dict.fromkeys(paths)]
        if posed := [row for row in gone if row.kind == "posed_photo"]:
            raise ProjectError(
                f"{posed[0].name} cannot be removed: the model with the known cameras names it.",
                "Start a new project with the other photos and their cameras.",
            )
        left = tuple(row for row in listed.inputs if row not in gone)
        with self._explained("The list of inputs"):
            write_input_list(self.path, InputList(left, listed.poses, listed.left_out))
        for row in gone:
            # Off the list first: an interruption leaves a file too many, and never a list without its file.
            (self.path / row.path).unlink(missing_ok=True)
        return tuple(gone)

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
        for folder, kind in _FOLDERS.items():
            for path in sorted((self.path / folder).rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    relative = path.relative_to(self.path / folder).as_posix()
                    rows.append(Input(kind, f"{folder}/{relative}", relative, digest_of(path)))
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
            hint = "Check the disk; then run again."
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                hint = "Free space on the disk; then run again."
            elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                hint = "Check the folder's permissions; then run again."
            elif error.errno == errno.ENAMETOOLONG:
                hint = "Choose a project folder with a shorter path."
            raise ProjectError(
                f"{what} cannot be written into {self.path.parent}: {error.strerror}.", hint
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
            if isinstance(error.__cause__, OSError):  # the list may be whole: nothing says to write it anew
                raise ProjectError(error.message, error.hint) from error
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
        stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
        path, number = f"{folder}/{name}", 2
        while path in taken or ((self.path / path).exists() and digest_of(self.path / path) != digest):
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
                digest.update(f"{part.name}\0{digest_of(part)}\n".encode())
        return digest.hexdigest()[:16]


def _free_name(path: Path) -> Path:
    free, number = path, 2
    while free.exists():
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free

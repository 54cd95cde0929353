"""Finding the photos and videos among the files and folders that a user gives."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recon3d.errors import InputError, printable
from recon3d.io import digest
from recon3d.layout import PROJECT_FILE, InputKind, LeftOut

#: Folders and files that systems make beside the user's own. Hidden ones are left alone as well.
_SYSTEM = frozenset(
    {
        "@eadir",
        "__macosx",
        "#recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
    }
)
_THUMBNAILS = frozenset({"thumbs", "thumbnails", "thmbnl"})
#: Small copies that cameras write beside their videos.
_COMPANIONS = {
    ".thm": "is a video's thumbnail",
    ".lrv": "is a small copy that the camera made of a video",
    ".lrf": "is a small copy that the camera made of a video",
}
#: A video of this length beside a photo of the same name is the photo's own: Apple's Live Photos.
_LIVE_SECONDS = 4.0
_STILLS = frozenset({".heic", ".heif", ".jpg", ".jpeg"})
_WHAT_TO_GIVE = "Give photos (JPEG, PNG, TIFF, HEIC …) or videos (MP4, MOV, MKV, MTS …), or a folder of them."
#: Files that an error names.
_SHOWN = 3


@dataclass(frozen=True)
class Gathered:
    """A file that can be added.

    Attributes
    ----------
    path : Path
    folder : str
        Name of the folder that was given; empty for a file that was given itself.
    name : str
        Its name as people read it, relative to that folder.
    kind : {"video", "photo", "posed_photo"}
    digest : str
        SHA-256 of its bytes; empty where it was not needed.
    """

    path: Path
    folder: str
    name: str
    kind: InputKind
    digest: str = ""


@dataclass(frozen=True)
class _Entry:
    path: Path
    folder: str
    name: str
    trouble: str = ""


def gather(
    given: Sequence[Path],
    project: Path | None,
    *,
    kinds: Sequence[InputKind],
    strict: bool,
    hashed: bool = True,
) -> tuple[list[Gathered], list[LeftOut]]:
    """Find what can be added among files and folders, and why the rest cannot.

    Files are known by their content. Subfolders are searched, except hidden ones and those of the
    system.

    Parameters
    ----------
    given : sequence of Path
        Files and folders.
    project : Path, optional
        The folder of the project, which may lie in a folder that was given.
    kinds : sequence of {"video", "photo"}
        What is wanted.
    strict : bool
        Whether every file that is given itself must be usable.
    hashed : bool
        Whether the digest of every file is wanted. Without, only files of the same size are read.

    Returns
    -------
    files : list of Gathered
        At least one.
    left_out : list of LeftOut

    Raises
    ------
    InputError
        A path does not exist, or there is nothing to add.
    """
    files: list[Gathered] = []
    left_out: list[LeftOut] = []
    first: InputError | None = None
    copies = _Copies(hashed)
    for folder, entries in _groups(given, project):
        usable = []
        rows = []
        for entry in entries:
            try:
                file, earlier = copies.look_for(_examine(entry, kinds))
            except InputError as error:
                if strict and not folder:
                    raise
                first = first or error
                rows.append(LeftOut(folder, entry.name, _reason(error, entry.path), len(entries)))
                continue
            if earlier is not None and not strict:
                rows.append(LeftOut(folder, file.name, _again(file, earlier), len(entries)))
                continue
            usable.append(file)
        if not entries:
            rows.append(LeftOut(folder, "", "holds no files", 0))
        files += usable
        left_out += rows
    if not files:
        raise _nothing(given, left_out, first)
    return files, left_out


def left_out_notes(rows: Sequence[LeftOut], shown: int = 10, *, reported: bool = True) -> tuple[str, ...]:
    """Say which files were left out, and why.

    Parameters
    ----------
    rows : sequence of LeftOut
    shown : int
        Files that a sentence names at most.
    reported : bool
        Whether a report lists the rest.

    Returns
    -------
    tuple of str
        A sentence for each folder.
    """
    groups: dict[tuple[str, int], list[LeftOut]] = {}
    for row in rows:
        groups.setdefault((row.folder, row.files), []).append(row)
    notes = []
    for (folder, files), group in groups.items():
        if not files:
            notes.append(f"{folder}/ holds no files.")
            continue
        where = f"files in {folder}/" if folder else "files" if files > 1 else "file"
        named = "; ".join(f"{row.name} {row.reason}" for row in group[:shown])
        more = len(group) - shown
        rest = f"; and {more} more{', which the report lists' if reported else ''}" if more > 0 else ""
        notes.append(f"Left out {len(group)} of {files} {where}: {named}{rest}.")
    return tuple(notes)


def digest_of(path: Path) -> str:
    """Compute the SHA-256 of a file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        Hexadecimal digits.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    try:
        return digest.digest_of(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error


def _groups(given: Sequence[Path], project: Path | None) -> Iterator[tuple[str, list[_Entry]]]:
    """What was given: the entries of each folder, and the single files as a group without a name."""
    single = []
    for path in given:
        if path.is_dir():
            folder = _shown(path.absolute().resolve().name) or "/"
            yield folder, sorted(_walk(path, folder, project), key=lambda entry: entry.path.parts)
        elif not os.path.lexists(path):
            raise InputError(f"{path} does not exist.", "Check the file's name and folder.")
        else:
            single.append(_Entry(path, "", _shown(path.name)))
    if single:
        yield "", single


def _walk(top: Path, folder: str, project: Path | None) -> Iterator[_Entry]:
    """The files of a folder and its subfolders; what is not looked into is an entry with the trouble."""
    left = [top]
    visited: set[tuple[int, int]] = set()
    while left:
        here = left.pop()
        name = _shown(here.relative_to(top).as_posix()) + "/"
        try:
            status = here.stat()
            listed = sorted(here.iterdir())
        except OSError as error:
            if here == top:
                hint = "Check the folder's permissions."
                raise InputError(f"{top} cannot be read: {error.strerror}.", hint) from error
            yield _Entry(here, folder, name, f"cannot be read: {error.strerror}")
            continue
        if (status.st_dev, status.st_ino) in visited:
            continue  # a link leads back
        visited.add((status.st_dev, status.st_ino))
        for path in listed:
            if path.name.startswith(".") or path.name.lower() in _SYSTEM:
                continue
            shown = _shown(path.relative_to(top).as_posix())
            if not path.is_dir():
                yield _Entry(path, folder, shown, _COMPANIONS.get(path.suffix.lower(), ""))
            elif (path / PROJECT_FILE).is_file():
                if project is None or path.resolve() != project.resolve():
                    yield _Entry(path, folder, f"{shown}/", "is a recon3d project")
            elif path.name.lower() in _THUMBNAILS:
                yield _Entry(path, folder, f"{shown}/", "is a folder of thumbnails")
            else:
                left.append(path)


def _examine(entry: _Entry, kinds: Sequence[InputKind]) -> Gathered:
    from recon3d.io.probe import probe_input

    path = entry.path
    if entry.trouble:
        raise InputError(f"{path} {entry.trouble}.", _WHAT_TO_GIVE)
    probed = probe_input(path)
    if probed.kind not in kinds:
        raise InputError(f"{path} is a {probed.kind}.", "Add videos with add_video, photos with add_photos.")
    if entry.folder and probed.kind == "video" and (probed.duration or 0.0) <= _LIVE_SECONDS:
        still = next((s for s in _STILLS for p in (s, s.upper()) if path.with_suffix(p).is_file()), None)
        if still is not None and path.suffix.lower() == ".mov":
            raise InputError(f"{path} is the moving part of a Live Photo.", "The photo is used.")
    return Gathered(path, entry.folder, entry.name, probed.kind)


class _Copies:
    """Knows files again by their bytes."""

    def __init__(self, hashed: bool) -> None:
        self._hashed = hashed
        self._by_size: dict[int, list[Gathered]] = {}

    def look_for(self, file: Gathered) -> tuple[Gathered, Gathered | None]:
        """The file with its digest, where that is needed, and an earlier one with the same bytes."""
        alike = self._by_size.setdefault(file.path.stat().st_size, [])
        if self._hashed or alike:
            alike[:] = [_with_digest(other) for other in alike]
            file = _with_digest(file)
        earlier = next((other for other in alike if other.digest == file.digest), None)
        if earlier is None:
            alike.append(file)
        return file, earlier


def _with_digest(file: Gathered) -> Gathered:
    return file if file.digest else replace(file, digest=digest_of(file.path))


def _again(file: Gathered, first: Gathered) -> str:
    # A link to another file of the folder is a copy: its own name is not resolved.
    same = file.path.name == first.path.name and file.path.parent.resolve() == first.path.parent.resolve()
    return "was given twice" if same else f"is a copy of {first.name}"


def _nothing(given: Sequence[Path], left_out: Sequence[LeftOut], first: InputError | None) -> InputError:
    if len(given) == 1 and not given[0].is_dir() and first is not None:
        return first
    what = str(given[0]) if len(given) == 1 else "What was given"
    shown = [replace(row, folder="") for row in left_out if row.files]
    named = "; ".join(f"{row.name} {row.reason}" for row in shown[:_SHOWN])
    more = f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return InputError(
        f"{what} holds nothing to reconstruct from{': ' if named else ''}{named}{more}.", _WHAT_TO_GIVE
    )


def _reason(error: InputError, path: Path) -> str:
    return error.message.removeprefix(printable(str(path))).strip().rstrip(".")


def _shown(name: str) -> str:
    return printable(name).replace("\n", "\\n").replace("\t", "\\t")

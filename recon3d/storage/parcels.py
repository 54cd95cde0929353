"""What travels with a task: values whose paths are below the project's folder, wherever that is."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PATH, _TEXT, _MESSAGE = "path", "text", "message"


@dataclass(frozen=True)
class File:
    """A file below the project's folder.

    Attributes
    ----------
    path : str
        Relative to the project's folder.
    digest : str
        Of its content.
    size : int
        Bytes.
    """

    path: str
    digest: str
    size: int


@dataclass(frozen=True)
class Parcel:
    """A task on its way to a worker, or its result on the way back.

    Attributes
    ----------
    values : bytes
        What `pack_values` made.
    files : tuple of File
        Files that go along.
    folders : tuple of str
        Folders that must exist, relative to the project's folder.
    removed : tuple of str
        Files that the task removed.
    """

    values: bytes
    files: tuple[File, ...] = ()
    folders: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def pack_values(values: Any, root: Path, *, messages: bool = False) -> tuple[bytes, set[str]]:
    """Pickle values; paths below a folder become relative to it.

    Parameters
    ----------
    values : object
        Paths in it may be `pathlib.Path` or text that begins with the folder.
    root : Path
        The folder.
    messages : bool, optional
        Whether texts may name the folder anywhere. Its name must be unique then.

    Returns
    -------
    bytes
        For `unpack_values`.
    set of str
        The paths below the folder that the values name, relative to it.
    """
    named: set[str] = set()
    own = str(root)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> tuple[str, Any] | None:
            # Subclasses of str, as enums, keep their class.
            if type(value) is str:
                kind, text = _TEXT, value
            elif isinstance(value, Path):
                kind, text = _PATH, str(value)
            else:
                return None
            if text != own and not text.startswith(f"{own}/"):
                return (_MESSAGE, text.split(own)) if messages and own in text and kind == _TEXT else None
            named.add(text[len(own) + 1 :] or ".")
            # Texts stay as they are: a path would lose doubled slashes.
            return kind, text[len(own) :]

    data = io.BytesIO()
    Pickler(data, protocol=pickle.HIGHEST_PROTOCOL).dump(values)
    return data.getvalue(), named


def unpack_values(data: bytes, root: Path) -> Any:
    """Restore what `pack_values` made.

    Parameters
    ----------
    data : bytes
    root : Path
        The folder that takes the place of the other one.

    Returns
    -------
    object
    """

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, name: Any) -> Path | str:
            kind, rest = name
            if kind == _MESSAGE:
                return str(root).join(rest)
            return Path(f"{root}{rest}") if kind == _PATH else f"{root}{rest}"

    return Unpickler(io.BytesIO(data)).load()  # between the processes of one run

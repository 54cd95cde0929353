"""Writing files so that a file that exists is whole."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: How names of what is being written begin; nothing reads them.
TEMPORARY = ".tmp-"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    The temporary name keeps the suffix, since many writers choose the format by it. A crash
    leaves at most a file whose name starts with ``.tmp-``, which nothing reads.

    Parameters
    ----------
    path : Path
        The file to write.

    Yields
    ------
    Path
        The temporary path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # File systems allow 255 bytes; the end of a long name is enough, and holds the suffix.
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{path.name[-60:]}")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """Write a document as JSON, atomically.

    Parameters
    ----------
    path : Path
    document : Any
        Anything that `json` can write.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    object
        The document.
    """
    return json.loads(Path(path).read_text(encoding="utf-8"))


def publish_path(source: Path, target: Path) -> None:
    """Copy a file or folder to `target`, whole or not at all.

    A copy, not a link: a result that its owner edits in place must not change the artifact. Files in
    the target's folder that the source does not have stay.

    Parameters
    ----------
    source : Path
        File or folder to copy.
    target : Path
        Where the copy goes.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}")
    try:
        if source.is_dir():
            shutil.copytree(source, temporary)
            _swap(temporary, target)
        else:
            shutil.copyfile(source, temporary)
            os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def _swap(new: Path, target: Path) -> None:
    """Put a folder in the place of another, and into it what only the former one has.

    A crash leaves the former folder beside the target, under a name that can be seen.
    """
    if not target.is_dir():
        os.replace(new, target)
        return
    former = target.with_name(f"{target.name}.former-{uuid.uuid4().hex[:8]}")
    os.rename(target, former)
    try:
        os.rename(new, target)
    except OSError:
        os.rename(former, target)
        raise
    for path in sorted(former.rglob("*")):
        own = target / path.relative_to(former)
        if not path.is_dir() and not own.exists():
            own.parent.mkdir(parents=True, exist_ok=True)
            os.rename(path, own)
    shutil.rmtree(former)

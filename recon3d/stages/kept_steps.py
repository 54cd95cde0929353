"""What one step of a stage leaves for the next: arrays in a file that is whole, or is not there.

A step that is killed begins anew; the finished ones before it do not, whichever worker takes the next.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from recon3d.io.atomic import atomic_path

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Part = TypeVar("Part", bound="DataclassInstance")

_FACTS = "facts"


def is_whole(path: Path) -> bool:
    """Tell whether a step's file is there and whole.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
    """
    return path.is_file() and zipfile.is_zipfile(path)


def keep_step(path: Path, facts: Mapping[str, Any], **parts: DataclassInstance) -> None:
    """Write what a step made.

    Parameters
    ----------
    path : Path
        A ``.npz`` file; not compressed.
    facts : mapping of str to object
        What JSON can hold.
    **parts : dataclass
        With fields that are arrays, numbers or None.
    """
    arrays: dict[str, Any] = {_FACTS: np.array(json.dumps(dict(facts)))}
    for name, part in parts.items():
        held = {field.name: getattr(part, field.name) for field in fields(part)}
        arrays |= {f"{name}.{key}": value for key, value in held.items() if value is not None}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def kept_facts(path: Path) -> dict[str, Any]:
    """Read the facts of a step.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to object
    """
    with np.load(path) as data:
        facts: dict[str, Any] = json.loads(str(data[_FACTS]))
    return facts


def kept_part(path: Path, name: str, kind: type[Part]) -> Part:
    """Read a part of what a step made.

    Parameters
    ----------
    path : Path
    name : str
        As `keep_step` was given it.
    kind : type
        Its dataclass.

    Returns
    -------
    dataclass
    """
    with np.load(path) as data:
        named = {field.name: f"{name}.{field.name}" for field in fields(kind)}
        held = {field: data[key] for field, key in named.items() if key in data.files}
    return kind(**{field: value if value.ndim else value.item() for field, value in held.items()})

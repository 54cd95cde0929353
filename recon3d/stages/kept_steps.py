"""What one step of a stage leaves for the next: arrays in a file that is whole, or is not there.

A step that is killed begins anew; the finished ones before it do not, whichever worker takes the next.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

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
        With fields that are arrays, numbers, None or such dataclasses.
    """
    arrays: dict[str, Any] = {_FACTS: np.array(json.dumps(dict(facts)))}
    for name, part in parts.items():
        arrays |= _flat(name, part)
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
        part: Part = _made(name, kind, data)
    return part


def _flat(name: str, part: DataclassInstance) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for field in fields(part):
        value, key = getattr(part, field.name), f"{name}.{field.name}"
        if is_dataclass(value) and not isinstance(value, type):
            arrays |= _flat(key, value)
        elif value is not None:
            arrays[key] = value
    return arrays


def _made(name: str, kind: Any, data: Mapping[str, Any]) -> Any:
    held, hints = {}, get_type_hints(kind)
    for field in fields(kind):
        key = f"{name}.{field.name}"
        if is_dataclass(hints[field.name]):
            held[field.name] = _made(key, hints[field.name], data)
        elif key in data:
            value = data[key]
            held[field.name] = value if value.ndim else value.item()
    return kind(**held)

"""Another size for a GLB, with everything else in it kept bit by bit."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path
from recon3d.io.gltf import _BIN, _JSON, _MAGIC, DAMAGE, _chunks

_FLOAT = 5126


def scale_glb(source: Path, target: Path, factor: float) -> None:
    """Write a GLB `factor` times as large, about the origin; its texture is not encoded again.

    Parameters
    ----------
    source, target : Path
    factor : float

    Raises
    ------
    InputError
        The file is damaged, or its positions are not plain float32.
    """
    try:
        document, data = _chunks(source.read_bytes())
        binary = bytearray(data)
        used = {p["attributes"]["POSITION"] for m in document["meshes"] for p in m["primitives"]}
        for accessor in (document["accessors"][index] for index in sorted(used)):
            view = document["bufferViews"][accessor["bufferView"]]
            if accessor["componentType"] != _FLOAT or view.get("byteStride", 12) != 12:
                raise ValueError("its positions are not plain float32")
            start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
            positions = np.frombuffer(binary, "<f4", 3 * accessor["count"], start).reshape(-1, 3)
            positions *= np.float32(factor)
            accessor["min"] = positions.min(axis=0).tolist()
            accessor["max"] = positions.max(axis=0).tolist()
        for node in document["nodes"]:
            if "translation" in node:
                node["translation"] = [factor * value for value in node["translation"]]
    except DAMAGE as error:
        raise InputError(f"{source} cannot be scaled: {error}.", "Run the texturing stage again.") from error
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    with atomic_path(target) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<III", _MAGIC, 2, 28 + len(text) + len(binary)))
        file.write(struct.pack("<II", len(text), _JSON) + text)
        file.write(struct.pack("<II", len(binary), _BIN))
        file.write(binary)

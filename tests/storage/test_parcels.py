"""Values whose paths move with the project's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recon3d.storage import pack_values, unpack_values


@dataclass(frozen=True)
class Inner:
    images: str
    targets: tuple[Path, ...]


def test_paths_move_wherever_they_are_and_nothing_else_changes(tmp_path: Path) -> None:
    root, other = tmp_path / "statue", Path("/cache/tasks/1/statue")
    values: dict[str, Any] = {
        "nested": [Inner(str(root / "work/a"), (root / "b c.jpg", root)), str(root)],
        str(root / "key"): np.arange(3),
        "doubled": f"{root}/a?from=https://b",
        "beside": [Path(f"{root}2/x"), f"{root}2/x", f"see {root}/x", "/elsewhere", Path("relative")],
    }
    data, named = pack_values(values, root)
    assert named == {"work/a", "b c.jpg", ".", "key", "a?from=https://b"}
    moved = unpack_values(data, other)
    assert moved["nested"] == [
        Inner(f"{other}/work/a", (other / "b c.jpg", other)),
        str(other),
    ]
    assert moved[f"{other}/key"].tolist() == [0, 1, 2]
    assert moved["doubled"] == f"{other}/a?from=https://b"
    assert moved["beside"] == values["beside"]
    back = unpack_values(pack_values(moved, other)[0], root)
    assert back["nested"] == values["nested"]

"""Which GPU engines a run may use, by what the user wants and what the workers have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from recon3d.errors import EngineUnavailable
from recon3d.pipeline.execution import _gpu_engines

BOTH = ("recon3d", "colmap")


def chosen(wanted: str, there: tuple[str, ...]) -> tuple[str, ...]:
    cluster: Any = SimpleNamespace(gpu_engines=there)
    return _gpu_engines(wanted, lambda: cluster)


@pytest.mark.parametrize(
    ("wanted", "there", "expected"),
    [
        ("cpu", BOTH, ()),
        ("auto", (), ()),
        ("auto", ("recon3d",), ("recon3d",)),
        ("auto", BOTH, BOTH),
        ("cuda", ("colmap",), ("colmap",)),
        ("colmap-cuda", BOTH, ("colmap",)),
    ],
)
def test_what_is_wanted_is_taken_from_what_is_there(
    wanted: str, there: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert chosen(wanted, there) == expected


def test_a_gpu_that_is_not_there_is_told() -> None:
    with pytest.raises(EngineUnavailable, match="No worker has a GPU: "):
        chosen("cuda", ())
    with pytest.raises(EngineUnavailable, match="COLMAP cannot use a GPU of the workers: "):
        chosen("colmap-cuda", ("recon3d",))

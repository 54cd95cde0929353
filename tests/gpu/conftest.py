"""The data part of a pack, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu import pack


@pytest.fixture(scope="session")
def pack_data(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack") / "data"
    pack.pack_data(folder, 5)
    return folder

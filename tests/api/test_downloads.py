"""The zip archive that is made while it is sent."""

from __future__ import annotations

import io
import subprocess
import zipfile
from pathlib import Path

import pytest

from recon3d_api.http.downloads import ZipSource


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    made = []
    for name, size in (("ä.jpg", 300_000), ("b.jpg", 0), ("c d.png", 1)):
        made.append(tmp_path / name)
        made[-1].write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    return made


def test_zip_opens_and_has_the_size_it_says(paths: list[Path]) -> None:
    source = ZipSource(paths, "f")
    data = b"".join(source.read(0, source.size))
    assert len(data) == source.size
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {info.filename: info.file_size for info in archive.infolist()} == {
            path.name: path.stat().st_size for path in paths
        }
        assert archive.read("ä.jpg") == paths[0].read_bytes()


@pytest.mark.parametrize(("start", "length"), [(0, 1), (10, 300_000), (299_990, 500), (300_400, 10**9)])
def test_every_part_is_the_same_part(paths: list[Path], start: int, length: int) -> None:
    source = ZipSource(paths, "f")
    data = b"".join(source.read(0, source.size))
    assert b"".join(source.read(start, length)) == data[start : start + length]


def test_empty_zip() -> None:
    source = ZipSource([], "f")
    data = b"".join(source.read(0, source.size))
    assert len(data) == source.size
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == []


def test_zip64(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond 4 GB the directory has wide offsets; a lowered limit makes them appear earlier."""
    monkeypatch.setattr(ZipSource, "_MAX", 0)
    source = ZipSource(paths, "f")
    data = b"".join(source.read(0, source.size))
    assert len(data) == source.size
    assert b"PK\6\6" in data
    assert b"PK\6\7" in data


@pytest.mark.slow
def test_zip_beyond_4_gb(tmp_path: Path) -> None:
    paths = []
    for number in range(5):
        paths.append(tmp_path / f"{number}.jpg")
        with open(paths[-1], "wb") as file:
            file.truncate(1_000_000_000)
    source = ZipSource(paths, "f")
    target = tmp_path / "big.zip"
    with open(target, "wb") as file:
        for piece in source.read(0, source.size):
            file.write(piece)
    assert target.stat().st_size == source.size
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 5
    if Path("/usr/bin/unzip").exists():
        assert subprocess.run(["unzip", "-tq", target], check=False).returncode == 0

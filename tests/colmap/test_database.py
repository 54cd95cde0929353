"""COLMAP's databases: the same bytes however they were written, and unchanged by reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest

from recon3d.colmap import (
    ImageRow,
    camera_model,
    copy_database,
    features_per_image,
    write_database,
    write_matches,
)
from recon3d.colmap.database import read_descriptors, reading

ROWS = [ImageRow(f"{k}.jpg", 1, 320, 240, 180.0) for k in range(4)]
PAIRS = [(1, 2), (1, 3), (2, 3), (3, 4)]


def features(index: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(index)
    return rng.random((50, 6), np.float32), rng.integers(0, 256, (50, 128)).astype(np.uint8)


def written(path: Path, block: int) -> Path:
    """A database whose matches come in blocks of a size."""
    write_database(path, ROWS, "SIMPLE_RADIAL", features)
    matches = np.stack([np.arange(40, dtype=np.uint32)] * 2, axis=1)
    entries = [(a, b, matches, pycolmap.TwoViewGeometry()) for a, b in PAIRS]
    for start in range(0, len(entries), block):
        write_matches(path, entries[start : start + block])
    return path


def test_the_bytes_do_not_tell_how_often_it_was_opened(tmp_path: Path) -> None:
    one, four = written(tmp_path / "one.db", 4), written(tmp_path / "four.db", 1)
    assert one.read_bytes() == four.read_bytes()
    # It is whole, for SQLite and for COLMAP.
    with reading(four) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT COUNT(*) FROM matches").fetchone() == (4,)
    opened = pycolmap.Database.open(str(four))
    try:
        assert opened.num_images() == 4
        assert len(opened.read_matches(3, 4)) == 40
    finally:
        opened.close()


@pytest.mark.parametrize("read", [camera_model, features_per_image])
def test_reading_changes_neither_a_database_nor_its_folder(tmp_path: Path, read) -> None:
    path = written(tmp_path / "a.db", 2)
    before = path.read_bytes()
    assert read(path) in ("SIMPLE_RADIAL", 50)
    with reading(path) as database:
        for index in range(len(ROWS)):
            assert np.array_equal(read_descriptors(database, index + 1), features(index)[1])
        assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_copy_is_not_mixed_with_what_a_killed_process_left(tmp_path: Path) -> None:
    source = written(tmp_path / "source.db", 4)
    target = tmp_path / "work" / "database.db"
    copy_database(source, target)
    opened = pycolmap.Database.open(str(target))
    try:
        with pycolmap.DatabaseTransaction(opened):
            for a, b in PAIRS:
                opened.delete_matches(a, b)
        # As if it was killed now: the log is not yet part of the database.
        left = {path.name: path.read_bytes() for path in target.parent.iterdir()}
    finally:
        opened.close()
    for name, content in left.items():
        (target.parent / name).write_bytes(content)
    assert (target.parent / "database.db-wal").stat().st_size > 0
    copy_database(source, target)
    opened = pycolmap.Database.open(str(target))
    try:
        assert all(opened.exists_matches(a, b) for a, b in PAIRS)
    finally:
        opened.close()

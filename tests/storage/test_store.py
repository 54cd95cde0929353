"""A storage on a disk: what is damaged there, gone here, or no storage at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from recon3d.errors import OptionError, StageError
from recon3d.io.digest import digest_of
from recon3d.storage import Storage, check_storage


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"words" * 100)
    return path


@pytest.mark.parametrize("damaged", [b"wards" * 100, b"words" * 10, b""], ids=["changed", "cut", "empty"])
def test_a_damaged_content_is_removed_and_sent_again(tmp_path: Path, file: Path, damaged: bytes) -> None:
    storage, digest = Storage((tmp_path / "store").as_uri()), digest_of(file)
    storage.put(file, digest)
    next((tmp_path / "store" / "blobs").glob("*/*")).write_bytes(damaged)
    with pytest.raises(StageError, match=rf"/store/blobs/.*{digest} was damaged\. It is removed") as told:
        storage.fetch(digest, tmp_path / "came")
    assert told.value.hint == "Run the same command again: what is missing is sent again."
    assert not storage.has(digest)
    storage.put(file, digest)
    storage.fetch(digest, tmp_path / "came")
    assert (tmp_path / "came").read_bytes() == file.read_bytes()


def test_a_damaged_content_that_cannot_be_removed_is_named(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, digest = Storage((tmp_path / "store").as_uri()), digest_of(file)
    storage.put(file, digest)
    next((tmp_path / "store" / "blobs").glob("*/*")).write_bytes(b"wards")

    def refuse(name: str) -> None:
        raise PermissionError(f"not allowed to remove {name}")

    monkeypatch.setattr(storage._files, "rm_file", refuse)
    with pytest.raises(StageError, match=rf"^file://.*/store/blobs/.*{digest} is damaged\.\n") as told:
        storage.fetch(digest, tmp_path / "came")
    assert told.value.hint.startswith("Remove it, and run the same command again")


def test_a_file_that_vanishes_before_it_is_sent_is_named(tmp_path: Path, file: Path) -> None:
    storage, digest = Storage((tmp_path / "store").as_uri()), digest_of(file)
    file.unlink()
    with pytest.raises(StageError, match=f"{file} was removed before it was sent"):
        storage.put(file, digest)


@pytest.mark.parametrize("url", ["memory://x", "s3://", "/folder", "ftp://host/folder"])
def test_what_no_other_machine_can_read_is_refused(url: str) -> None:
    with pytest.raises(OptionError, match="is not the address of a storage"):
        check_storage(url, scheduler=True)

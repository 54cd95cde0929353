"""A real S3 server, with faults: what passes is waited for, what stays is one sentence."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recon3d.errors import Cancelled, InputError, StageError
from recon3d.io.digest import digest_of
from recon3d.storage import Storage
from recon3d.storage import store as store_module
from recon3d.storage.store import PATIENCE
from tests.storage.s3_server import S3Server, serving


@pytest.fixture(scope="module")
def one_server() -> Iterator[S3Server]:
    with serving() as made, pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        patch.setitem(store_module._S3_TIMEOUTS, "read_timeout", 0.5)
        yield made


@pytest.fixture(scope="module")
def storage(one_server: S3Server) -> Storage:
    return Storage(one_server.url)


@pytest.fixture
def server(one_server: S3Server) -> Iterator[S3Server]:
    yield one_server
    one_server.faults.clear()
    one_server.always = None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1000)
    return path


def test_a_file_comes_back_as_it_was(storage: Storage, file: Path, tmp_path: Path) -> None:
    digest = digest_of(file)
    assert not storage.has(digest)
    storage.put(file, digest)
    assert storage.has(digest)
    storage.fetch(digest, tmp_path / "came")
    assert (tmp_path / "came").read_bytes() == file.read_bytes()
    assert storage.read_text("none.txt") is None
    storage.write_text("some.txt", "Grüße")
    assert storage.read_text("some.txt") == "Grüße"
    storage.remove("some.txt")
    assert storage.read_text("some.txt") is None


def test_faults_that_pass_are_waited_for(
    server: S3Server, storage: Storage, file: Path, tmp_path: Path
) -> None:
    digest = digest_of(file)
    server.faults += ["500", "cut"]
    storage.put(file, digest)
    assert not server.faults
    server.faults += ["slow", "cut", "500"]
    storage.fetch(digest, tmp_path / "came")
    assert not server.faults
    assert (tmp_path / "came").read_bytes() == file.read_bytes()


def test_half_a_file_is_no_file(server: S3Server, storage: Storage, file: Path, tmp_path: Path) -> None:
    digest = digest_of(file)
    storage.put(file, digest)
    server.faults += ["cut in the middle"]
    storage.fetch(digest, tmp_path / "came")
    assert not server.faults
    assert (tmp_path / "came").read_bytes() == file.read_bytes()


def test_a_storage_that_keeps_failing_is_one_sentence(server: S3Server, file: Path) -> None:
    server.always = "500"
    with pytest.raises(StageError) as told:
        Storage(server.url, patience=0.3).put(file, digest_of(file))
    here = f"The storage {server.url} failed on {socket.gethostname()} to write, 2 times in 0 s: "
    assert told.value.message.startswith(here)
    assert "finished work is reused" in told.value.hint


def test_cancelling_ends_the_waiting(server: S3Server, file: Path) -> None:
    cancelled = threading.Event()
    server.always = "500"
    threading.Timer(0.3, cancelled.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        Storage(server.url, cancelled=cancelled).put(file, digest_of(file))
    assert time.monotonic() - began < 0.2 * PATIENCE


def test_a_bucket_that_does_not_exist_is_named(server: S3Server, file: Path) -> None:
    with pytest.raises(InputError, match=r"s3://no-such-bucket/here does not exist"):
        Storage("s3://no-such-bucket/here").put(file, digest_of(file))


def test_a_file_that_is_gone_is_told(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"lacks a file that this run put there \(000000000000\)"):
        storage.fetch("0" * 64, tmp_path / "came")

"""What a run says about workers that cannot use a storage, without their processes."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recon3d.compute.admission import _check, _token_at
from recon3d.compute.facts import cache_problem, storage_problem
from recon3d.compute.versions import code_digest, versions
from recon3d.errors import Cancelled, EngineUnavailable
from recon3d.storage import Storage, default_cache


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage((tmp_path / "store").as_uri())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RECON3D_CACHE", str(tmp_path / "file" / "cache"))
    default_cache.cache_clear()
    yield tmp_path / "file" / "cache"
    default_cache.cache_clear()


def refused(storage: Storage, **told: Any) -> EngineUnavailable:
    """How a worker is refused that tells this."""
    now = time.time()
    answer = {"versions": versions(), "code": code_digest(), "nthreads": 1, "nanny": True, "unpinned": []}
    answer |= {"folder": "", "clock": now} | told
    with pytest.raises(EngineUnavailable) as error:
        _check({"tcp://one:1": (answer, now, now)}, storage, [])
    return error.value


def test_a_wait_that_is_cancelled_leaves_no_token(storage: Storage, tmp_path: Path) -> None:
    def wait() -> None:
        with _token_at(storage, "0123456789"):
            assert len(list((tmp_path / "store").iterdir())) == 1
            raise Cancelled()

    with pytest.raises(Cancelled):
        wait()
    assert list((tmp_path / "store").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_no_fault_of_the_storage(storage: Storage, cache: Path) -> None:
    with _token_at(storage, "0123456789") as token_file:
        assert storage_problem(token_file, "0123456789") == ("", "")
    cache.parent.write_text("a file, where a folder is wanted")
    error = refused(storage, cache=cache_problem())
    assert error.message.startswith("The worker tcp://one:1 cannot use its cache: ")
    assert str(cache) in error.message
    assert error.hint == "Start it with --cache on a folder of a local disk that it may write."
    cache.parent.unlink()
    assert cache_problem() is None


def test_a_package_that_a_worker_lacks_is_that_of_its_storage(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    problem, hint = storage_problem("gs://bucket/house/.seen-01234567", "0123456789")
    error = refused(storage, folder=problem, hint=hint)
    assert "needs the package gcsfs" in error.message
    assert error.hint == "pip install gcsfs, on this machine and on all workers."


def test_a_worker_that_reads_another_storage_is_told_where_to_look(storage: Storage) -> None:
    with _token_at(storage, "0123456789") as token_file:
        problem, hint = storage_problem(token_file, "another token")
    error = refused(storage, folder=problem, hint=hint)
    assert error.message.endswith(f"cannot use the storage {storage.url}: a file there has other content.")
    assert "AWS_ENDPOINT_URL" in error.hint

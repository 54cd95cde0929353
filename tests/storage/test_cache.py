"""The cache of a machine: by content, bounded, least recently used first."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recon3d.errors import OptionError
from recon3d.storage import Cache, default_cache

SIZE = 1000


def fetching(fetched: list[str], name: str) -> Callable[[Path], None]:
    def fetch(target: Path) -> None:
        fetched.append(name)
        target.write_bytes(name[-1].encode() * SIZE)

    return fetch


def digest(number: int) -> str:
    return f"{number:064d}"


def test_a_content_is_fetched_once_and_the_least_recently_used_goes(tmp_path: Path) -> None:
    cache, fetched = Cache(tmp_path / "cache", limit=10 * SIZE), list[str]()

    def provide(number: int) -> bool:
        target = tmp_path / "target"
        target.unlink(missing_ok=True)
        name = digest(number)
        found = cache.provide(name, SIZE, target, fetching(fetched, name), shared=True)
        assert target.read_bytes() == name[-1].encode() * SIZE
        time.sleep(0.01)  # the clock of file systems ticks slowly
        return found

    assert [provide(number) for number in range(10)] == [False] * 10
    assert provide(0)
    assert not provide(10)  # now 9 of 11 stay: neither 1 nor 2
    assert provide(0)
    assert provide(3)
    assert not provide(1)
    assert len(fetched) == 12
    held = sum(path.stat().st_size for path in (tmp_path / "cache" / "blobs").glob("*/*"))
    assert held <= 10 * SIZE


def test_a_file_of_a_task_survives_its_content(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", limit=10 * SIZE)
    target = tmp_path / "target"
    cache.provide(digest(1), SIZE, target, fetching([], digest(1)), shared=True)
    assert cache.drop() == SIZE
    assert target.read_bytes() == b"1" * SIZE
    assert cache.drop() == 0


def test_a_content_that_lost_its_end_is_fetched_again(tmp_path: Path) -> None:
    cache, fetched = Cache(tmp_path / "cache", limit=10 * SIZE), list[str]()
    name = digest(1)
    for number in range(2):
        cache.provide(name, SIZE, tmp_path / f"{number}", fetching(fetched, name), shared=False)
        os.truncate(next((tmp_path / "cache" / "blobs").glob("*/*")), 10)
    assert fetched == [name, name]
    assert (tmp_path / "1").stat().st_size == SIZE


def test_a_copy_is_the_tasks_own(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", limit=10 * SIZE)
    name, own, again = digest(1), tmp_path / "own", tmp_path / "again"
    cache.provide(name, SIZE, own, fetching([], name), shared=False)
    with open(own, "r+b") as file:
        file.write(b"changed")
    assert cache.provide(name, SIZE, again, fetching([], name), shared=False)
    assert again.read_bytes() == b"1" * SIZE


def test_a_size_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECON3D_CACHE_SIZE", "20GB")
    default_cache.cache_clear()
    with pytest.raises(OptionError, match="RECON3D_CACHE_SIZE is '20GB'"):
        default_cache()


def test_a_user_without_a_home_names_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "RECON3D_CACHE", "RECON3D_CACHE_SIZE"):
        monkeypatch.delenv(name, raising=False)
    users: dict[int, pwd.struct_passwd] = {}
    monkeypatch.setattr(pwd, "getpwuid", users.__getitem__)
    default_cache.cache_clear()
    with pytest.raises(OptionError, match="has no home folder") as told:
        default_cache()
    assert "--cache" in told.value.hint
    monkeypatch.setenv("RECON3D_CACHE", str(tmp_path / "cache"))
    assert default_cache().folder == tmp_path / "cache"
    default_cache.cache_clear()

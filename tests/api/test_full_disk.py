"""A disk that is really full: what makes room works, what needs room is 507."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg.errors
import pytest
import sqlalchemy as sa

from recon3d_api.reserve import disk_is_full
from recon3d_api.store.tables import Deletion
from tests.api.conftest import Api, new_project, started

Serve = Callable[..., contextlib.AbstractContextManager[Api]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 48 MB."""
    options = ["-t", "tmpfs", "-o", "size=48m", "none", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def fill(folder: Path) -> None:
    """Fill the disk to its last byte."""
    with open(folder / "filling", "ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


def until_full(client: httpx.Client) -> httpx.Response:
    """Write into the database until it does not fit."""
    for _ in range(2000):
        answer = client.post("/projects", json={"name": "x", "description": "x" * 5000})
        if answer.status_code != 201:
            return answer
    raise AssertionError("the disk did not become full")


@pytest.mark.attack("B7: delete on a full disk", "deletion works, other writes are 507")
def test_deleting_makes_room_on_a_full_disk(serve: Serve, small_disk: Path) -> None:
    with serve(runners=0, data_dir=small_disk) as api, api.client(api.user()[1]) as client:
        number, busy = new_project(client), started(client)
        root = api.root(number)
        root.mkdir()
        (root / "model.bin").write_bytes(b"x" * 100_000)
        fill(small_disk)
        if api.service.database.is_sqlite:
            refused = until_full(client)
            assert refused.status_code == 507, refused.text
            assert "disk is full" in refused.json()["detail"]
            assert client.put(f"/projects/{number}", json={"name": "y"}).status_code == 507
        gone = client.delete(f"/projects/{number}")
        assert gone.status_code == 200, gone.text
        assert not root.exists()
        fill(small_disk)
        # A project that is being processed must be cancelled first.
        (job, *_) = client.get(f"/jobs/project/{busy}/status").json()["jobs"]
        assert client.post(f"/jobs/{job['id']}/cancel").status_code == 200
        assert client.delete(f"/projects/{busy}").status_code == 200
        with api.service.database.read() as session:
            assert session.scalars(sa.select(Deletion)).all() == []
        (small_disk / "filling").unlink()
        assert client.delete(f"/projects/{new_project(client)}").status_code == 200
        assert (small_disk / "reserve").stat().st_blocks * 512 >= 16 << 20


@pytest.mark.attack("A server starts on a full disk", "it serves")
def test_a_server_starts_on_a_full_disk(
    serve: Serve, small_disk: Path, new_database: Callable[[], str]
) -> None:
    shared = {"data_dir": small_disk, "database_url": new_database()}
    with serve(runners=0, **shared) as api:
        user, _ = api.user()
        with api.client(api.service.tokens.issue(user.id)) as client:
            number = new_project(client)
    fill(small_disk)
    with serve(runners=1, **shared) as api, api.client(api.service.tokens.issue(user.id)) as client:
        assert client.delete(f"/projects/{number}").status_code == 200


def test_what_a_full_disk_is() -> None:
    assert disk_is_full(sa.exc.OperationalError("", {}, psycopg.errors.DiskFull("could not extend file")))
    assert disk_is_full(OSError(28, "No space left on device"))
    assert not disk_is_full(PermissionError(13, "Permission denied"))
    assert not disk_is_full(sa.exc.OperationalError("", {}, psycopg.errors.AdminShutdown("terminating")))

"""Backups of a running service, and the way back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from recon3d_api.files.storage import Storage
from recon3d_api.settings import Settings
from recon3d_api.store.database import Database
from recon3d_api.work.backup import BackupError, back_up, restore
from tests.api import forks
from tests.api.conftest import Api, new_project, plant, started, wait_for, wait_status

Serve = Callable[..., AbstractContextManager[Api]]


def run(settings: Settings, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "RECON3D_API_DATA_DIR": str(settings.data_dir),
        "RECON3D_API_DATABASE_URL": settings.database_url,
    }
    return forks.run(["-m", "recon3d_api", *arguments], env=environment, timeout=240)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and "runs" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != ".lock"}


def test_a_backup_during_a_run_is_a_whole_service(
    serve: Serve, tmp_path: Path, new_database: Callable[[], str]
) -> None:
    with serve(runners=1, lease_seconds=3.0) as api:
        _, token = api.user()
        with api.client(token) as client:
            quiet = plant(client, new_project(client, "Quiet"))
            busy = plant(client, new_project(client, "Busy"))
            api.behave(busy, seconds=2.0, steps=10)
            started(client, busy)
            wait_for(lambda: (api.root(busy) / "done").exists())
            done = run(api.service.settings, "backup", tmp_path / "backup")
            assert done.returncode == 0, done.stderr
            original = contents(api.root(quiet) / "model")
            with pytest.raises(BackupError, match="nothing is overwritten"):
                back_up(api.service.database, api.service.storage, tmp_path / "backup")
        secret = api.service.settings.secret_key
    assert not list(tmp_path.glob(".backup.partial*"))
    empty = {"data_dir": tmp_path / "new", "database_url": new_database()}
    done = run(Settings(**empty), "restore", tmp_path / "backup")
    assert done.returncode == 0, done.stderr
    with serve(runners=1, lease_seconds=3.0, secret_key=secret, **empty) as api, api.client(token) as client:
        assert {project["name"] for project in client.get("/projects").json()} == {"Quiet", "Busy"}
        assert contents(api.root(quiet) / "model") == original
        wait_status(client, busy, "completed")
        with pytest.raises(BackupError, match="nothing was changed"):
            restore(api.service.database, api.service.storage, tmp_path / "backup")


def test_a_damaged_backup_is_refused_before_anything_changes(
    serve: Serve, tmp_path: Path, new_database: Callable[[], str]
) -> None:
    with serve(runners=0) as api, api.client(api.user()[1]) as client:
        plant(client, new_project(client))
        back_up(api.service.database, api.service.storage, tmp_path / "backup")
        with pytest.raises(BackupError, match="in the data folder"):
            back_up(api.service.database, api.service.storage, api.service.settings.data_dir / "b")
    settings = Settings(data_dir=tmp_path / "new", database_url=new_database()).prepare()
    database, storage = Database(settings.resolved_database_url), Storage(settings)
    photo = next((tmp_path / "backup").rglob("p1.jpg"))
    whole = photo.read_bytes()
    photo.write_bytes(whole[:-1])
    with pytest.raises(BackupError, match=r"p1\.jpg is missing or damaged"):
        restore(database, storage, tmp_path / "backup")
    photo.write_bytes(whole)
    (dump,) = (tmp_path / "backup").glob("database.*")
    kept = dump.read_bytes()
    dump.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(BackupError, match="is damaged; nothing was changed"):
        restore(database, storage, tmp_path / "backup")
    assert not storage.folders()
    dump.write_bytes(kept)
    assert restore(database, storage, tmp_path / "backup") >= 4
    database.dispose()

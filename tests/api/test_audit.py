"""The audit log."""

from __future__ import annotations

import logging
import time

import httpx
import pytest
import sqlalchemy as sa

from recon3d_api.store import audit
from recon3d_api.store.tables import AuditEntry
from tests.api.conftest import Api, new_project, wait_for


def found(api: Api, **wanted: str) -> list[AuditEntry]:
    """Entries, newest first."""
    with api.service.database.read() as session:
        return list(session.scalars(audit.entries(**wanted)))


def test_deleting_a_project_is_recorded(idle: Api, client: httpx.Client, stranger: httpx.Client) -> None:
    number = new_project(client)
    name = client.get("/auth/me").json()["username"]
    assert stranger.delete(f"/projects/{number}").status_code == 404
    assert found(idle, action="project.deleted", username=name) == []
    answer = client.delete(f"/projects/{number}", headers={"X-Request-ID": "here-i-am"})
    assert answer.status_code == 200
    (entry,) = found(idle, action="project", username=name)
    assert (entry.action, entry.target) == ("project.deleted", f"project {number}")
    assert (entry.address, entry.request_id) == ("127.0.0.1", "here-i-am")
    assert abs(entry.time - time.time()) < 10


def test_an_entry_and_its_action_go_together(idle: Api) -> None:
    def fail() -> None:
        with idle.service.database.write() as session:
            audit.record(session, "user.invited", target="together")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert "together" not in [entry.target for entry in found(idle, action="user.invited")]


def test_old_entries_are_forgotten(idle: Api) -> None:
    database, now = idle.service.database, time.time()
    with database.write() as session:
        for days, target in ((11, "old"), (9, "young")):
            audit.record(session, "user.invited", target=target).time = now - days * 86_400
    audit.forget(database, 10)
    kept = [entry.target for entry in found(idle, action="user.invited")]
    assert "young" in kept
    assert "old" not in kept


def test_what_the_database_cannot_take_is_logged(idle: Api, caplog: pytest.LogCaptureFixture) -> None:
    database = idle.service.database
    with database.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE audit RENAME TO hidden"))
    try:
        audit.record_apart(database, "login", username="ada")
    finally:
        with database.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE hidden RENAME TO audit"))
    (line,) = [line for line in caplog.records if line.name == "recon3d_api.audit"]
    assert (line.action, line.user) == ("login", "ada")  # type: ignore[attr-defined]


def test_the_access_log_tells_the_user(
    idle: Api, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "recon3d_api.access")
    number = client.get("/auth/me").json()["id"]
    httpx.get(f"{idle.url}/health")

    def users() -> list[int | None]:
        return [line.user_id for line in caplog.records if line.name == "recon3d_api.access"]  # type: ignore[attr-defined]

    wait_for(lambda: len(users()) == 2)
    assert users() == [number, None]

"""Mail about ends of runs: for who asks for it, once, whoever ends the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from recon3d_api.settings import Settings
from recon3d_api.store import run_mails
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Project, Run, RunMail, User, utcnow
from recon3d_api.work import queue
from recon3d_api.work.run_mails import mail_of
from tests.api.conftest import Api, new_project, plant, started, wait_for, wait_status
from tests.api.test_changes import database
from tests.api.test_mail import Inbox, smtp_server

__all__ = ["database"]
Serve = Callable[..., AbstractContextManager[Api]]


@pytest.fixture(scope="module")
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture(scope="module")
def posting(serve: Serve, inbox: Inbox) -> Iterator[Api]:
    """A service that sends mail, and works on runs."""
    with (
        smtp_server(inbox) as settings,
        serve(runners=2, lease_seconds=3.0, max_crashes=1, **settings) as api,
    ):
        yield api


def wanting(client: httpx.Client) -> None:
    answer = client.put("/auth/notifications", json={"run_ended": True})
    assert (answer.status_code, answer.json()) == (200, {"run_ended": True, "available": True})


def mails_to(inbox: Inbox, user: User) -> list[Any]:
    return [mail for mail in inbox.mails if mail["To"] == user.email]


def test_users_who_want_it_are_told_how_their_run_ended(posting: Api, inbox: Inbox) -> None:
    user, token = posting.user()
    with posting.client(token) as client:
        assert client.get("/auth/notifications").json() == {"run_ended": False, "available": True}
        project_id = plant(client, new_project(client, "A bust\nof  Ada"))
        wait_status(client, started(client, project_id), "completed")  # nobody asked for mail
        wanting(client)
        posting.behave(project_id, verdict="doubtful")
        (posting.root(project_id) / "done").rename(posting.root(project_id) / "done before")
        started(client, project_id)
        (mail,) = wait_for(lambda: mails_to(inbox, user))
        text = mail.get_content().replace("\r\n", "\n")
        assert mail["Subject"] == "Completed: A bust of Ada"
        assert text.startswith('The reconstruction of "A bust of Ada" is completed.')
        assert "\nVerdict: doubtful. " in text
        assert f"\nhttps://recon3d.example.org/#/projects/{project_id}\n" in text
        assert "PUT https://recon3d.example.org/api/v1/auth/notifications" in text
        # A run whose process dies is ended by its runner; one that fails says why.
        failing = plant(client, new_project(client, "Fails"))
        posting.behave(failing, fail="feature_extraction")
        dying = plant(client, new_project(client, "Dies"))
        posting.behave(dying, crash="feature_extraction")
        for number in (failing, dying):
            wait_status(client, started(client, number), "failed")
        mails = wait_for(lambda: len(found := mails_to(inbox, user)) > 2 and found)
        told = {mail["Subject"]: mail.get_content() for mail in mails}
        assert "x.jpg is bad. Mend it." in told["Failed: Fails"]
        assert "The process ended unexpectedly" in told["Failed: Dies"]
        # Who cancels a run knows; who turned mail off gets none.
        slow = plant(client, new_project(client, "Slow"))
        posting.behave(slow, seconds=30)
        started(client, slow)
        job = client.get(f"/jobs?project_id={slow}&limit=1").json()[0]["id"]
        first = min(row["id"] for row in client.get(f"/jobs?project_id={slow}").json())
        assert client.post(f"/jobs/{first}/cancel").status_code == 200, job
        wait_for(lambda: client.get(f"/projects/{slow}").json()["status"] != "processing")
        client.put("/auth/notifications", json={"run_ended": False})
        wait_status(client, started(client, plant(client, new_project(client, "Quiet"))), "completed")
        with posting.service.database.read() as session:
            states = session.scalars(
                select(RunMail.status).join(Run, Run.id == RunMail.run_id).where(Run.owner_id == user.id)
            ).all()
        assert states == ["sent"] * 3
        assert len(mails_to(inbox, user)) == 3


def test_a_refused_setting(idle: Api, client: httpx.Client) -> None:
    assert client.get("/auth/notifications").json() == {"run_ended": False, "available": False}
    for body in ({}, {"run_ended": "yes"}, {"run_ended": 1}, {"run_ended": True, "other": 1}):
        assert client.put("/auth/notifications", json=body).status_code == 422, body
    assert set(client.get("/auth/me").json()) == {
        *("id", "username", "email", "full_name", "is_active", "created_at")
    }  # as the contract has it


def ended(database: Database, name: str, status: Any = "failed") -> int:
    """A run of a user who wants mail, ended as a sweep ends it; its id."""
    with database.write() as session:
        user = User(
            username=name,
            username_key=name,
            email=f"{name}@x.org",
            email_key=f"{name}@x.org",
            password_hash="none",
            mail_runs=True,
        )
        session.add(user)
        session.flush()
        project = Project(owner_id=user.id, name="Bust", folder=name.ljust(32, "0"))
        session.add(project)
        session.flush()
        run = queue.create_run(session, project, quality="low", options={})
        queue.end_run(session, run, status, "Its process died")
        run_mails.run_ended(session, project, run)  # a second end changes nothing
        return run.id


def test_a_run_has_one_mail_whichever_server_ends_it(database: Database) -> None:
    numbers = {ended(database, f"ada{number}") for number in range(5)}
    ended(database, "cancels", "cancelled")
    claimed: list[run_mails.Message] = []

    def take() -> None:
        while (message := run_mails.claim(database)) is not None:
            claimed.append(message)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {message.run_id for message in claimed} == numbers
    assert len(claimed) == 5
    # Attempts that fail are followed by others, later each time, and are given up in the end.
    message = claimed[0]
    waits = []
    while message.attempts <= len(run_mails.WAITS):
        run_mails.conclude(database, message, "451 later")
        waits.append(run_mails.wait(database))
        assert run_mails.claim(database) is None
        with database.write() as session:
            session.execute(update(RunMail).where(RunMail.run_id == message.run_id).values(due=0.0))
        late, message = message, wait_for(lambda: run_mails.claim(database))
        run_mails.conclude(database, late, "")  # of an attempt that outlived its lease
    others = run_mails.LEASE  # of the other mails that are on their way
    assert [round(wait or 0, -1) for wait in waits] == [min(wait, others) for wait in run_mails.WAITS]
    run_mails.conclude(database, message, "451 later")
    with database.read() as session:
        assert session.get_one(RunMail, message.run_id).status == "failed"
    run_mails.conclude(database, claimed[1], "550 nobody here", lasting=True)
    with database.read() as session:
        assert session.get_one(RunMail, claimed[1].run_id).status == "failed"


def test_old_news_and_unwanted_mail_are_not_sent(database: Database) -> None:
    old, unwanted, locked = (ended(database, name) for name in ("old", "unwanted", "locked"))
    with database.write() as session:
        yesterday = utcnow() - timedelta(hours=25)
        session.execute(update(RunMail).where(RunMail.run_id == old).values(created_at=yesterday))
        session.execute(update(User).where(User.username == "unwanted").values(mail_runs=False))
        session.execute(update(User).where(User.username == "locked").values(is_active=False))
    while database and run_mails.wait(database) == 0.0:
        assert run_mails.claim(database) is None
    with database.read() as session:
        states = {row.run_id: row.status for row in session.scalars(select(RunMail))}
    assert states == {old: "pending", unwanted: "dropped", locked: "dropped"}
    with database.write() as session:
        month = utcnow() - timedelta(days=31)
        session.execute(update(RunMail).where(RunMail.run_id == old).values(created_at=month))
    run_mails.forget_old(database)
    with database.read() as session:
        assert session.get(RunMail, old) is None


def test_the_mail_says_where_to_turn_it_off() -> None:
    message = run_mails.Message(1, 1, "a@x.org", "ada", 7, "Bust", "failed", "mesh_generation", "Bad.", "")
    mail = mail_of(message, "https://x.org")
    assert mail.text == (
        'The reconstruction up to mesh_generation of "Bust" has failed.\n\nBad.\n\n'
        "https://x.org/#/projects/7\n\n"
        "The account ada asks for this mail. To get no more, turn it off at https://x.org/#/account, or send "
        'PUT https://x.org/api/v1/auth/notifications with {"run_ended": false}.\n'
    )
    assert Settings().smtp_host == ""

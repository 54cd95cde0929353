"""Registration, invitations, administrators, and the operator's commands."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from recon3d_api import logs
from recon3d_api.__main__ import app
from recon3d_api.http import invitations
from recon3d_api.store.tables import Invitation, User
from tests.api.accounts import OTHER, PASSWORD, login, register, status, token_of
from tests.api.conftest import Api
from tests.api.test_mail import Inbox, smtp_server

Serve = Callable[..., contextlib.AbstractContextManager[Api]]


def sign_up(api: Api, name: str, **fields: str) -> httpx.Response:
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD, **fields}
    with api.client() as client:
        return client.post("/auth/register", json=body)


def invite(api: Api, email: str = "") -> str:
    with api.service.database.write() as session:
        return invitations.invite(session, email)


def test_registration_can_be_closed(serve: Serve) -> None:
    with serve(runners=0, registration="closed") as api:
        answer = sign_up(api, "ada", invitation=invite(api))
        assert (answer.status_code, "operator" in answer.json()["detail"]) == (403, True)


def test_registration_by_invitation(serve: Serve) -> None:
    with serve(runners=0, registration="invitation", rate_limit_login="6/minute") as api:
        anyones, adas, old = invite(api), invite(api, "Ada@example.org"), invite(api)
        with api.service.database.write() as session:
            digest = invitations.digest(old)
            session.execute(sa.update(Invitation).where(Invitation.digest == digest).values(expires=1.0))
        assert sign_up(api, "eve").status_code == 403
        assert sign_up(api, "eve", invitation="guess").status_code == 403
        assert sign_up(api, "eve", invitation=old).status_code == 403
        assert sign_up(api, "eve", invitation=adas).status_code == 403
        # What fails for another reason does not use it up.
        assert sign_up(api, "bob", invitation=anyones, password="password1").status_code == 422
        assert sign_up(api, "bob", invitation=anyones).status_code == 201
        assert sign_up(api, "bob", invitation=adas, email="ada@example.org").status_code == 400
        assert sign_up(api, "ada", invitation=adas).status_code == 201
        assert sign_up(api, "eve", invitation=anyones).status_code == 403
        assert sign_up(api, "eve", invitation=adas).status_code == 403
        assert sign_up(api, "eve", invitation="guess").status_code == 429


def test_an_invitation_used_twice_at_once_makes_one_account(serve: Serve) -> None:
    with serve(runners=0, registration="invitation") as api:
        code, answers = invite(api), []
        threads = [
            threading.Thread(target=lambda n=n: answers.append(sign_up(api, f"user{n}", invitation=code)))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.status_code for answer in answers) == [201, 403, 403, 403]


# --- administrators ---------------------------------------------------------------------------------


@pytest.fixture
def admin(idle: Api) -> str:
    """Name of an administrator."""
    name = register(idle)
    with idle.service.database.write() as session:
        session.execute(sa.update(User).where(User.username == name).values(is_admin=True))
    return name


def number_of(api: Api, name: str) -> int:
    with api.service.database.read() as session:
        return session.scalars(sa.select(User.id).where(User.username == name)).one()


def test_administrators_disable_and_enable(idle: Api, admin: str) -> None:
    name = register(idle)
    token, number = token_of(idle, name), number_of(idle, name)
    with idle.client(token_of(idle, admin)) as client:
        users = client.get("/admin/users?limit=1000").json()
        admins = {user["username"]: user["is_admin"] for user in users}
        assert (admins[name], admins[admin]) == (False, True)
        assert "password" not in json.dumps(users)
        assert client.post(f"/admin/users/{number}/disable").json()["is_active"] is False
        assert status(idle, token) == 401
        assert client.post(f"/admin/users/{number}/enable").json()["is_active"] is True
        assert status(idle, token) == 401
        assert status(idle, token_of(idle, name)) == 200
        assert client.post("/admin/users/999999/disable").status_code == 404
        assert client.post(f"/admin/users/{number_of(idle, admin)}/disable").status_code == 400
        entries = client.get(f"/admin/audit?username={admin}&action=user").json()
        assert [(e["action"], e["target"]) for e in entries][:2] == [
            ("user.enabled", f"user {name}"), ("user.disabled", f"user {name}"),
        ]  # fmt: skip
        older = client.get(f"/admin/audit?limit=1&before={entries[0]['id']}").json()
        assert older[0]["id"] < entries[0]["id"]


def test_others_may_not(idle: Api, admin: str) -> None:
    with idle.client(token_of(idle, register(idle))) as client:
        target = number_of(idle, admin)
        for method, path in (
            ("GET", "/admin/users"),
            ("GET", "/admin/audit"),
            ("POST", f"/admin/users/{target}/disable"),
            ("POST", f"/admin/users/{target}/enable"),
        ):
            assert client.request(method, path).status_code == 403, path
    assert login(idle, admin).status_code == 200
    # Registering with more fields makes nobody an administrator.
    assert "is_admin" not in sign_up(idle, f"x{target}", is_admin="true").json()
    with idle.client(token_of(idle, f"x{target}")) as client:
        assert client.get("/admin/users").status_code == 403


# --- the operator's commands ------------------------------------------------------------------------


def test_the_operators_commands(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, beside a running server."""
    monkeypatch.setattr(logs, "configure", lambda *_: None)  # pytest reads the logs
    monkeypatch.setattr(os, "umask", lambda _: 0)
    inbox = Inbox()
    with smtp_server(inbox) as mail, serve(runners=0, data_dir=tmp_path, **mail) as api:
        url = api.service.database.url.render_as_string(hide_password=False)
        settings = {"DATA_DIR": tmp_path, "DATABASE_URL": url, **{k.upper(): v for k, v in mail.items()}}
        environment = {f"RECON3D_API_{key}": str(value) for key, value in settings.items()}

        def cli(*arguments: str, stdin: str = "", code: int = 0) -> str:
            done = CliRunner().invoke(app, arguments, input=stdin, env=environment)
            assert done.exit_code == code, done.output
            return done.output

        assert "Made the account grace" in cli("user", "add", "grace", "g@example.org", stdin=PASSWORD)
        assert "too easy" in cli("user", "add", "joan", "j@example.org", stdin="letmein123\n", code=2)
        token = token_of(api, "grace")
        cli("user", "promote", "g@example.org")
        with api.client(token) as client:
            assert client.get("/admin/users").status_code == 200
            cli("user", "demote", "grace")
            assert client.get("/admin/users").status_code == 403
        link = cli("user", "reset", "grace").strip()
        assert link.startswith("https://recon3d.example.org/reset-password#")
        with api.client() as client:
            body = {"token": link.partition("#")[2], "new_password": OTHER}
            assert client.post("/auth/password/reset", json=body).status_code == 200
        assert status(api, token) == 401
        token = token_of(api, "grace", OTHER)
        cli("user", "disable", "Grace")
        assert status(api, token) == 401
        assert "grace  g@example.org" in (listed := cli("user", "list"))
        assert "disabled" in listed
        assert "is disabled" in cli("user", "reset", "grace", code=2)
        cli("user", "enable", "grace")
        assert "disabled" not in cli("user", "list")
        assert "There is no user nobody" in cli("user", "disable", "nobody", code=2)
        code = cli("user", "invite", "joan@example.org").splitlines()[0]
        assert inbox.recipients == ["joan@example.org"]
        assert code in inbox.mails[0].get_content()
        assert sign_up(api, "joan", invitation=code).status_code == 201
        assert "no-address" in cli("user", "invite", "no-address", code=2)
        told = cli("audit", "--action", "user", "--days", "1")
        assert [line.split("  ")[1] for line in told.splitlines()] == [
            "user.registered", "user.promoted", "user.demoted", "user.disabled", "user.enabled",
            "user.invited", "user.registered",
        ]  # fmt: skip
        assert "command line" in told
        row = json.loads(cli("audit", "--json", "--limit", "1", "--action", "password.reset"))
        assert (row["action"], row["user"], row["address"]) == ("password.reset", "grace", "127.0.0.1")

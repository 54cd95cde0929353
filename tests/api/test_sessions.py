"""Refresh tokens and API keys, also stolen ones, and accounts that end while they are used."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from recon3d_api.client import ApiError, Client
from recon3d_api.http import accounts, sessions
from recon3d_api.store import audit
from recon3d_api.store.expiry import forget_expired
from recon3d_api.store.tables import ApiKey, LoginSession, User, utcnow
from tests.api.accounts import PASSWORD, login, register, status, token_of
from tests.api.conftest import Api, new_project
from tests.api.test_full_disk import fill, small_disk, until_full

__all__ = ["small_disk"]
Serve = Callable[..., contextlib.AbstractContextManager[Api]]


def refresh(api: Api, token: str) -> httpx.Response:
    with api.client() as client:
        return client.post("/auth/refresh", json={"refresh_token": token})


def made_key(api: Api, token: str, **fields: Any) -> dict[str, Any]:
    with api.client(token) as client:
        answer = client.post("/auth/keys", json={"name": "build server", **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


# --- sessions ---------------------------------------------------------------------------------------


def test_a_session_is_renewed(idle: Api) -> None:
    name = register(idle)
    first = login(idle, name, way="session").json()
    assert set(first) == {
        "access_token", "token_type", "expires_in", "refresh_token", "refresh_expires_in",
    }  # fmt: skip
    known = idle.service.tokens.read(first["access_token"])
    assert known is not None
    assert abs(known.expires - time.time() - first["expires_in"]) < 5
    second = refresh(idle, first["refresh_token"]).json()
    third = refresh(idle, second["refresh_token"]).json()
    assert len({first["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert [status(idle, pair["access_token"]) for pair in (first, second, third)] == [200, 200, 200]


def test_a_copied_refresh_token_ends_the_session(idle: Api) -> None:
    name = register(idle)
    other = login(idle, name, way="session").json()
    first = login(idle, name, way="session").json()
    second = refresh(idle, first["refresh_token"]).json()
    third = refresh(idle, second["refresh_token"]).json()
    assert refresh(idle, first["refresh_token"]).status_code == 401  # the thief, or the owner after it
    assert refresh(idle, third["refresh_token"]).status_code == 401
    assert [status(idle, pair["access_token"]) for pair in (first, second, third)] == [401, 401, 401]
    assert status(idle, other["access_token"]) == 200  # another login of the same user
    with idle.service.database.read() as session:
        found = session.scalars(audit.entries(username=name, action="session")).all()
    assert [entry.action for entry in found] == ["session.reused"]


@pytest.mark.attack("A refresh token is used again after half a minute", "the session ends")
def test_a_refresh_token_used_again_later_ends_the_session(idle: Api) -> None:
    first = login(idle, register(idle), way="session").json()
    second = refresh(idle, first["refresh_token"]).json()
    with idle.service.database.write() as session:
        session.execute(sa.update(LoginSession).values(renewed=time.time() - sessions.AGAIN_SECONDS))
    assert refresh(idle, first["refresh_token"]).status_code == 401
    assert status(idle, second["access_token"]) == 401
    assert refresh(idle, second["refresh_token"]).status_code == 401


def test_a_lost_answer_is_given_again(idle: Api) -> None:
    """A page that is reloaded while it renews its token, or tabs that have no locks."""
    first = login(idle, register(idle), way="session").json()
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda: answers.append(refresh(idle, first["refresh_token"])))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 4
    (following,) = {answer.json()["refresh_token"] for answer in answers}
    assert following != first["refresh_token"]
    assert {status(idle, answer.json()["access_token"]) for answer in answers} == {200}
    assert refresh(idle, following).status_code == 200
    # Whose successor was used is no lost answer.
    assert refresh(idle, first["refresh_token"]).status_code == 401


def test_refresh_tokens_that_are_not_good(idle: Api) -> None:
    name = register(idle)
    pair = login(idle, name, way="session").json()
    for bad in ("nonsense", "r3r_", "r3r_x_y", "ä" * 100, pair["refresh_token"][:40]):
        assert refresh(idle, bad).status_code == 401, bad
    # As an access token it is nothing.
    assert status(idle, pair["refresh_token"]) == 401
    old = login(idle, name, way="session").json()
    with idle.service.database.write() as session:
        session.execute(sa.update(LoginSession).values(expires=time.time() - 1))
    assert refresh(idle, old["refresh_token"]).status_code == 401
    forget_expired(idle.service.database)
    with idle.service.database.read() as session:
        assert session.scalars(sa.select(LoginSession)).all() == []


def test_logging_out_ends_the_session(idle: Api) -> None:
    pair = login(idle, register(idle), way="session").json()
    following = refresh(idle, pair["refresh_token"]).json()
    with idle.client(pair["access_token"]) as client:
        assert client.post("/auth/logout").status_code == 200
    assert refresh(idle, following["refresh_token"]).status_code == 401
    assert status(idle, following["access_token"]) == 401


def test_only_the_session_way_gives_refresh_tokens(idle: Api) -> None:
    assert set(login(idle, register(idle)).json()) == {"access_token", "token_type"}


def test_every_way_to_log_in_is_limited(serve: Serve) -> None:
    with serve(runners=0, rate_limit_login="3/minute") as api:
        name = register(api)
        ways = ("token", "session", "token", "session", "token")
        codes = [login(api, name, "wrong wrong", way).status_code for way in ways]
        assert codes == [401, 401, 401, 429, 429]
        mail = f"{name}@example.org"
        assert [login(api, mail, "wrong wrong").status_code for _ in range(4)] == [401, 401, 401, 429]


def test_log_in_by_e_mail(idle: Api) -> None:
    name = register(idle)
    for spelling in (f"{name}@example.org", f" {name.upper()}@EXAMPLE.org "):
        with idle.client(login(idle, spelling).json()["access_token"]) as client:
            assert client.get("/auth/me").json()["username"] == name
    assert login(idle, f"{name}@example.org", "wrong wrong").status_code == 401


def test_logins_are_recorded(idle: Api) -> None:
    name = register(idle)
    login(idle, name)
    login(idle, name, "wrong wrong")
    with idle.service.database.read() as session:
        found = session.scalars(audit.entries(username=name)).all()
    assert [(e.action, e.user_id is None) for e in found] == [
        ("login.failed", True), ("login", False), ("user.registered", False),
    ]  # fmt: skip
    assert {entry.address for entry in found} == {"127.0.0.1"}


def test_logging_in_works_on_a_full_disk(serve: Serve, small_disk: Path) -> None:
    with serve(runners=0, data_dir=small_disk) as api:
        name = register(api)
        key = made_key(api, token_of(api, name))["key"]
        with api.client(token_of(api, name)) as client:
            fill(small_disk)
            if api.service.database.is_sqlite:
                assert until_full(client).status_code == 507
        assert status(api, token_of(api, name)) == 200
        assert status(api, key) == 200


# --- API keys ---------------------------------------------------------------------------------------


def test_a_key_is_good_wherever_a_token_is(idle: Api) -> None:
    name = register(idle)
    made = made_key(idle, token_of(idle, name))
    key = made.pop("key")
    assert key.startswith("r3d_")
    with idle.client(key) as client:
        assert client.get("/auth/me").json()["username"] == name
        number = new_project(client)
        (listed,) = client.get("/auth/keys").json()
        assert listed.pop("last_used_at")
        made.pop("last_used_at")
        assert listed == made  # the key itself is not shown again
        ticket = ticket_for(client, number)
    for socket in (opened(idle, number, key=key), opened(idle, number, ticket=ticket)):
        with socket:
            assert '"state"' in str(socket.recv(timeout=30))
    with idle.service.database.read() as session:
        assert session.scalars(sa.select(ApiKey.digest).where(ApiKey.digest.contains(key[4:]))).all() == []


def ticket_for(client: httpx.Client, number: int) -> str:
    body = {"project_id": number, "purpose": "events"}
    return str(client.post("/auth/ticket", json=body).json()["ticket"])


def opened(api: Api, number: int, key: str = "", ticket: str = "") -> ClientConnection:
    address = f"{api.url.replace('http', 'ws')}/ws/jobs/{number}{f'?ticket={ticket}' if ticket else ''}"
    return connect(address, additional_headers={"Authorization": f"Bearer {key}"} if key else None)


def closed_with(socket: ClientConnection) -> int:
    with socket, pytest.raises(ConnectionClosed) as info:
        socket.recv(timeout=30)
    assert info.value.rcvd is not None
    return info.value.rcvd.code


def test_our_client_takes_a_key(idle: Api) -> None:
    name = register(idle)
    with Client(idle.url, made_key(idle, token_of(idle, name))["key"]) as client:
        assert client.me().username == name
    with Client(idle.url, "r3d_nonsense") as client, pytest.raises(ApiError) as info:
        client.me()
    assert info.value.status == 401


def test_our_client_makes_lists_and_revokes_keys(idle: Api) -> None:
    with Client(idle.url) as client:
        client.login(register(idle), PASSWORD)
        made = client.create_key("laptop", expires_at=utcnow() + timedelta(days=1))
        assert [key.name for key in client.api_keys()] == ["laptop"]
        assert status(idle, made.key) == 200
        client.revoke_key(made.id)
        assert client.api_keys() == []
    assert status(idle, made.key) == 401


def test_keys_that_are_not_good(idle: Api) -> None:
    token = token_of(idle, register(idle))
    soon = (utcnow() + timedelta(seconds=1.0)).isoformat()
    key = made_key(idle, token, expires_at=soon)["key"]
    assert status(idle, key) == 200
    for bad in (key[:-1], key + "x", key.replace("r3d_", "R3D_"), "r3d_", "r3d_ä", f"r3d_{'x' * 5000}"):
        with httpx.Client(base_url=idle.url) as client:
            header = f"Bearer {bad}".encode("latin-1")
            assert client.get("/api/v1/auth/me", headers={"Authorization": header}).status_code == 401  # type: ignore[dict-item]
    time.sleep(1.1)
    assert status(idle, key) == 401
    with idle.client(token) as client:
        for body, code in (
            ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, 400),
            ({"name": "x", "expires_at": "2099-01-01T00:00:00"}, 422),
            ({"name": ""}, 422),
            ({"name": "x" * 101}, 422),
            ({"name": "a\0b"}, 422),
        ):
            assert client.post("/auth/keys", json=body).status_code == code, body


def test_a_revoked_key_ends_at_once_with_what_it_opened(idle: Api) -> None:
    token = token_of(idle, register(idle))
    made = made_key(idle, token)
    with idle.client(made["key"]) as client:
        number = new_project(client)
        ticket = client.post("/auth/ticket", json={"project_id": number, "purpose": "events"}).json()[
            "ticket"
        ]
    with idle.client(token_of(idle, register(idle))) as thief:
        assert thief.delete(f"/auth/keys/{made['id']}").status_code == 404
        assert thief.get("/auth/keys").json() == []
    assert status(idle, made["key"]) == 200
    with idle.client(token) as client:
        assert client.delete(f"/auth/keys/{made['id']}").status_code == 200
        assert client.delete(f"/auth/keys/{made['id']}").status_code == 404
    assert status(idle, made["key"]) == 401
    assert closed_with(opened(idle, number, key=made["key"])) == 4401
    assert closed_with(opened(idle, number, ticket=ticket)) == 4401
    assert status(idle, token) == 200


def test_keys_have_their_owners_rate_limit(serve: Serve) -> None:
    """Unknown keys count for the address, not each for itself."""
    with serve(runners=0, rate_limit="5/minute") as api:
        guesses = [status(api, f"r3d_{n}") for n in range(6)]
        assert guesses == [401, 401, 401, 401, 401, 429]


# --- disabled users ---------------------------------------------------------------------------------


def test_a_disabled_user_is_out_at_once(idle: Api) -> None:
    name = register(idle)
    token, pair = token_of(idle, name), login(idle, name, way="session").json()
    key = made_key(idle, token)["key"]
    with idle.client(token) as client:
        number = new_project(client)
        ticket = client.post("/auth/ticket", json={"project_id": number, "purpose": "events"}).json()[
            "ticket"
        ]

    def set_active(active: bool) -> None:
        with idle.service.database.write() as session:
            user = session.scalars(sa.select(User).where(User.username == name)).one()
            accounts.set_active(session, user, active)

    set_active(False)
    assert [status(idle, text) for text in (token, pair["access_token"], key)] == [401, 401, 401]
    assert refresh(idle, pair["refresh_token"]).status_code == 401
    assert closed_with(opened(idle, number, ticket=ticket)) == 4401
    assert closed_with(opened(idle, number, key=key)) == 4401
    wrong, right = login(idle, name, "wrong wrong"), login(idle, name)
    assert (right.status_code, right.text) == (wrong.status_code, wrong.text)
    set_active(True)
    assert [status(idle, text) for text in (token, pair["access_token"])] == [401, 401]
    assert refresh(idle, pair["refresh_token"]).status_code == 401
    assert status(idle, key) == 200
    assert status(idle, token_of(idle, name)) == 200


def test_an_api_key_cannot_change_the_account(idle: Api, client: httpx.Client) -> None:
    """Who copies a key must not get a second one, nor lock its owner out."""
    made = [client.post("/auth/keys", json={"name": name}).json() for name in ("one", "two")]
    with idle.client(made[0]["key"]) as program:
        assert program.get("/auth/me").status_code == 200
        assert len(program.get("/auth/keys").json()) == 2
        change = {"old_password": "x", "new_password": "staple wrong donkey"}
        for answer in (
            program.post("/auth/keys", json={"name": "three"}),
            program.post("/auth/password", json=change),
            program.put("/auth/notifications", json={"run_ended": True}),
        ):
            assert answer.status_code == 403
            assert answer.json()["detail"] == (
                "An API key cannot change the account. Log in, and use the access token"
            )
        refused = program.delete(f"/auth/keys/{made[1]['id']}")
        assert (refused.status_code, refused.json()["detail"]) == (
            403,
            "An API key revokes only itself. Log in, and use the access token",
        )
        assert program.delete(f"/auth/keys/{made[0]['id']}").status_code == 200
        assert program.get("/auth/me").status_code == 401
        assert program.post("/auth/keys", json={"name": "three"}).status_code == 401
    assert [key["name"] for key in client.get("/auth/keys").json()] == ["two"]

"""Accounts and tokens, as the contract has them."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.api.conftest import Api

GOOD = {"username": "Ada_1", "email": "Ada@example.com", "password": "correct horse", "full_name": "Ada L."}
USER = {"id", "username", "email", "full_name", "is_active", "created_at"}


def test_register_token_me(idle: Api) -> None:
    with idle.client() as client:
        made = client.post("/auth/register", json=GOOD)
        assert made.status_code == 201
        assert set(made.json()) == USER
        assert made.json() | {"id": 0, "created_at": ""} == {
            "id": 0,
            "username": "Ada_1",
            "email": "Ada@example.com",
            "full_name": "Ada L.",
            "is_active": True,
            "created_at": "",
        }
        assert datetime.fromisoformat(made.json()["created_at"].replace("Z", "+00:00")).tzinfo
        # A name is the same however it is capitalized; so is an address.
        for changed in ({"email": "b@example.com", "username": "ADA_1"}, {"username": "bob"}):
            again = client.post("/auth/register", json={**GOOD, "email": "ada@EXAMPLE.com", **changed})
            assert again.status_code == 400
            assert "already registered" in again.json()["detail"]
        token = client.post("/auth/token", data={"username": "ada_1", "password": "correct horse"})
        assert token.status_code == 200
        assert set(token.json()) == {"access_token", "token_type"}
        assert token.json()["token_type"] == "bearer"
        me = client.get("/auth/me", headers={"Authorization": f"Bearer {token.json()['access_token']}"})
        assert me.status_code == 200
        assert me.json() == made.json()
        assert client.get("/auth/me").status_code == 401
        assert client.get("/auth/me").headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "a"),
        ("username", "a b c"),
        ("username", "ädä"),
        ("username", "x" * 51),
        ("username", None),
        ("email", "nobody"),
        ("email", "a@b@c.example"),
        ("password", "short"),
        ("password", "x" * 129),
        ("password", "password"),
        ("password", "aaaaaaaaaa"),
        ("password", "somebody1@example.com"),
        ("password", "nul\0nul\0nul"),
        ("full_name", "x" * 201),
        ("full_name", "a\0b"),
    ],
)
def test_register_refuses(idle: Api, field: str, value: Any) -> None:
    body = {**GOOD, "username": "somebody1", "email": "somebody1@example.com", field: value}
    with idle.client() as client:
        answer = client.post("/auth/register", json=body)
    assert answer.status_code == 422, answer.text
    assert field in answer.json()["detail"]
    assert isinstance(answer.json()["errors"], list)
    assert "input" not in answer.text  # what was sent, a password maybe, is not repeated


def test_lone_surrogate_is_refused(idle: Api) -> None:
    body = '{"username":"somebody2","email":"s2@example.com","password":"\\ud800 12345678"}'
    with idle.client() as client:
        answer = client.post("/auth/register", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_wrong_password_and_unknown_user_look_alike(idle: Api) -> None:
    with idle.client() as client:
        client.post("/auth/register", json={**GOOD, "username": "carol", "email": "carol@example.com"})
        answers, seconds = [], {"carol": [], "nobody-at-all": []}
        for _ in range(5):
            for name, times in seconds.items():
                began = time.process_time()  # the hashes', whatever else the machine does
                answers.append(client.post("/auth/token", data={"username": name, "password": "wrong wrong"}))
                times.append(time.process_time() - began)
    assert {(answer.status_code, answer.text) for answer in answers} == {
        (401, '{"detail":"Incorrect username or password"}')
    }
    known, unknown = (statistics.median(times) for times in seconds.values())
    assert abs(known - unknown) < 0.5 * max(known, unknown)


@pytest.mark.parametrize("name", ["a\0b", "ä", "x" * 10_000, "' OR 1=1 --"])
def test_strange_login_names(idle: Api, name: str) -> None:
    with idle.client() as client:
        answer = client.post("/auth/token", data={"username": name, "password": "p\0" * 8})
    assert answer.status_code == 401


def test_inactive_user_is_refused(idle: Api) -> None:
    _, token = idle.user(is_active=False)
    with idle.client(token) as client:
        assert client.get("/auth/me").status_code == 401


def test_login_is_throttled(serve: Callable[..., contextlib.AbstractContextManager[Api]]) -> None:
    with serve(runners=0, rate_limit_login="3/minute") as api, api.client() as client:
        client.post("/auth/register", json=GOOD)
        wrong = {"username": "Ada_1", "password": "wrong wrong"}
        right = {"username": "ada_1", "password": GOOD["password"]}
        assert [client.post("/auth/token", data=wrong).status_code for _ in range(4)] == [401, 401, 401, 429]
        refused = client.post("/auth/token", data=right)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.json()["detail"]

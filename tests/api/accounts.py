"""Accounts with passwords, for tests of ways in."""

from __future__ import annotations

import itertools

import httpx

from tests.api.conftest import Api

PASSWORD = "seven green herons"
OTHER = "eleven grey herons"
_numbers = itertools.count(1)


def register(api: Api) -> str:
    """A new account with a password; its name."""
    name = f"heron{next(_numbers)}"
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    with api.client() as client:
        answer = client.post("/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    return name


def login(api: Api, name: str, password: str = PASSWORD, way: str = "token") -> httpx.Response:
    """Try to log in."""
    with api.client() as client:
        return client.post(f"/auth/{way}", data={"username": name, "password": password})


def token_of(api: Api, name: str, password: str = PASSWORD) -> str:
    """An access token."""
    return str(login(api, name, password).json()["access_token"])


def status(api: Api, token: str) -> int:
    """What a request with a token is answered with."""
    with api.client(token) as client:
        return client.get("/auth/me").status_code

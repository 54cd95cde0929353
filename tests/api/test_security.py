"""Tokens that are not good, on every endpoint and on the WebSocket."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any

import httpx
import pytest
from argon2 import extract_parameters
from jose import jwt
from pwdlib.hashers.argon2 import Argon2Hasher
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from recon3d_api.http import security
from recon3d_api.http.security import Passwords, Tokens
from tests.api.conftest import Api, new_project, started


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def bad_tokens(api: Api, user_id: int) -> dict[str, str]:
    key, now = api.service.settings.secret_key, int(time.time())
    good = {"sub": str(user_id), "iat": now, "exp": now + 600}

    def signed(claims: dict[str, Any], secret: str = key, algorithm: str = "HS256") -> str:
        return str(jwt.encode(claims, secret, algorithm=algorithm))

    head, body, mark = signed(good).split(".")
    return {
        "nothing": "",
        "nonsense": "x.y.z",
        "two parts": f"{head}.{body}",
        "expired": signed({**good, "exp": now - 60}),
        "not yet issued": signed({**good, "iat": now + 3600}),
        "other key": signed(good, "k" * 40),
        "empty key": signed(good, " "),
        "other algorithm": signed(good, key, "HS512"),
        "alg none": f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        "alg none, signed": f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{body}.{mark}",
        "other body": f"{head}.{encoded({**good, 'sub': '1'})}.{mark}",
        "no exp": signed({"sub": str(user_id), "iat": now}),
        "no sub": signed({"iat": now, "exp": now + 600}),
        "no iat": signed({"sub": str(user_id), "exp": now + 600}),
        "unknown user": signed({**good, "sub": "999999"}),
        "strange sub": signed({**good, "sub": "1 OR 1=1"}),
        "huge sub": signed({**good, "sub": "9" * 40}),
        "unicode sub": signed({**good, "sub": "١"}),
    }


def endpoints(document: dict, number: int, job: int) -> list[tuple[str, str]]:
    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if operation.get("security"):
                path = path.replace("{project_id}", str(number)).replace("{job_id}", str(job))
                path = path.replace("{file_type}", "video")
                found.append((method.upper(), re.sub(r"\{\w+_id\}", "1", path)))
    return found


def test_bad_tokens_everywhere(client: httpx.Client, idle: Api) -> None:
    number = started(client)
    job = client.get(f"/jobs?project_id={number}").json()[0]["id"]
    user_id = client.get("/auth/me").json()["id"]
    document = httpx.get(f"{idle.url}/openapi.json").json()
    calls = endpoints(document, number, job)
    assert len(calls) >= 29
    tokens = bad_tokens(idle, user_id)
    with httpx.Client(base_url=idle.url) as anyone:
        for name, token in tokens.items():
            # All tokens at one endpoint, and three at all of them: it is one check for all.
            chosen = calls if name in ("nothing", "expired", "alg none") else calls[:1]
            for method, path in chosen:
                answer = anyone.request(method, path, headers={"Authorization": f"Bearer {token}".strip()})
                assert answer.status_code == 401, (name, method, path)
                if method != "HEAD":
                    assert answer.json() == {"detail": "Could not validate credentials"}
                assert answer.headers["www-authenticate"] == "Bearer"
        good = client.headers["authorization"].partition(" ")[2]
        for header in (f"Basic {good}", good, f"Bearer {good} x", "Bearer"):
            assert anyone.get("/api/v1/auth/me", headers={"Authorization": header}).status_code == 401
    assert client.get(f"/projects/{number}").status_code == 200


def test_bad_tokens_on_the_websocket(client: httpx.Client, idle: Api) -> None:
    number = new_project(client)
    address = f"{idle.url.replace('http', 'ws')}/ws/jobs/{number}"
    for name, token in bad_tokens(idle, client.get("/auth/me").json()["id"]).items():
        with connect(address, additional_headers={"Authorization": f"Bearer {token}".strip()}) as socket:
            with pytest.raises(ConnectionClosed) as info:
                socket.recv(timeout=30)
            assert info.value.rcvd is not None
            assert info.value.rcvd.code == 4401, name


def test_tokens() -> None:
    tokens = Tokens("k" * 40, 10)
    known = tokens.read(tokens.issue(7))
    assert known is not None
    assert known.user_id == 7
    assert 590 < known.expires - time.time() <= 600
    assert Tokens("j" * 40, 10).read(tokens.issue(7)) is None


def test_passwords_are_salted_argon2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "Argon2Hasher", Argon2Hasher)  # at its full cost
    passwords = Passwords()
    first, second = passwords.hash("secret secret"), passwords.hash("secret secret")
    assert first != second
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert passwords.verify("secret secret", first)
    assert not passwords.verify("secret secreT", first)
    assert not passwords.verify("nobody has this password", None)
    assert not passwords.verify("secret secret", "no hash of ours")


@pytest.mark.parametrize("cost", [{}, {"time_cost": 2}])
def test_an_unknown_user_costs_what_a_known_one_does(
    monkeypatch: pytest.MonkeyPatch, cost: dict[str, int]
) -> None:
    monkeypatch.setattr(security, "Argon2Hasher", lambda: Argon2Hasher(**cost))
    passwords = Passwords()
    assert passwords._hasher.verify("nobody has this password", passwords._nobody)
    known = extract_parameters(passwords.hash("secret secret"))
    assert extract_parameters(passwords._nobody) == known

"""Passwords changed, forgotten and reset, also by those who should not."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
import sqlalchemy as sa

from recon3d_api.http import resets
from recon3d_api.http.security import password_problem
from recon3d_api.store import audit
from recon3d_api.store.tables import PasswordReset, User
from tests.api.accounts import OTHER, PASSWORD, login, register, status, token_of
from tests.api.conftest import Api, wait_for
from tests.api.test_mail import Inbox, smtp_server
from tests.notebook.browser import EXECUTABLE, launch

Serve = Callable[..., contextlib.AbstractContextManager[Api]]


def actions(api: Api, name: str) -> list[str]:
    with api.service.database.read() as session:
        return [entry.action for entry in session.scalars(audit.entries(username=name))]


def change(api: Api, token: str, old: str, new: str) -> httpx.Response:
    with api.client(token) as client:
        return client.post("/auth/password", json={"old_password": old, "new_password": new})


def reset(api: Api, token: str, new: str = OTHER) -> httpx.Response:
    with api.client() as client:
        return client.post("/auth/password/reset", json={"token": token, "new_password": new})


def issue(api: Api, name: str, seconds: int = 60) -> str:
    with api.service.database.write() as session:
        user = session.scalars(sa.select(User).where(User.username == name)).one()
        return resets.issue(session, user, seconds)


def ways_in(api: Api, name: str) -> dict[str, str]:
    """A token, a session and a key of a user."""
    opened = login(api, name, way="session").json()
    token = token_of(api, name)
    with api.client(token) as client:
        key = client.post("/auth/keys", json={"name": "k"}).json()["key"]
    found = {"token": token, "session": opened["access_token"], "key": key}
    assert [status(api, text) for text in found.values()] == [200, 200, 200]
    return {**found, "refresh": opened["refresh_token"]}


def assert_closed(api: Api, ways: dict[str, str]) -> None:
    assert [status(api, ways[way]) for way in ("token", "session", "key")] == [401, 401, 401]
    with api.client() as client:
        refreshed = client.post("/auth/refresh", json={"refresh_token": ways["refresh"]})
    assert refreshed.status_code == 401


def test_changing_ends_everything_else(idle: Api) -> None:
    name = register(idle)
    ways, unused = ways_in(idle, name), issue(idle, name)
    assert change(idle, ways["token"], PASSWORD, OTHER).status_code == 200
    assert_closed(idle, ways)
    assert reset(idle, unused).status_code == 400
    assert login(idle, name).status_code == 401
    assert status(idle, token_of(idle, name, OTHER)) == 200
    assert "password.changed" in actions(idle, name)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("wrong wrong", OTHER, 400),
        (PASSWORD, PASSWORD, 422),
        (PASSWORD, "short", 422),
        (PASSWORD, "P@ssw0rd1", 422),
        (PASSWORD, "x" * 129, 422),
    ],
)
def test_a_change_that_is_refused_changes_nothing(idle: Api, old: str, new: str, code: int) -> None:
    name = register(idle)
    token = token_of(idle, name)
    answer = change(idle, token, old, new)
    assert (answer.status_code, PASSWORD in answer.text) == (code, False)
    assert status(idle, token) == 200
    assert login(idle, name).status_code == 200


def test_a_stolen_token_cannot_guess_the_old_password(serve: Serve) -> None:
    with serve(runners=0, rate_limit_login="3/minute") as api:
        name = register(api)
        token = token_of(api, name)
        tries = [change(api, token, f"guess {n}", OTHER).status_code for n in range(4)]
        assert tries == [400, 400, 400, 429]
        assert change(api, token, PASSWORD, OTHER).status_code == 429
        assert actions(api, name).count("password.change_failed") == 3


def test_a_reset_works_once_and_ends_everything(idle: Api) -> None:
    name, bystander = register(idle), register(idle)
    ways, first, second = ways_in(idle, name), issue(idle, name), issue(idle, name)
    weak = reset(idle, first, f"{name}@example.org")
    assert (weak.status_code, "new_password" in weak.json()["detail"]) == (422, True)
    assert reset(idle, first).status_code == 200  # a refused password does not use it up
    assert_closed(idle, ways)
    for token in (first, second):
        assert reset(idle, token, PASSWORD).status_code == 400
    assert login(idle, name, OTHER).status_code == 200
    assert login(idle, bystander).status_code == 200
    assert "password.reset" in actions(idle, name)


def test_a_reset_used_twice_at_once_sets_one_password(idle: Api) -> None:
    name = register(idle)
    token, answers = issue(idle, name), {}

    def use(new: str) -> None:
        answers[new] = reset(idle, token, new).status_code

    threads = [threading.Thread(target=use, args=(f"{n} purple herons",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers.values()) == [200, 400, 400, 400]
    (winner,) = [new for new, code in answers.items() if code == 200]
    assert login(idle, name, winner).status_code == 200


def test_resets_that_are_not_good(serve: Serve) -> None:
    with serve(runners=0, rate_limit_login="4/minute") as api:
        name, gone = register(api), register(api)
        disabled = issue(api, gone)
        with api.service.database.write() as session:
            session.execute(sa.update(User).where(User.username == gone).values(is_active=False))
        bad = [issue(api, name, -1), disabled, "nonsense", issue(api, name)[:-1]]
        assert [reset(api, token).status_code for token in bad] == [400, 400, 400, 400]
        assert reset(api, "guess").status_code == 429
        assert login(api, name).status_code == 200


def test_only_digests_are_kept(idle: Api) -> None:
    name = register(idle)
    token = issue(idle, name)
    with idle.service.database.read() as session:
        assert token not in session.scalars(sa.select(PasswordReset.digest)).all()


# --- by mail ----------------------------------------------------------------------------------------


@pytest.fixture
def mailing(serve: Serve) -> Iterator[tuple[Api, Inbox]]:
    """A service that sends mail to an inbox."""
    inbox = Inbox()
    with smtp_server(inbox) as settings, serve(runners=0, **settings) as api:
        yield api, inbox


def forgot(api: Api, email: str) -> httpx.Response:
    with api.client() as client:
        return client.post("/auth/password/forgot", json={"email": email})


def test_a_forgotten_password_is_reset_by_mail(mailing: tuple[Api, Inbox]) -> None:
    api, inbox = mailing
    name = register(api)
    assert forgot(api, f"{name.upper()}@example.org").status_code == 202
    wait_for(lambda: inbox.mails)
    assert inbox.recipients == [f"{name}@example.org"]
    text = inbox.mails[0].get_content()
    (address,) = [line for line in text.splitlines() if line.startswith("https://")]
    page, _, token = address.partition("#")
    assert page == "https://recon3d.example.org/reset-password"
    assert reset(api, token).status_code == 200
    assert login(api, name, OTHER).status_code == 200


def test_forgot_looks_the_same_for_who_is_not_there(mailing: tuple[Api, Inbox]) -> None:
    api, inbox = mailing
    known, disabled = register(api), register(api)
    with api.service.database.write() as session:
        session.execute(sa.update(User).where(User.username == disabled).values(is_active=False))
    seconds: dict[str, list[float]] = {known: [], disabled: [], "nobody-here": []}
    answers = set()
    for _ in range(7):
        for name, times in seconds.items():
            began = time.perf_counter()
            answer = forgot(api, f"{name}@example.org")
            times.append(time.perf_counter() - began)
            answers.add((answer.status_code, answer.text))
    assert len(answers) == 1
    medians = [statistics.median(times) for times in seconds.values()]
    assert max(medians) - min(medians) < 0.02
    wait_for(lambda: inbox.mails)
    api.service.mailer.stop()
    assert inbox.recipients == [f"{known}@example.org"]  # one mail, not seven


def test_forgot_is_limited(serve: Serve) -> None:
    with smtp_server(Inbox()) as settings, serve(runners=0, rate_limit_login="2/minute", **settings) as api:
        codes = [forgot(api, f"x{n}@example.org").status_code for n in range(3)]
        assert codes == [202, 202, 429]


def test_a_dead_mail_server_blocks_nobody(serve: Serve) -> None:
    dead = {"smtp_host": "10.255.255.1", "mail_from": "r@example.org", "public_url": "http://x.example"}
    with serve(runners=0, smtp_timeout=1.0, **dead) as api:
        name = register(api)
        began = time.perf_counter()
        assert forgot(api, f"{name}@example.org").status_code == 202
        assert time.perf_counter() - began < 0.5


def test_without_mail_the_operator_is_named(idle: Api) -> None:
    answer = forgot(idle, "ada@example.org")
    assert (answer.status_code, "operator" in answer.json()["detail"]) == (400, True)


@pytest.mark.skipif(EXECUTABLE is None, reason="Chromium is not installed: apt-get install chromium")
def test_the_page_of_the_link_sets_the_password(idle: Api) -> None:
    name = register(idle)
    token = issue(idle, name)
    with launch() as browser:
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{idle.url}/reset-password#{token}")
        page.fill("input", "letmein123")
        page.click("button")
        page.locator("output:has-text('too easy')").wait_for()
        page.fill("input", OTHER)
        page.click("button")
        page.locator("output:has-text('Password changed; log in with it')").wait_for()
        assert token not in page.url
    assert any(url.endswith("/api/v1/auth/password/reset") for url in asked)
    assert not [url for url in asked if token in url.partition("#")[0]]
    assert login(idle, name, OTHER).status_code == 200


# --- common passwords -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "password",
    [
        "password123",
        "P@ssw0rd1",
        "qwertyuiop",
        "iloveyou2",
        "1q2w3e4r5t",
        "letmein123",
        "heronheron",
        "abcabcabc",
    ],
)
def test_common_passwords_are_refused(password: str) -> None:
    assert password_problem(password, "heron", "heron@example.org")


@pytest.mark.parametrize("password", ["correct horse", "x9#kLm2pQ", "t" * 20 + "ravellers by night"])
def test_good_passwords_are_taken(password: str) -> None:
    assert password_problem(password, "heron", "heron@example.org") == ""


def test_the_longest_password_is_judged_fast() -> None:
    began = time.perf_counter()
    for password in ("p@ssw0rd!" * 14, "a1b2" * 32, "qwerty" * 21):
        password_problem(password, "heron", "heron@example.org")
    assert time.perf_counter() - began < 1

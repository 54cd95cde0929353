"""Who is signed in, for how long, and where that is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recon3d_api.settings import Settings
from tests.api.conftest import Api, new_project, served, wait_for
from tests.api.site.conftest import (
    PASSWORD,
    Visitor,
    begin_project,
    noise,
    register,
    sign_in,
    slow_line,
)
from tests.api.test_mail import SENDER

KEPT = "localStorage.getItem('recon3d.session')"
#: As if a quarter of an hour went by: the access token is used no more. `aged` is gone after a renewal.
AGED = """() => {
  const known = JSON.parse(localStorage.getItem("recon3d.session"));
  localStorage.setItem("recon3d.session", JSON.stringify({ ...known, aged: true, expires: Date.now() }));
}"""


@pytest.mark.slow
def test_a_session_ends_with_the_tab_unless_it_is_kept(api: Api, visit: Callable[..., Visitor]) -> None:
    visitor = visit(api.url, expected=("/preview",))
    page = visitor.page
    name = register(visitor)
    number = begin_project(visitor, "Kept")
    assert page.evaluate(KEPT) is None
    page.reload()
    page.get_by_role("heading", name="Kept").wait_for()
    other = visitor.context.new_page()
    visitor.watch(other, api.url)
    other.goto(f"{api.url}/#/projects/{number}")
    visitor.page = other
    sign_in(visitor, name)
    other.get_by_role("heading", name="Kept").wait_for()  # where one wanted to go


@pytest.mark.slow
def test_tabs_take_turns_to_renew_a_kept_session(api: Api, visit: Callable[..., Visitor]) -> None:
    visitor = visit(api.url)
    register(visitor, keep=True)
    first = visitor.page
    others = [visitor.context.new_page() for _ in range(3)]
    for page in others:
        visitor.watch(page, api.url)
        page.goto(api.url)
        page.get_by_role("heading", name="Projects", exact=True).wait_for()
    first.evaluate(AGED)
    # A moment without a session would show the form in the other tabs.
    first.evaluate(
        "() => addEventListener('storage', (event) => { window.lost ||= event.newValue === null; })"
    )
    renewals: list[str] = []
    visitor.context.on("request", lambda asked: "auth/refresh" in asked.url and renewals.append(asked.url))
    # All at once: whoever sent the same refresh token twice would end the session.
    for page in others:
        page.evaluate("() => void setTimeout(() => location.reload(), 300)")
    wait_for(lambda: "aged" not in first.evaluate(KEPT))
    for page in others:
        page.get_by_role("heading", name="Projects", exact=True).wait_for()
        page.get_by_role("link", name="Account").click()
        page.get_by_role("heading", name="API keys").wait_for()
    assert len(renewals) == 1
    assert not first.evaluate("window.lost")

    others[0].get_by_role("button", name="Sign out", exact=True).click()
    others[0].get_by_role("heading", name="Sign in").wait_for()
    assert first.evaluate(KEPT) is None
    first.get_by_role("heading", name="Sign in").wait_for()


def account(api: Api, name: str) -> dict[str, Any]:
    """Create an account, and log in as the page does for who stays signed in."""
    with api.client() as client:
        new = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        assert client.post("/auth/register", json=new).status_code == 201
        answer: dict[str, Any] = client.post(
            "/auth/session", data={"username": name, "password": PASSWORD}
        ).json()
    return {"access": answer["access_token"], "refresh": answer["refresh_token"], "expires": 4e12}


def status(api: Api, session: dict[str, Any]) -> int:
    """How the service answers to the access token of a session."""
    with api.client(session["access"]) as client:
        return client.get("/auth/me").status_code


def test_a_reload_while_the_session_is_renewed_keeps_it(api: Api, visit: Callable[..., Visitor]) -> None:
    known = account(api, "barbara")
    visitor = visit(api.url, expected=("/auth/refresh",), at="/#/signin")
    page = visitor.page
    page.evaluate("known => localStorage.setItem('recon3d.session', JSON.stringify(known))", known)
    page.goto(f"{api.url}/#/account")
    page.get_by_role("heading", name="API keys").wait_for()
    page.evaluate(AGED)
    lost: list[int] = []
    # The service has exchanged the token, and the page never hears of it.
    page.route("**/auth/refresh", lambda route: lost.append(route.fetch().status))
    page.reload(wait_until="commit")
    wait_for(lambda: page.wait_for_timeout(50) or lost)
    page.unroute("**/auth/refresh")
    page.reload()
    page.get_by_role("heading", name="API keys").wait_for()
    assert "aged" not in page.evaluate(KEPT)
    assert lost == [200]
    assert page.get_by_role("heading", name="Sign in").count() == 0


#: The time of the access token is over when the service reads it.
LATE = """async () => {
  const api = await import(new URL("site/api.js", document.baseURI));
  const real = window.fetch;
  window.fetch = (url, options) => {
    window.fetch = real;
    const known = JSON.parse(localStorage.getItem("recon3d.session"));
    localStorage.setItem("recon3d.session", JSON.stringify({ ...known, expires: Date.now() }));
    return real(url, { ...options, headers: { Authorization: "Bearer old" } });
  };
  return (await api.get("auth/me")).username;
}"""


def test_a_token_that_ends_while_its_request_waits_for_its_turn_is_renewed(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    known = account(api, "edsger")
    visitor = visit(api.url, expected=("/auth/me",), at="/#/signin")
    page = visitor.page
    page.evaluate("known => localStorage.setItem('recon3d.session', JSON.stringify(known))", known)
    page.goto(f"{api.url}/#/account")
    page.get_by_role("heading", name="API keys").wait_for()
    assert page.evaluate(LATE) == "edsger"
    assert page.get_by_role("heading", name="Sign in").count() == 0


def test_another_user_takes_over(api: Api, visit: Callable[..., Visitor], tmp_path: Path) -> None:
    first = account(api, "grace")
    account(api, "alan")
    with api.client(first["access"]) as client:
        number = new_project(client)
    visitor = visit(api.url, expected=("/preview", "/check"), at="/#/signin")
    page = visitor.page
    page.evaluate("known => localStorage.setItem('recon3d.session', JSON.stringify(known))", first)
    page.goto(f"{api.url}/#/projects/{number}")
    page.get_by_text("Drop files or a folder here").wait_for()
    other = visitor.context.new_page()
    visitor.watch(other, api.url)
    other.goto(api.url)
    other.get_by_role("link", name="Bust").wait_for()
    slow_line(visitor, 200_000)  # it takes longer than signing in
    with page.expect_event("requestfailed", lambda asked: asked.method == "PATCH"):
        with page.expect_request(lambda asked: asked.method == "PATCH"):
            page.get_by_label("Choose files").set_input_files(noise(tmp_path))
        page.goto(f"{api.url}/#/signin")
        page.get_by_label("Keep me signed in").check()
        sign_in(visitor, "alan")
    for tab in (page, other):
        tab.get_by_text("You have no projects yet").wait_for()
    slow_line(visitor, -1)
    # Nobody could revoke what the browser only forgot.
    wait_for(lambda: status(api, first) == 401)
    with api.client() as client:
        renewed = client.post("/auth/refresh", json={"refresh_token": first["refresh"]})
    assert renewed.status_code == 401


def test_a_kept_session_outlives_another_users_and_ends_with_signing_out(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    kept = account(api, "mary")
    visitor = visit(api.url, expected=("/preview", "/auth/quota", "/auth/me", "/projects"), at="/#/signin")
    page = visitor.page
    other = {"access": api.user()[1]}
    page.evaluate(
        """([kept, other]) => {
          localStorage.setItem("recon3d.session", JSON.stringify(kept));
          sessionStorage.setItem("recon3d.session", JSON.stringify(other));
        }""",
        [kept, other],
    )
    page.goto(f"{api.url}/#/account")
    page.get_by_text("Signed in as user").wait_for()
    with api.client(other["access"]) as client:
        client.post("/auth/logout")
    page.get_by_role("link", name="Projects", exact=True).click()
    page.get_by_text("You were signed out.").wait_for()
    page.get_by_role("link", name="Account").click()
    page.get_by_text("Signed in as mary").wait_for()

    other["access"] = api.user()[1]
    page.evaluate("other => sessionStorage.setItem('recon3d.session', JSON.stringify(other))", other)
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_role("heading", name="Sign in").wait_for()
    assert page.evaluate(KEPT) is None
    assert (status(api, other), status(api, kept)) == (401, 401)


@pytest.mark.slow
def test_a_revoked_session_asks_to_sign_in_again(api: Api, visit: Callable[..., Visitor]) -> None:
    visitor = visit(api.url, expected=("/api/v1/",))
    name = register(visitor)
    page = visitor.page
    with api.client() as client:
        form = {"username": name, "password": PASSWORD}
        token = client.post("/auth/token", data=form).json()["access_token"]
    with api.client(token) as client:
        client.post("/auth/logout?everywhere=true")
    page.get_by_role("link", name="Account").click()
    page.get_by_text("You were signed out.").wait_for()
    sign_in(visitor, name)
    page.get_by_role("heading", name="API keys").wait_for()


@pytest.mark.slow
def test_account(api: Api, visit: Callable[..., Visitor]) -> None:
    # Wrong passwords are refused on purpose.
    visitor = visit(api.url, expected=("/auth/password", "/auth/token"))
    name = register(visitor)
    page = visitor.page
    page.get_by_role("link", name="Account").click()
    page.get_by_label("Name of the key").fill("build")
    page.get_by_role("button", name="Create a key").click()
    key = page.get_by_label("API key", exact=True).input_value()
    with api.client(key) as client:
        assert client.get("/auth/me").json()["username"] == name
        page.get_by_role("button", name="Revoke build").click()
        page.get_by_text("The key is revoked.").wait_for()
        assert client.get("/auth/me").status_code == 401
    page.get_by_text("This service sends no e-mail.").wait_for()
    visitor.check_accessible()
    page.get_by_label("Current password").fill("wrong")
    page.get_by_label("New password").fill("staple wrong donkey")
    page.get_by_role("button", name="Change").click()
    page.get_by_text("The old password is wrong").wait_for()
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_role("button", name="Change").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    sign_in(visitor, name)
    page.get_by_role("alert").get_by_text("Incorrect").or_(page.get_by_role("alert")).first.wait_for()
    page.get_by_label("Password").fill("staple wrong donkey")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="API keys").or_(
        page.get_by_role("heading", name="Projects", exact=True)
    ).first.wait_for()


def test_mail_and_refused_passwords(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    mail = {"smtp_host": "localhost", "smtp_security": "none", **SENDER}
    with served(Settings(data_dir=tmp_path, min_free_mb=1, runners=0, **mail)) as api:
        token = api.user()[1]
        visitor = visit(api.url, at="/#/account", token=token, expected=("/auth/password",))
        page = visitor.page
        wanted = page.get_by_label("Send me an e-mail when a run is completed or has failed")
        assert not wanted.is_checked()
        wanted.check()
        page.get_by_text("Saved.").wait_for()
        with api.client(token) as client:
            assert client.get("/auth/notifications").json()["run_ended"]
        page.reload()
        page.locator("input[type=checkbox]:checked").wait_for()
        wanted.uncheck()
        wait_for(lambda: page.get_by_text("Saved.").count())
        with api.client(token) as client:
            assert not client.get("/auth/notifications").json()["run_ended"]

        page.get_by_label("Current password").fill("any")
        new = page.get_by_label("New password")
        new.evaluate("field => { field.value = 'a\\u0000b rather long'; }")
        page.get_by_role("button", name="Change").click()
        page.get_by_role("alert").get_by_text("New password: must not contain NUL.", exact=True).wait_for()
        visitor.context.close()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["invitation", "closed"])
def test_registration_as_the_operator_wants_it(
    mode: str, visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    with served(Settings(data_dir=tmp_path, min_free_mb=1, registration=mode, runners=0)) as api:
        visitor = visit(api.url, expected=("/auth/register",), at="/#/signup")
        page = visitor.page
        if mode == "closed":
            page.get_by_text("This service does not create accounts here.").wait_for()
            assert page.get_by_role("button").count() == 0
        else:
            page.get_by_label("Invitation code").fill("wrong")
            page.get_by_label("Username").fill("ada")
            page.get_by_label("E-mail address").fill("ada@example.com")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Create an account").click()
            page.get_by_role("alert").get_by_text("invitation").wait_for()
        visitor.check_accessible()
        page.goto(f"{api.url}/#/forgot")
        page.get_by_text("This service sends no mail.").wait_for()

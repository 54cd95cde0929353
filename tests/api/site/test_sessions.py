"""Who is signed in, for how long, and where that is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recon3d_api.settings import Settings
from tests.api.conftest import Api, served, wait_for
from tests.api.site.conftest import PASSWORD, Visitor, begin_project, register, sign_in

KEPT = "localStorage.getItem('recon3d.session')"
#: As if a quarter of an hour went by: the access token is used no more.
AGED = """() => {
  const known = JSON.parse(localStorage.getItem("recon3d.session"));
  localStorage.setItem("recon3d.session", JSON.stringify({ ...known, access: "old", expires: Date.now() }));
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
    wait_for(lambda: '"old"' not in first.evaluate(KEPT))
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

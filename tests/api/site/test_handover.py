"""What one user of the page has begun ends when another one comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Api, new_project, wait_for
from tests.api.site.conftest import PASSWORD, Visitor, noise, open_project, sign_in
from tests.api.site.test_sessions import KEPT, account
from tests.api.test_stage_pictures import write_frame

SIGN_IN = "known => localStorage.setItem('recon3d.session', JSON.stringify(known))"


def opened(
    api: Api, visit: Callable[..., Visitor], known: dict[str, Any], at: str, **options: Any
) -> Visitor:
    """The page of a user whose session is kept."""
    visitor = visit(api.url, at="/#/signin", **options)
    visitor.page.evaluate(SIGN_IN, known)
    visitor.page.goto(f"{api.url}{at}")
    return visitor


def tab(api: Api, visitor: Visitor) -> Any:
    """Another tab of the same browser, with the form to sign in."""
    page = visitor.context.new_page()
    visitor.watch(page, api.url)
    page.goto(f"{api.url}/#/signin")
    return page


def sign_in_kept(page: Any, name: str) -> None:
    page.get_by_label("Keep me signed in").check()
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def tokens(page: Any, part: str) -> list[str]:
    """The tokens of requests to an address that has this part; fills while they are sent."""
    found: list[str] = []

    def asked(request: Any) -> None:
        if part in request.url:
            found.append(request.headers.get("authorization", "").removeprefix("Bearer "))

    page.on("request", asked)
    return found


#: One request is told to come again later, eight have no answer, and three wait for their turn.
WAITING = """async () => {
  const api = await import(new URL("site/api.js", document.baseURI));
  const real = window.fetch;
  window.ends = [];
  const ask = (path) =>
    api.call("POST", path).then(() => "sent", (error) => error.name).then((end) => ends.push(end));
  ask("projects/1/limited");
  await new Promise((resolve) => setTimeout(resolve, 1300)); // its place is free again
  window.fetch = (url, { signal }) =>
    new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
  for (let n = 0; n < 11; n += 1) ask("projects/1/waiting");
  await new Promise((resolve) => setTimeout(resolve, 100));
  window.fetch = real;
}"""


def test_what_waits_is_given_up_and_not_sent_as_the_next_user(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    first = account(api, "rosalind")
    account(api, "francis")
    visitor = opened(api, visit, first, "/#/")
    page = visitor.page
    page.get_by_text("You have no projects yet").wait_for()
    page.wait_for_timeout(1200)  # the page's own requests give their places back
    limited, waiting = tokens(page, "/limited"), tokens(page, "/waiting")
    page.route(
        "**/limited",
        lambda route: route.fulfill(status=429, json={"detail": "later"}, headers={"Retry-After": "4"}),
    )
    page.evaluate(WAITING)
    assert limited == [first["access"]]
    other = tab(api, visitor)
    sign_in_kept(other, "francis")
    other.get_by_text("You have no projects yet").wait_for()
    wait_for(lambda: page.evaluate("ends.length") == 12)
    assert set(page.evaluate("ends")) == {"AbortError"}
    assert set(limited) == {first["access"]}
    assert waiting == []
    for one in (page, other):
        one.get_by_text("You have no projects yet").wait_for()
        assert one.locator(".notice, .error:visible").count() == 0


#: The answer to a renewal comes when the test says so. Without TLS browsers have no locks.
LATE_RENEWAL = """
Object.defineProperty(navigator, "locks", { value: undefined });
const real = window.fetch;
window.fetch = async (url, options) => {
  const answer = await real(url, options);
  const held = window.held && String(url).includes("auth/refresh");
  if (held) await new Promise((resolve) => (window.release = resolve));
  return answer;
};
"""


def test_a_renewal_that_comes_late_does_not_replace_the_next_user(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    first = account(api, "dorothy")
    account(api, "max")
    visitor = visit(api.url, at="/#/signin", expected=("/auth/",))
    page = visitor.page
    visitor.context.add_init_script(LATE_RENEWAL)
    page.evaluate(SIGN_IN, first)
    page.goto(f"{api.url}/#/")
    page.reload()
    page.get_by_text("You have no projects yet").wait_for()
    page.evaluate(SIGN_IN, {**first, "expires": 0})
    page.evaluate(
        """async () => {
          const api = await import(new URL("site/api.js", document.baseURI));
          window.held = true;
          api.get("auth/me").catch((error) => { window.ended = error.name; });
        }"""
    )
    page.wait_for_function("() => Boolean(window.release)")
    other = tab(api, visitor)
    sign_in_kept(other, "max")
    other.get_by_text("You have no projects yet").wait_for()
    theirs = other.evaluate(KEPT)
    with page.expect_response("**/auth/logout"):  # the renewed session ends: nobody else could end it
        page.evaluate("window.release()")
    page.wait_for_function("() => window.ended")
    assert page.evaluate("window.ended") == "AbortError"
    assert other.evaluate(KEPT) == theirs
    for one in (page, other):
        one.get_by_role("link", name="Account").click()
        one.get_by_text("Signed in as max").wait_for()


def test_another_user_is_not_led_to_the_project_of_the_one_before(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    first = account(api, "marie")
    account(api, "pierre")
    with api.client(first["access"]) as client:
        numbers = [new_project(client, name) for name in ("Bust", "Vase")]
    visitor = opened(api, visit, first, f"/#/projects/{numbers[0]}", expected=("/preview", "/check"))
    page, other = visitor.page, tab(api, visitor)
    page.get_by_role("heading", name="Bust").wait_for()
    # A deletion that waits, and what is told of it, are the first user's.
    page.get_by_role("button", name="Delete project").click()
    page.get_by_text("Undo").wait_for()
    page.goto(f"{api.url}/#/projects/{numbers[1]}")
    page.get_by_role("heading", name="Vase").wait_for()
    sign_in_kept(other, "pierre")
    page.get_by_text("You have no projects yet").wait_for()
    assert page.locator(".notice").count() == 0
    visitor.expected.append("/api/v1/")  # nothing of a project that is another's
    # In this tab: signed out elsewhere while a project is shown, and then somebody else comes.
    page.evaluate("number => { location.hash = `#/projects/${number}`; }", numbers[0])
    page.get_by_role("alert").wait_for()
    other.get_by_role("button", name="Sign out", exact=True).click()
    sign_in(visitor, "marie")
    page.get_by_role("link", name="Vase").wait_for()
    assert page.get_by_role("link", name="Bust").count() == 1  # was not deleted


def test_an_upload_that_is_checked_at_sign_out_is_not_asked_for_by_the_next_user(
    api: Api, visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    first = account(api, "ada")
    account(api, "charles")
    with api.client(first["access"]) as client:
        number = new_project(client)
    visitor = opened(
        api, visit, first, f"/#/projects/{number}", expected=("/preview", "/check", "/files/uploads/")
    )
    page = visitor.page
    page.get_by_text("Drop files or a folder here").wait_for()
    held: list[Any] = []

    def patched(route: Any) -> None:
        if route.request.method == "PATCH":
            held.append(route)
        else:
            route.continue_()

    page.route("**/files/uploads/*", patched)
    page.get_by_label("Choose files").set_input_files(noise(tmp_path))
    wait_for(lambda: page.wait_for_timeout(50) or held)
    page.evaluate(
        """async (number) => {
          const { uploadsOf } = await import(new URL("site/uploads.js", document.baseURI));
          window.uploads = uploadsOf(number);
          window.uploads.all[0].become("checking");
        }""",
        number,
    )
    page.get_by_role("button", name="Sign out", exact=True).click()
    sign_in(visitor, "charles")
    page.get_by_text("You have no projects yet").wait_for()
    asked = tokens(page, "/files/uploads")
    held[0].fulfill(status=400, json={"detail": "cut"})  # whoever sent it would ask what became of it
    # A folder that was dropped is read by now.
    page.evaluate("() => uploads.add([new File(['x'], 'late.jpg')])")
    wait_for(lambda: page.evaluate("uploads.running") == 0)
    page.wait_for_timeout(300)
    assert asked == []
    assert page.locator(".notice").count() == 0


#: Counts the addresses of pictures that are not given back.
ADDRESSES = """
window.addresses = new Set();
const make = URL.createObjectURL, free = URL.revokeObjectURL;
URL.createObjectURL = (blob) => { const url = make(blob); addresses.add(url); return url; };
URL.revokeObjectURL = (url) => { addresses.delete(url); free(url); };
"""


@pytest.mark.slow
def test_pictures_that_were_loaded_when_the_view_is_left_are_freed(
    api: Api, visit: Callable[..., Visitor]
) -> None:
    visitor, number = open_project(api, visit, inputs=True, expected=("/pictures/",))
    page = visitor.page
    visitor.context.add_init_script(ADDRESSES)
    api.behave(number, hold="feature_extraction")
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write_frame(api.root(number) / "model", name)
    page.locator(".choice button.primary").click()
    page.get_by_text("Chosen pictures: 3").wait_for()
    page.route("**/pictures/frames/c.jpg*", lambda route: None)  # never answered
    page.reload()
    wait_for(lambda: page.evaluate("addresses.size") >= 2)
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_role("heading", name="Sign in").wait_for()
    deadline = time.monotonic() + 5
    while page.evaluate("addresses.size") and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert page.evaluate("addresses.size") == 0
    (api.root(number) / "go").touch()

"""What is sent at `/`: files of the package, under a strict policy, wherever the service lives."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from recon3d_api.app import create_app
from recon3d_api.settings import Settings
from recon3d_api.site import pages
from tests.api.conftest import Api
from tests.api.site.conftest import (
    PHONE,
    Visitor,
    begin_project,
    model_frame,
    open_project,
    plant_model,
    register,
)

STATIC = Path(pages.__file__).parent / "static"


def test_the_page_is_for_browsers_and_json_is_as_before(api: Api) -> None:
    page = httpx.get(api.url, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["vary"] == "Accept"
    assert httpx.get(api.url).text == page.text
    json = httpx.get(api.url, headers={"Accept": "application/json"})
    assert (json.status_code, json.json()) == (404, {"detail": "Not Found"})
    assert httpx.head(api.url).status_code == 200
    assert httpx.post(api.url).headers["allow"] == "GET, HEAD"


def test_every_file_is_sent_and_nothing_else(api: Api) -> None:
    with httpx.Client(base_url=f"{api.url}/site/") as client:
        for path in STATIC.iterdir():
            if path.name != "index.html":
                answer = client.get(path.name)
                assert answer.content == path.read_bytes(), path.name
                known = {"If-None-Match": answer.headers["etag"]}
                assert client.get(path.name, headers=known).status_code == 304
        for name in ("", "missing.js", "index.html", "..%2Fpages.py", "%2e%2e/pages.py", "static/app.js"):
            answer = client.get(name)
            assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"}), name


def test_the_policy_allows_the_services_own_files_only(api: Api) -> None:
    policy = httpx.get(api.url).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    assert all(source in ("'self'", "'none'", "blob:") for rule in rules.values() for source in rule.split())
    assert (rules["script-src"], rules["style-src"], rules["frame-ancestors"]) == (
        "'self'",
        "'self'",
        "'none'",
    )
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src)|<style|\sstyle=|\son\w+=|javascript:", page)


def test_every_text_is_known_and_every_known_text_is_used() -> None:
    words, _, rest = (STATIC / "strings.js").read_text().partition("const LANGUAGE")
    known = set(re.findall(r"^  (\w+):", words, re.M))
    scripts = [path.read_text() for path in STATIC.glob("*.js") if path.name != "strings.js"]
    source = "\n".join([rest, *scripts])
    asked = set(re.findall(r"""["'`](\w+)["'`]""", source))
    prefixes = tuple(re.findall(r"`(\w+_)\$\{", source))
    assert {name for name in known if name not in asked and not name.startswith(prefixes)} == set()
    assert set(re.findall(r"""\bt\(\s*["'](\w+)["']""", source)) <= known


@contextmanager
def behind_a_prefix(settings: Settings) -> Iterator[str]:
    """A service behind a proxy that strips a prefix, as an ASGI application."""
    app = create_app(settings)

    async def proxy(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            assert scope["path"].startswith("/models/"), scope["path"]
            path = scope["path"].removeprefix("/models")
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await app(scope, receive, send)

    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(proxy, log_config=None, ws="websockets-sansio"))
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/models"
    finally:
        server.should_exit = True
        thread.join(60)
        sock.close()


@pytest.mark.slow
def test_behind_a_prefix(visit: Callable[..., Visitor], video: Path, tmp_path: Path) -> None:
    with behind_a_prefix(Settings(data_dir=tmp_path, min_free_mb=1, runners=0)) as home:
        visitor = visit(home, expected=("/preview",), at="/")
        register(visitor)
        page = visitor.page
        with page.expect_websocket() as socket_of_events:
            begin_project(visitor, "Prefixed")
        assert socket_of_events.value.url.startswith(home.replace("http", "ws"))
        page.get_by_label("Choose files").set_input_files(video)
        page.get_by_role("heading", name="Your files (1)").wait_for()
        visitor.context.close()


def test_on_a_phone(api: Api, visit: Callable[..., Visitor]) -> None:
    name = "A name that is so long that it has to be broken into several lines"
    visitor, number = open_project(api, visit, name, **PHONE)
    page = visitor.page
    assert page.get_by_label("Choose files").get_attribute("accept") == "image/*,video/*"
    assert page.get_by_text("Drop files or a folder here").is_hidden()  # there is no mouse
    fits(page)
    plant_model(api, number)
    page.reload()
    model_frame(page)
    fits(page)
    visitor.check_accessible()
    page.get_by_role("link", name="Projects", exact=True).click()
    page.get_by_role("img", name="Preview of A name").wait_for()
    fits(page)
    page.get_by_role("link", name="Account").click()
    page.get_by_role("heading", name="API keys").wait_for()
    fits(page)
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_role("heading", name="Sign in").wait_for()
    fits(page)


def fits(page: Any) -> None:
    """Nothing is wider than the screen, and a finger hits every control."""
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["viewport"]["width"], page.url  # type: ignore[index]
    for control in page.locator(
        "button, input:not([type=file], [type=checkbox], [type=radio]), select"
    ).all():
        if control.is_visible() and (box := control.bounding_box()):
            assert box["height"] >= 40, control.text_content()


@pytest.mark.slow
def test_dark_colours(api: Api, visit: Callable[..., Visitor]) -> None:
    visitor = open_project(api, visit, inputs=True, color_scheme="dark")[0]
    visitor.page.locator(".advice .level").wait_for()
    ground = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", ground))) < 200
    visitor.check_accessible()


def test_by_keyboard_alone(api: Api, visit: Callable[..., Visitor]) -> None:
    visitor = visit(api.url, token=api.user()[1])
    page = visitor.page
    page.get_by_role("heading", name="Projects", exact=True).wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    page.keyboard.type("Typed")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Typed").wait_for()
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.get_by_label("Choose files").focus()
    picker = page.get_by_label("Choose files")
    picker.evaluate("node => node.addEventListener('click', () => { window.asked = true; })")
    page.keyboard.press("Enter")
    page.wait_for_function("window.asked")


def test_nothing_turns_for_who_wants_no_motion(api: Api, visit: Callable[..., Visitor]) -> None:
    """A wheel that turns during the check takes a core where pictures are drawn without a GPU."""
    animation = """() => {
      const busy = Object.assign(document.createElement("p"), { className: "busy" });
      document.body.append(busy);
      return getComputedStyle(busy, "::before").animationName;
    }"""
    assert visit(api.url).page.evaluate(animation) == "none"
    assert visit(api.url, reduced_motion="no-preference").page.evaluate(animation) == "turn"

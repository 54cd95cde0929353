"""A real browser without a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.notebook.browser import EXECUTABLE, launch


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium with software WebGL; skips where it or playwright is absent."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if EXECUTABLE is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with launch() as started:
        yield started


@pytest.fixture
def offline_page(browser: Any) -> Iterator[Any]:
    """A page whose every request to a network fails the test, as does an error in its console."""
    context = browser.new_context(viewport={"width": 900, "height": 600}, offline=True)
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: troubles.append(str(e)))
    page.on("request", lambda r: troubles.append(r.url) if r.url.startswith(("http", "ws")) else None)
    yield page
    context.close()
    assert troubles == []

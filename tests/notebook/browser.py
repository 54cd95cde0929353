"""A headless Chromium with WebGL in software, and without background requests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

#: Where Debian and others put it.
EXECUTABLE = shutil.which("chromium")

_ARGUMENTS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Playwright runs once in a thread, however many browsers there are.
_running: list[Any] = []
_users: list[object] = []


@contextmanager
def launch_or_skip() -> Iterator[Any]:
    """Playwright's browser; skips where it or playwright is absent."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if EXECUTABLE is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with launch() as started:
        yield started


@contextmanager
def launch() -> Iterator[Any]:
    """Playwright's browser."""
    from playwright.sync_api import sync_playwright

    if not _running:
        _running.append(sync_playwright().start())
    user = object()
    _users.append(user)
    try:
        started = _running[0].chromium.launch(executable_path=EXECUTABLE, args=_ARGUMENTS)
        try:
            yield started
        finally:
            started.close()
    finally:
        _users.remove(user)
        if not _users:
            _running.pop().stop()

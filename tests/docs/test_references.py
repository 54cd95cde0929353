"""Files, modules, links and messages that the pages name exist."""

from __future__ import annotations

import functools
import importlib
import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, name_of

_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:recon3d|recon3d_api|tests|docs|examples|notebooks)/[\w./-]+")
_DOTTED = re.compile(r"(?:recon3d|recon3d_api)(?:\.\w+)+")
_LINK = re.compile(r"!?\[[^\]]*\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")
#: Files that commands in the pages make, and packages' own files.
_MADE = ("docs/_build", "recon3d.db", "recon3d.dump", "recon3d.json")


def spans(page: Path) -> list[str]:
    """Inline code and the lines of fenced blocks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:sh|python|\{eval-rst\})\n(.*?)```", text, re.DOTALL)
    return [*_CODE.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)), *blocks]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_exist(page: Path) -> None:
    for span in spans(page):
        for found in _PATH.findall(span):
            path = found.rstrip("./")
            if not path.startswith(_MADE) and "NAME" not in path:  # a name for the reader to choose
                assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_modules_and_names_exist(page: Path) -> None:
    for span in spans(page):
        for name in _DOTTED.findall(span):
            if not name.startswith(_MADE):
                assert resolve(name), name


def resolve(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        try:
            functools.reduce(getattr, parts[cut:], found)
        except AttributeError:
            return False
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in _LINK.findall(text):
        assert (page.parent / target).exists(), target
    for target in re.findall(r"\{doc\}`([^`]+)`", text):
        assert (page.parent / f"{target}.md").resolve().is_file(), target


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = set(re.findall(r"^[\w/-]+$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE))
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES if DOCS in page.parents}
    assert pages - {"index"} <= listed


def test_messages_in_the_troubleshooting_page_are_in_the_code() -> None:
    """Headings in code style quote messages: a reader searches the page for what the terminal shows."""
    code = "".join(
        path.read_text(encoding="utf-8")
        for package in ("recon3d", "recon3d_api")
        for path in (ROOT / package).rglob("*.py")
    )
    headings = re.findall(r"^### (.*)$", (DOCS / "how-to/troubleshoot.md").read_text("utf-8"), re.MULTILINE)
    quoted = [message for heading in headings for message in _CODE.findall(heading)]
    assert len(quoted) > 30
    assert [message for message in quoted if message not in code] == []


def test_a_stale_name_is_found() -> None:
    assert resolve("recon3d.notebook.viewer.compare")
    assert not resolve("recon3d.pipeline.walk")
    assert not resolve("recon3d.notebook.viewer.compared")

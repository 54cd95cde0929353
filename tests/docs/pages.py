"""The pages that the tests of this folder read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Every page but the changelog, which speaks of names that were.
PAGES = [
    ROOT / "README.md",
    *sorted(
        page for page in DOCS.rglob("*.md") if page.name != "CHANGELOG.md" and "_build" not in page.parts
    ),
]


def name_of(page: Path) -> str:
    """A page's path in the repository, as the id of a test."""
    return page.relative_to(ROOT).as_posix()

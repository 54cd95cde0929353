"""What the docs say of the code is what the code has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from docs import make_architecture, make_reference
from recon3d import events, layout
from recon3d.export import FORMATS
from recon3d.project.artifacts import Manifest
from recon3d.project.inputs import PHOTO_SUFFIXES, VIDEO_SUFFIXES
from recon3d.stage_table import STAGE_NAMES
from recon3d_api.app import create_app
from recon3d_api.settings import Settings
from tests.docs.pages import DOCS

REFERENCE = DOCS / "reference"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["cli.md", "options.md", "project-files.md", "rest-api.md"])
def test_generated_tables_are_up_to_date(name: str) -> None:
    text = page(f"reference/{name}")
    assert "<!-- generated: " in text
    assert make_reference.generated(text) == text, "run python -m docs.make_reference"


def test_every_generated_part_is_in_a_page() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md"))
    assert set(re.findall(r"<!-- generated: (\S+) -->", text)) == set(make_reference.PARTS)


def test_every_option_and_setting_is_described() -> None:
    """An option without a description in its class's docstring would leave an empty cell."""
    for stage, model in make_reference.STAGE_OPTIONS.items():
        texts = make_reference.described(model)
        for name in model.model_fields:
            assert texts.get(name), f"{stage}.{name}"


def test_the_picture_of_the_rooms_is_up_to_date() -> None:
    drawn = make_architecture.draw()
    assert make_architecture.PICTURE.read_text(encoding="utf-8") == drawn, (
        "run python -m docs.make_architecture"
    )


def test_arrows_in_the_picture_point_down() -> None:
    layers = {row.room: row.layer for row in make_architecture.rows()}
    edges = [(a, b) for a, targets in make_architecture.imports().items() for b in targets]
    assert len(edges) > 30
    # Rooms of one layer that a colon separates in .importlinter may import each other.
    assert [(a, b) for a, b in edges if layers[a] > layers[b]] == []
    assert ("recon3d.cli", "recon3d.viewer") in edges


def test_the_list_of_endpoints_is_complete(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path, runners=0))
    served = set()
    for path, methods in app.openapi()["paths"].items():
        short = re.sub(r"^(/projects|/jobs)/\{\w+\}", r"\1/{id}", path.removeprefix("/api/v1"))
        served |= {f"{method.upper()} {short}" for method in methods}
    listed = set(
        re.findall(r"`((?:GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS) /[^`]*)`", page("reference/rest-api.md"))
    )
    assert listed == served


def test_the_list_of_events_is_complete() -> None:
    text = page("reference/events.md")
    common = set(events.BaseEvent.model_fields) | {"type"}
    assert all(f"`{name}`" in text for name in common)
    kinds: tuple[type[BaseModel], ...] = _members(events.Event)
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", text, re.MULTILINE))
    assert set(rows) == {kind.model_fields["type"].default for kind in kinds}
    for kind in kinds:
        row = rows[kind.model_fields["type"].default]
        for name in set(kind.model_fields) - common:
            assert f"`{name}`" in row, f"{kind.__name__}.{name}"


def _members(union: Any) -> tuple[type[BaseModel], ...]:
    return tuple(union.__origin__.__args__)


def test_the_files_of_a_project_are_listed() -> None:
    text = page("reference/project-files.md")
    names = [
        value
        for name, value in vars(layout).items()
        if name.lstrip("_").isupper() and isinstance(value, str) and "/" not in value
    ]
    assert len(names) > 20
    missing = [name for name in names if not re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text)]
    assert missing == []
    assert all(f"`{name}`" in text for name in Manifest.model_fields)
    assert all(f"| {stage} |" in text for stage in STAGE_NAMES)


def test_every_export_format_and_suffix_is_listed() -> None:
    text = page("how-to/export.md")
    assert re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE) == list(FORMATS)
    text = page("how-to/take-pictures.md")
    assert set(re.findall(r"`(\.\w+)`", text)) == PHOTO_SUFFIXES | VIDEO_SUFFIXES

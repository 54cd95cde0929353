"""Every command line of recon3d in the README and the docs parses."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from recon3d.cli.commands import app as library
from recon3d.options import parse_assignment, resolve_options
from recon3d.pipeline.plan import check_stage
from recon3d_api.__main__ import app as service
from tests.docs.pages import PAGES, ROOT, name_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROGRAMS: dict[str, Any] = {
    "recon3d": typer.main.get_command(library),
    "recon3d-api": typer.main.get_command(service),
}
_FENCE = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(recon3d(?:-api)? [^`\n]+)`")


def shell_lines(text: str) -> Iterator[str]:
    for block in _FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield from (part.strip() for part in re.split(r"&&|\|\|", line))


def words(line: str) -> list[str]:
    """A command's words without its comment and without an environment or redirection."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="<>|")
    lexer.whitespace_split = True
    found = list(lexer)
    return found[: next((i for i, word in enumerate(found) if word in ("|", ">", "<")), len(found))]


def check(command: list[str]) -> None:
    """Parse a command line as typer does, and check the stages and options that it names."""
    group: Any = PROGRAMS[command[0]]
    with group.make_context(command[0], command[1:]) as context:
        rest = [*context._protected_args, *context.args]  # where click keeps a group's command
        if not rest:
            return
        name, found, arguments = group.resolve_command(context, rest)
        with found.make_context(name, arguments, parent=context) as inner:
            given = inner.params
    for text in given.get("set_") or []:
        stage, option, value = parse_assignment(text)
        resolve_options(given.get("quality", "medium"), {stage: {option: value}})
    if "quality" in given:
        resolve_options(given["quality"])
    check_stage(given.get("until"))
    check_stage(given.get("rerun_from"))


def commands(page: Path) -> list[list[str]]:
    text = page.read_text(encoding="utf-8")
    lines = [words(line) for line in shell_lines(text)]
    return [line for line in lines if line and line[0] in PROGRAMS]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_command_lines_in_blocks_parse(page: Path) -> None:
    for command in commands(page):
        check([word.strip("[]").replace("...", "") or "x" for word in command])


def test_there_are_command_lines() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 40


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_text_name_real_commands_and_options(page: Path) -> None:
    for text in _INLINE.findall(page.read_text(encoding="utf-8")):
        program, *rest = text.split()
        group = PROGRAMS[program]
        if rest[0] in ("COMMAND", "…", "--help"):
            continue
        command = group
        while rest and not rest[0].startswith("-") and hasattr(command, "commands"):
            command = command.commands.get(rest.pop(0))
            assert command is not None, text
        known = {
            flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in rest:
            if word.startswith("-") and word != "--help":
                assert word.partition("=")[0] in known, text


def test_wrong_command_lines_are_found() -> None:
    for line in (
        "recon3d runn x",
        "recon3d run x --qualty low",
        "recon3d run x --quality best",
        "recon3d run x --set texturing.size=3",
        "recon3d run x --until meshing",
        "recon3d export x -f fbx",
        "recon3d-api serve",
    ):
        with pytest.raises(Exception, match=r"."):
            check(line.split())


def test_extras_that_the_docs_install_exist() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for given in re.findall(r"pip install (?:-e )?'(?:\.|recon3d)\[([\w,]+)\]'", text):
            assert set(given.split(",")) <= extras, page

"""Commands that look before a run: ``recon3d probe`` and ``recon3d check``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from recon3d.preflight.result import InputCheck

commands = typer.Typer()
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead.")]
_COLORS = {"good": "green", "doubtful": "yellow", "hopeless": "red"}
#: Exit status of a check that finds the inputs hopeless; that of any input that cannot be used.
_HOPELESS = 2


@commands.command()
def probe(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Videos and photos.")],
    as_json: JsonOption = False,
) -> None:
    """Show what videos and photos are, and where in the file each fact was found."""
    from recon3d.preflight.probe import probe as probe_file

    found = [probe_file(path) for path in files]
    if as_json:
        sys.stdout.write(json.dumps([facts.to_json() for facts in found], indent=2) + "\n")
        return
    out = Console(highlight=False)
    for facts in found:
        out.print(Text(facts.path, "bold"), soft_wrap=True)
        table = Table("fact", "value", "source", box=None, header_style="bold")
        for fact in facts.facts:
            table.add_row(fact.name.replace("_", " "), Text(fact.text), Text(fact.source))
        out.print(table)


@commands.command()
def check(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT…", help="A project, or videos, photos and folders.")
    ],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes of the run; one a core by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at inputs before a run: can they make a model, and what will it take?"""
    from recon3d.preflight.check import check as check_inputs

    found = check_inputs(inputs, workers=workers)
    if as_json:
        sys.stdout.write(json.dumps(found.to_json(), indent=2) + "\n")
    else:
        _show(Console(highlight=False), found)
    if found.level == "hopeless":
        raise typer.Exit(_HOPELESS)


def _show(out: Console, found: InputCheck) -> None:
    color = _COLORS[found.level]
    line = Text(f"{found.level.capitalize()}.", f"bold {color}")
    out.print(line.append(f" {' '.join(found.sentences)}", f"not bold {color}"), soft_wrap=True)
    for note in (*found.notes, *found.advice):
        out.print(f"  {note}", markup=False, soft_wrap=True)
    if found.estimates:
        table = Table("quality", "frames", "time", "memory", "disk", box=None, header_style="bold")
        for row in found.rows():
            table.add_row(*row)
        out.print(table)
        error = found.estimates[0].error
        out.print(
            f"Times are from {found.speed_from}; two of three are right within a factor of {error:g}.",
            soft_wrap=True,
        )

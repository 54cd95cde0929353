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
#: Exit status where an input cannot be used: a hopeless one, or a file that cannot be described.
_BAD_INPUT = 2


@commands.command()
def probe(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Videos, photos and folders.")],
    as_json: JsonOption = False,
) -> None:
    """Show what videos and photos are, and where in the file each fact was found."""
    from recon3d.preflight.probe import probe_all

    found, failed = probe_all(files)
    if as_json:
        rows = [*(row.to_json() for row in found), *(row.to_json() for row in failed)]
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        out = Console(highlight=False)
        for facts in found:
            out.print(Text(facts.path, "bold"), soft_wrap=True)
            table = Table("fact", "value", "source", box=None, header_style="bold")
            for fact in facts.facts:
                table.add_row(fact.name.replace("_", " "), Text(fact.text), Text(fact.source))
            out.print(table)
        problems = Console(stderr=True, highlight=False)
        for row in failed:
            problems.print(Text("Error: ", "bold red").append(row.error, "not bold default"), soft_wrap=True)
            if row.hint:
                problems.print(row.hint, markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(_BAD_INPUT)


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
        raise typer.Exit(_BAD_INPUT)


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

"""Commands that make something to give away."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from recon3d.errors import OptionError
from recon3d.rendering.formatting import byte_text

commands = typer.Typer(rich_markup_mode=None)
_console = Console(stderr=True, highlight=False)


@commands.command()
def turntable(
    project: Annotated[Path, typer.Argument(help="The project's folder.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A .mp4 or .gif file; PROJECT/export/NAME.mp4 by default."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WIDTHxHEIGHT", help="Pixels; 720x720 by default, 480x480 for a GIF."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of the turn.")] = 8.0,
    fps: Annotated[float | None, typer.Option(help="Pictures a second; 30 by default, 15 for a GIF.")] = None,
    elevation: Annotated[float, typer.Option(help="Degrees of the camera above the horizon.")] = 15.0,
) -> None:
    """Write a film or a GIF that goes once around the model."""
    from recon3d.export.turntable import Turn, write_turntable
    from recon3d.project.project import Project

    opened = Project.open(project)
    turn = Turn(_size(size), seconds, fps, elevation)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console, transient=True) as bars:
        bar = bars.add_task("turntable", total=None)
        written = write_turntable(
            opened, output, turn, lambda done, total: bars.update(bar, completed=done, total=total)
        )
    _console.print(f"Wrote {written} ({byte_text(written.stat().st_size)})", markup=False, soft_wrap=True)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.strip().lower())
    if found is None:
        raise OptionError(f"{text!r} is no size.", "Write it as in 1280x720.")
    return int(found[1]), int(found[2])

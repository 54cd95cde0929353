"""The command line: ``recon3d run | view | info | export | clean | repair | doctor | demo`` and others."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recon3d.cli import cluster_commands, giving_commands, preflight_commands
from recon3d.errors import Cancelled, InputError, OptionError, ProjectError, Recon3DError, StageError
from recon3d.latch import Latch
from recon3d.options.value_types import Engine, ExportFormat, Material, Quality, TextureFormat
from recon3d.rendering.formatting import byte_text, count

app = typer.Typer(
    help="From a video or photos to a textured 3D model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_console = Console(stderr=True, highlight=False)

EXIT_DONE, EXIT_STAGE_FAILED, EXIT_BAD_INPUT, EXIT_CANCELLED = 0, 1, 2, 130

QualityOption = Annotated[Quality, typer.Option("--quality", "-q", help="Preset of options.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STAGE.OPTION=VALUE", help="Change an option; repeatable."),
]
EngineOption = Annotated[
    Engine,
    typer.Option(
        help="Where to compute; auto uses a GPU if there is one, colmap-cuda has COLMAP make the depth maps."
    ),
]
SchedulerOption = Annotated[
    str | None, typer.Option(help="A Dask scheduler: its address, or its scheduler file.")
]
StorageOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Storage for workers that do not see the project: s3://BUCKET/PREFIX."),
]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Worker processes; one a core by default.")]
EventsOption = Annotated[bool, typer.Option("--events", help="Print events as JSON lines on stdout.")]


@app.command()
def run(
    inputs: Annotated[
        list[Path] | None, typer.Argument(metavar="INPUT…", help="Videos, photos, or folders of photos.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PROJECT", help="The project's folder.")
    ] = Path("recon3d-project"),
    quality: QualityOption = "medium",
    set_: SetOption = None,
    poses: Annotated[
        Path | None, typer.Option(metavar="COLMAP_MODEL", help="Known cameras: a COLMAP model's folder.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that the model's image names are relative to.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")] = None,
    rerun_from: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Run this stage and all later ones again.")
    ] = None,
    component: Annotated[
        int | None,
        typer.Option(min=0, help="Part of the set to make the model from; see results/components."),
    ] = None,
    scheduler: SchedulerOption = None,
    storage: StorageOption = None,
    workers: WorkersOption = None,
    engine: EngineOption = "auto",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    accept_partial: Annotated[
        bool, typer.Option("--accept-partial", help="Continue with a model of a small part of the images.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Continue with inputs that the check calls hopeless.")
    ] = False,
    performance_report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write Dask's performance report, an HTML file; needs bokeh."),
    ] = None,
    events: EventsOption = False,
) -> None:
    """Make a textured model; run again to resume or to apply changed options."""
    from recon3d.options import parse_assignment
    from recon3d.pipeline.pipeline import Pipeline
    from recon3d.pipeline.plan import check_stage
    from recon3d.project.opening import project_for_inputs
    from recon3d.project.project import Project

    if (poses is None) != (images is None):
        raise OptionError("--poses and --images go together.", "Give both, or neither.")
    if poses is not None and inputs:
        raise OptionError("--poses takes its photos from --images.", "Leave the other inputs out.")
    overrides: dict[str, dict[str, str]] = {}
    for text in set_ or []:
        stage, option, value = parse_assignment(text)
        overrides.setdefault(stage, {})[option] = value
    if component is not None:
        overrides.setdefault("sparse_reconstruction", {})["component"] = str(component)
    settings: dict[str, Any] = dict(overrides)
    settings.update(accept_partial=accept_partial, force=force, performance_report=performance_report)
    settings.update(scheduler=scheduler, storage=storage, workers=workers)
    pipeline = Pipeline(quality, engine=engine, seed=seed, **settings)
    check_stage(until)
    check_stage(rerun_from)
    if not inputs and poses is None:
        project = Project.open(output)
    else:
        with project_for_inputs(output) as project:
            held = project.inputs
            if poses is not None and images is not None:
                added = project.add_posed_photos(images, poses)
            else:
                added = project.add(inputs or [])
        _tell_added(output, held, [item for item in added if item not in held])
    _follow(pipeline, project, until=until, rerun_from=rerun_from, as_json=events)


app.registered_commands += preflight_commands.commands.registered_commands
app.add_typer(cluster_commands.commands, name="cluster")


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PROJECT", help="The project's folder.")
    ] = Path("recon3d-demo"),
    quality: QualityOption = "low",
    set_: SetOption = None,
    events: EventsOption = False,
) -> None:
    """Make a textured model of the bundled sample."""
    from recon3d.cli.sample import sample_video

    run(inputs=[sample_video()], output=output, quality=quality, set_=set_, events=events)


@app.command()
def info(project: Annotated[Path, typer.Argument(help="The project's folder.")]) -> None:
    """Show what a project holds."""
    from recon3d.project.project import Project

    opened = Project.open(project)
    out = Console(highlight=False)
    out.print(f"Project {opened.path} ({byte_text(opened.size)})", markup=False, soft_wrap=True)
    out.print(f"Inputs: {_counted(opened.inputs) or 'none'}")
    for note in opened.notes:
        out.print(note, markup=False, soft_wrap=True)
    table = Table("stage", "time", "CPU", "peak memory", "counts", box=None, header_style="bold")
    for stage, artifact in opened.artifacts.items():
        manifest = artifact.manifest
        counts = ", ".join(f"{key} {value}" for key, value in manifest.counts.items())
        table.add_row(
            stage,
            f"{manifest.seconds:.1f} s",
            f"{manifest.cpu_seconds:.1f} s",
            byte_text(manifest.peak_memory),
            counts,
        )
    out.print(table)
    for record in opened.runs[-5:]:
        state = record.state
        out.print(
            f"Run {record.name}: {record.status}" + (f" ({state.error.message})" if state.error else ""),
            markup=False,
        )
    for name, told in _told_results(opened.results).items():
        out.print(f"{name}: {told}", markup=False, soft_wrap=True)


@app.command()
def export(
    project: Annotated[Path, typer.Argument(help="The project's folder.")],
    format: Annotated[ExportFormat, typer.Option("--format", "-f", help="What to write.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File or folder; PROJECT/export/ by default.")
    ] = None,
    material: Annotated[
        Material,
        typer.Option(help="Of a GLB: as the photos show it, or rough matter with normals that is lit."),
    ] = "unlit",
    texture_format: Annotated[TextureFormat, typer.Option(help="Of a GLB.")] = "jpeg",
    occlusion: Annotated[
        bool,
        typer.Option("--occlusion", help="Of a GLB with pbr: how much light from all around reaches it."),
    ] = False,
) -> None:
    """Write the results in a format of another program."""
    from recon3d.export.project_export import export_project
    from recon3d.project.project import Project

    opened = Project.open(project)
    written = export_project(
        opened, format, output, material=material, texture_format=texture_format, occlusion=occlusion
    )
    _console.print(f"Wrote {written}", markup=False, soft_wrap=True)
    _warn_of_outdated(opened)
    if opened.scale is None and format in ("stl", "usdz"):
        unit = "millimetre" if format == "stl" else "metre"
        _console.print(
            f"The true size is not known: one unit of the model counts as a {unit}. "
            "Project.set_scale in Python, or the viewer's Measure, sets it.",
            soft_wrap=True,
        )


app.registered_commands += giving_commands.commands.registered_commands


@app.command()
def clean(
    project: Annotated[Path, typer.Argument(help="The project's folder.")],
    superseded: Annotated[
        bool,
        typer.Option("--superseded", help="Also what earlier runs made and the newest model does not need."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
) -> None:
    """Remove unfinished work and half-written files; list what is removed."""
    from recon3d.project.project import Project

    cleaning = Project.open(project).clean(superseded=superseded, dry_run=dry_run)
    done, freed = ("Would remove", "Would free") if dry_run else ("Removed", "Freed")
    for path, size in cleaning.removed.items():
        _console.print(f"{done} {path} ({byte_text(size)})", markup=False, soft_wrap=True)
    for path in cleaning.unlisted:
        _console.print(f"Kept {path}: it is not on the list of inputs", markup=False, soft_wrap=True)
    _console.print(f"{freed} {byte_text(cleaning.freed)}")


@app.command()
def repair(project: Annotated[Path, typer.Argument(help="The project's folder.")]) -> None:
    """Make a lost or damaged list of inputs again, from the files that are there."""
    from recon3d.project.project import Project

    listed = Project.open(project).relist_inputs()
    for item in listed:
        _console.print(f"{item.kind.replace('_', ' ')}: {item.path}", markup=False, soft_wrap=True)
    _console.print(f"Listed {count(len(listed), 'input')}")


@app.command()
def view(
    project: Annotated[Path, typer.Argument(help="The project's folder.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The HTML file; PROJECT/export/view.html by default."),
    ] = None,
    title: Annotated[str, typer.Option(help="What the page is called; the folder's name by default.")] = "",
    credit: Annotated[str, typer.Option(help="Who made the model.")] = "",
    licence: Annotated[str, typer.Option(help="What others may do with it, such as CC BY 4.0.")] = "",
    compare: Annotated[
        str,
        typer.Option(
            metavar="OTHER",
            help="Show this model beside it, with a divider: another project's folder, or an earlier run of "
            "this project by its name.",
        ),
    ] = "",
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
) -> None:
    """Write the model as one HTML file that needs no network, and open it."""
    import webbrowser

    from recon3d.export.project_export import check_suffix
    from recon3d.project.project import Project
    from recon3d.viewer.html_export import export_html

    opened = Project.open(project)
    path = output or opened.path / "export" / "view.html"
    if not path.is_dir():
        check_suffix(path, "html")
    content = export_html(
        opened,
        path,
        compare=_compared(opened, compare) if compare else None,
        titles=(Path(compare).resolve().name, opened.path.name),
        title=title or opened.path.name,
        credit=credit,
        licence=licence,
    )
    for note in content.notes:
        _console.print(f"Shown: {note}", markup=False, soft_wrap=True)
    _console.print(f"Wrote {path} ({byte_text(path.stat().st_size)})", markup=False, soft_wrap=True)
    _warn_of_outdated(opened)
    if open_:
        webbrowser.open(path.resolve().as_uri())


def _told_results(results: Any) -> dict[str, str]:
    """Where the results are, by name, and which are outdated."""
    old = results.outdated
    return {
        name: f"{path} (of earlier inputs or options)" if name in old else str(path)
        for name, path in results.files().items()
    }


def _warn_of_outdated(project: Any) -> None:
    if names := sorted(name.replace("_", " ") for name in project.results.outdated):
        _console.print(
            f"Of earlier inputs or options, because the last run did not reach them: {', '.join(names)}. "
            "recon3d run makes them anew.",
            soft_wrap=True,
        )


def _compared(project: Any, other: str) -> Any:
    """Another project, or a run of this one."""
    from recon3d.project.project import Project

    run = next((run for run in project.runs if run.name == other), None)
    if run is not None:
        return run
    if Path(other).is_dir():
        return Project.open(other)
    names = ", ".join(run.name for run in project.runs) or "none yet"
    raise InputError(
        f"{other!r} is neither the folder of a project nor a run of {project.path}.",
        f"Its runs: {names}.",
    )


@app.command()
def doctor() -> None:
    """Check this machine: versions, processor, memory, GPU and system libraries, each with its fix."""
    from recon3d.cli.doctor import examine

    out = Console(highlight=False)
    checks = examine()
    for check in checks:
        mark = {"ok": ("✓", "green"), "note": ("•", "yellow"), "problem": ("✗", "red")}[check.status]
        out.print(Text.assemble(mark, f" {check.name}: {check.found}"), soft_wrap=True)
        if check.fix:
            out.print(f"    {check.fix}", markup=False, soft_wrap=True)
    if any(check.status == "problem" for check in checks):
        raise typer.Exit(EXIT_STAGE_FAILED)


def _tell_added(output: Path, held: Sequence[Any], added: Sequence[Any]) -> None:
    """Say so when files join others that a project holds already."""
    if not held or not added:
        return
    names = ", ".join(item.name for item in added[:3]) + (" …" if len(added) > 3 else "")
    text = f"{output} already holds {_counted(held)}; adding {_counted(added)}: {names}"
    _console.print(text, markup=False, soft_wrap=True)


def _counted(inputs: Sequence[Any]) -> str:
    kinds = Counter(item.kind.replace("_", " ") for item in inputs)
    return ", ".join(count(number, kind) for kind, number in kinds.items())


def _follow(pipeline: Any, project: Any, *, until: str | None, rerun_from: str | None, as_json: bool) -> None:
    """Run, show progress, and let Ctrl-C and SIGTERM cancel; a second one ends at once."""
    from recon3d.cli.terminal import event_printer

    with event_printer(_console, as_json) as printer:
        run = pipeline.start(project, until=until, rerun_from=rerun_from, on_event=printer)
        cancel = _canceller(run.cancel, silent=as_json)
        previous = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            results = run.wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    if as_json:
        return
    stages = run.state.stages.values()
    if stages and all(stage.status == "skipped" for stage in stages):
        _console.print("Nothing to do: every stage is up to date.")
    for told in _told_results(results).values():
        _console.print(told, markup=False, soft_wrap=True)


def _canceller(cancel: Callable[[], None], *, silent: bool) -> Callable[[int, Any], None]:
    asked = Latch()

    def handle(number: int, frame: Any) -> None:
        if asked.is_set():
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h\n")  # the progress bars hid the cursor, and cannot clean up
            os._exit(EXIT_CANCELLED)
        asked.set()
        cancel()
        if not silent:
            _console.print("Cancelling; Ctrl-C again ends at once.")

    return handle


def main() -> None:
    """Run the command line; errors of recon3d become a message and an exit code."""
    try:
        app(standalone_mode=True)
    except Recon3DError as error:
        # A second Ctrl-C may come when the run has ended already: it ends the rest without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        tail = getattr(error, "log_tail", "")
        if tail:
            _console.print(tail, style="dim", markup=False)
        stage = f" ({error.stage})" if isinstance(error, StageError) and error.stage else ""
        _console.print(f"[bold red]Error{stage}:[/] ", end="")
        _console.print(error.message, markup=False, soft_wrap=True)
        if error.hint:
            _console.print(error.hint, markup=False, soft_wrap=True)
        if isinstance(error, Cancelled):
            sys.exit(EXIT_CANCELLED)
        bad_input = isinstance(error, InputError | OptionError | ProjectError)
        sys.exit(EXIT_BAD_INPUT if bad_input else EXIT_STAGE_FAILED)

"""Write the generated parts of docs/reference: ``python -m docs.make_reference``.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. Its text comes from the
code: typer's commands, the options of the stages, the rows of the files in a project, and the service's
settings. A test fails when a part is out of date.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from annotated_types import Ge, Gt, Le

from recon3d import layout
from recon3d.cli.commands import app as recon3d_app
from recon3d.options import STAGE_OPTIONS, StageOptions, presets, resolve_options
from recon3d_api.__main__ import app as service_app
from recon3d_api.settings import Settings

REFERENCE = Path(__file__).parent / "reference"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def described(model: type) -> dict[str, str]:
    """Descriptions of a class's fields, from the numpydoc sections of its docstring."""
    found: dict[str, list[str]] = {}
    names: list[str] = []
    section = ""
    lines = inspect.cleandoc(model.__doc__ or "").splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if following and set(following) == {"-"}:
            section, names = line, []
        elif section not in ("Parameters", "Attributes"):
            continue
        elif line and not line.startswith(" ") and set(line) != {"-"}:
            names = [name.strip() for name in line.split(" : ")[0].split(",")]
            found |= {name: [] for name in names}
        else:
            for name in names:
                found[name].append(line.strip())
    return {name: " ".join(text).strip().replace("``", "`") for name, text in found.items()}


# --- command lines ---------------------------------------------------------------------------------


def commands(app: typer.Typer, program: str) -> str:
    """Every command of a program, with its arguments and options."""
    # typer carries its own copy of click since 0.2x: only what both share is used here.
    group: Any = typer.main.get_command(app)
    parts = [_command(group, program)] if group.invoke_without_command else []
    parts += _members(group, program)
    return "\n\n".join(parts)


def _members(group: Any, title: str) -> list[str]:
    """A group's commands, and those of its groups; hidden ones are former names."""
    found = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found += _members(command, f"{title} {name}")
        elif not command.hidden:
            found.append(_command(command, f"{title} {name}"))
    return found


def _command(command: Any, title: str) -> str:
    hints = typing.get_type_hints(command.callback)
    usage, rows = ["[OPTIONS]"], []
    for parameter in command.params:
        if parameter.name == "help":
            continue
        metavar = parameter.metavar or _kind(hints[parameter.name])
        if parameter.param_type_name == "argument":
            shown = parameter.metavar or parameter.name.upper()
            usage.append(shown if parameter.required else f"[{shown}]")
        else:
            shown = ", ".join([*parameter.opts, *parameter.secondary_opts])
            shown += "" if metavar == "BOOL" else f" {metavar}"
        rows.append([f"`{shown}`", _default(parameter), parameter.help or ""])
    text = inspect.cleandoc(command.callback.__doc__)
    parts = [f"### {title}", text, f"```text\n{title} {' '.join(usage)}\n```"]
    return "\n\n".join(
        [*parts, *([_table(["argument or option", "default", "meaning"], rows)] if rows else [])]
    )


def _kind(hint: Any) -> str:
    kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind is not type(None)]
    literal = typing.get_args(kinds[0]) or kinds
    if all(isinstance(choice, str) for choice in literal):
        return "|".join(literal)
    kind = literal[0]
    if issubclass(kind, enum.Enum):
        return "|".join(str(item.value) for item in kind)
    return {Path: "PATH", int: "INTEGER", float: "FLOAT", str: "TEXT", bool: "BOOL"}[kind]


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.default is None or parameter.default is False or parameter.default in ("", (), []):
        return ""
    return "on" if parameter.default is True else f"`{parameter.default}`"


# --- options ---------------------------------------------------------------------------------------


def options() -> str:
    """The options of each stage."""
    parts = []
    for stage, model in STAGE_OPTIONS.items():
        texts = described(model)
        rows = [
            [f"`{name}`", f"`{field.default}`", _range(model, name), texts[name]]
            for name, field in model.model_fields.items()
        ]
        parts.append(f"### {stage}\n\n" + _table(["option", "default", "values", "meaning"], rows))
    return "\n\n".join(parts)


def preset_values() -> str:
    """The options that differ between the presets."""
    resolved = {quality: resolve_options(quality) for quality in presets()}
    rows = []
    for stage, model in STAGE_OPTIONS.items():
        for name in model.model_fields:
            values = [str(getattr(resolved[quality][stage], name)) for quality in presets()]
            if len(set(values)) > 1:
                rows.append([f"`{stage}.{name}`", *(f"`{value}`" for value in values)])
    return _table(["option", *presets()], rows)


def _range(model: type[StageOptions], name: str) -> str:
    """The values that an option takes: choices, limits, or both."""
    field = model.model_fields[name]
    if field.annotation is bool:
        return "`True`, `False`"
    choices: list[str] = []
    metadata = list(field.metadata)
    for part in (field.annotation, *typing.get_args(field.annotation)):
        if typing.get_origin(part) is typing.Literal:
            choices += [f"`{choice}`" for choice in typing.get_args(part)]
        elif typing.get_origin(part) is typing.Annotated:
            metadata += part.__metadata__[0].metadata
    limits = [
        f"{sign} {getattr(item, attribute)}"
        for item in metadata
        for kind, sign, attribute in ((Ge, "≥", "ge"), (Gt, ">", "gt"), (Le, "≤", "le"))
        if isinstance(item, kind)
    ]
    return " or ".join(filter(None, [", ".join(choices), ", ".join(limits)]))


# --- files in a project, settings ------------------------------------------------------------------


def fields(*models: type) -> Callable[[], str]:
    """A table of a dataclass's fields."""

    def write() -> str:
        rows = []
        for model in models:
            texts = described(model)
            for item in dataclasses.fields(model):
                kind = re.sub(r"^Literal\[(.*)\]$", r"\1", str(item.type)).replace(" | None", " or null")
                rows.append([f"`{item.name}`", f"`{kind}`", texts.get(item.name, "")])
        return _table(["field", "type", "meaning"], rows)

    return write


def counts() -> str:
    """Counts that each stage writes into its manifest."""
    kinds: tuple[Any, ...] = layout.Counts.__args__  # type: ignore[attr-defined]
    rows = [[f"`{kind.stage}`", ", ".join(f"`{f.name}`" for f in dataclasses.fields(kind))] for kind in kinds]
    return _table(["stage", "counts"], rows)


def settings() -> str:
    """The service's environment variables."""
    texts = described(Settings)
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = "" if default in ("", None, []) else f"`{default}`"
        rows.append([f"`{name.upper()}`", shown, texts.get(name, "")])
    return _table(["variable", "default", "meaning"], rows)


# --- writing ---------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[], str]] = {
    "recon3d": lambda: commands(recon3d_app, "recon3d"),
    "recon3d-api": lambda: commands(service_app, "recon3d-api"),
    "presets": preset_values,
    "options": options,
    "input": fields(layout.Input),
    "left-out": fields(layout.LeftOut),
    "frame": fields(layout.Frame),
    "registered-image": fields(layout.RegisteredImage),
    "world-frame": fields(layout.WorldFrame),
    "camera-group": fields(layout.CameraGroup),
    "mapping-attempt": fields(layout.MappingAttempt),
    "counts": counts,
    "settings": settings,
}
_PART = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def generated(text: str) -> str:
    """A page with its generated parts made again."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}", text)


def main() -> None:
    """Write every page that has generated parts."""
    for page in sorted(REFERENCE.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if _PART.search(text):
            page.write_text(generated(text), encoding="utf-8")
            print(page)


if __name__ == "__main__":
    main()

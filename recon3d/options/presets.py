"""Presets of the stages' options, and overrides of them."""

from __future__ import annotations

import functools
import importlib.resources
import sys
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from recon3d.errors import OptionError
from recon3d.options.stage_options import STAGE_OPTIONS, StageOptions
from recon3d.options.value_types import Quality

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@functools.cache
def presets() -> dict[str, dict[str, dict[str, Any]]]:
    """The presets' option values, by preset and stage, as ``presets.toml`` has them."""
    text = importlib.resources.files("recon3d").joinpath("options/presets.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def resolve_options(
    quality: str = "medium", overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, StageOptions]:
    """Options of every stage: the preset, then the overrides.

    Parameters
    ----------
    quality : {"low", "medium", "high", "extreme"}
    overrides : mapping of str to mapping, optional
        Option values by stage.

    Returns
    -------
    dict of str to StageOptions

    Raises
    ------
    OptionError
        A preset, stage or option does not exist, or a value is outside its range.
    """
    if quality not in get_args(Quality):
        raise OptionError(f"Unknown quality {quality!r}.", f"Choose {_one_of(get_args(Quality))}.")
    overrides = overrides or {}
    for stage in overrides:
        if stage not in STAGE_OPTIONS:
            raise OptionError(f"Unknown stage {stage!r}.", f"Choose one of {', '.join(STAGE_OPTIONS)}.")
    resolved = {}
    for stage, model in STAGE_OPTIONS.items():
        values = {**presets()[quality].get(stage, {}), **overrides.get(stage, {})}
        try:
            resolved[stage] = model.model_validate(values)
        except ValidationError as error:
            raise _option_error(stage, model, error) from None
    return resolved


def parse_assignment(text: str) -> tuple[str, str, str]:
    """Split an assignment of the command line.

    Parameters
    ----------
    text : str
        ``stage.option=value``.

    Returns
    -------
    (str, str, str)
        Stage, option and value.

    Raises
    ------
    OptionError
        The text has another form.
    """
    target, equals, value = text.partition("=")
    stage, dot, option = target.strip().partition(".")
    if not (equals and dot and option):
        raise OptionError(
            f"{text!r} is not an option.",
            "Write stage.option=value, as in dense_reconstruction.num_sources=8.",
        )
    return stage, option, value.strip()


def _one_of(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _option_error(stage: str, model: type[StageOptions], error: ValidationError) -> OptionError:
    first, *rest = error.errors()
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return OptionError(
            f"Stage {stage} has no option {name!r}.", f"It has {', '.join(model.model_fields)}."
        )
    # Of an option that takes values of several types, each has its error.
    messages = [row["msg"] for row in (first, *rest) if row["loc"][0] == name]
    choices = [message.removeprefix("Value error, ").removeprefix("Input should be ") for message in messages]
    reason = " or ".join([messages[0].removeprefix("Value error, "), *choices[1:]])
    return OptionError(
        f"Option {stage}.{name} cannot be {first['input']!r}: {reason}.",
        "docs/reference/options.md lists the range of each option.",
    )

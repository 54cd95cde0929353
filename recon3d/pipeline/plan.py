"""What a run would do: each stage's fingerprint, and whether its artifact is there."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

from recon3d.errors import OptionError
from recon3d.io.colmap_model import model_has_points
from recon3d.options import StageOptions
from recon3d.project.artifacts import Artifact, fingerprint
from recon3d.project.project import Project
from recon3d.rendering.formatting import Described
from recon3d.stage_table import STAGE_NAMES, STAGES, Stage

_FEATURES = ("feature_extraction", "feature_matching")


@dataclass(frozen=True, repr=False)
class Step(Described):
    """A stage of one run: what it is, what it would make, and whether that is there.

    A stage may have options that only choose among what it makes. Then `base` is the step with their
    defaults, and this one reads its artifact.
    """

    stage: Stage
    needs: tuple[str, ...]
    options: StageOptions
    fingerprint: str
    artifact: Artifact | None
    base: Step | None = None

    def _facts(self) -> list[str]:
        return [self.stage.name.replace("_", " "), "to do" if self.artifact is None else "up to date"]


def load_stage(name: str) -> ModuleType:
    """Import a stage's module, which has its ``run`` and ``VERSION``.

    Parameters
    ----------
    name : str
        Name of the stage.

    Returns
    -------
    ModuleType
    """
    return importlib.import_module(f"recon3d.stages.{name}")


def check_stage(name: str | None) -> None:
    """Check that a stage exists.

    Parameters
    ----------
    name : str or None
        Name of the stage; None passes.

    Raises
    ------
    OptionError
        There is no such stage.
    """
    if name is not None and name not in STAGE_NAMES:
        raise OptionError(f"Unknown stage {name!r}.", f"Choose one of {', '.join(STAGE_NAMES)}.")


def plan_steps(
    project: Project, options: Mapping[str, StageOptions], seed: int, until: str | None = None
) -> tuple[Step, ...]:
    """Plan a run of a project.

    Parameters
    ----------
    project : Project
    options : mapping of str to StageOptions
        Options by stage.
    seed : int
    until : str, optional
        Last stage.

    Returns
    -------
    tuple of Step
        In the order of the stages.

    Raises
    ------
    OptionError
        `until` is not a stage.
    """
    check_stage(until)
    prints = {"inputs": project.inputs_fingerprint()}
    poses = project.poses
    known_points = poses is not None and model_has_points(poses)
    steps = []
    for stage in STAGES:
        if known_points and stage.name in _FEATURES:
            continue
        needs = stage.posed_needs if poses is not None and stage.posed_needs else stage.needs
        needs = tuple(need for need in needs if not (known_points and need in _FEATURES))
        step = _step(project, stage, needs, options[stage.name], prints, seed)
        prints[stage.name] = step.fingerprint
        steps.append(step)
        if stage.name == until:
            break
    return tuple(steps)


def _step(
    project: Project,
    stage: Stage,
    needs: tuple[str, ...],
    options: StageOptions,
    prints: Mapping[str, str],
    seed: int,
) -> Step:
    module = load_stage(stage.name)
    fields = type(options).model_fields
    defaults = {name: fields[name].default for name in getattr(module, "CHOICES", ())}
    plain = options.model_copy(update=defaults)
    base = None
    if plain != options:
        base = _step(project, stage, needs, plain, prints, seed)
        needs, prints = (*needs, stage.name), {**prints, stage.name: base.fingerprint}
    name = fingerprint(
        stage.name,
        module.VERSION,
        options.model_dump(mode="json"),
        {need: prints[need] for need in needs},
        seed,
    )
    return Step(stage, needs, options, name, project.store.find(stage.name, name), base)

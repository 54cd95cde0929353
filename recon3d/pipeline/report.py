"""The report of a project: ``report.json`` and one self-contained ``report.html``.

Both are made from the artifacts' manifests and the files beside them, nothing else.
"""

from __future__ import annotations

import base64
import importlib.resources
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from recon3d.events import InputsChecked, RunState, VerdictReached
from recon3d.io.atomic import atomic_path, read_json, write_json
from recon3d.layout import (
    COMPONENTS,
    IMAGES,
    PREVIEW,
    REPORT_HTML,
    REPORT_JSON,
    TRANSFORMS,
    read_component_list,
    read_registration,
)
from recon3d.pipeline.coverage import measure_coverage
from recon3d.pipeline.plan_picture import plan_svg
from recon3d.project.artifacts import Artifact
from recon3d.project.project import Project
from recon3d.stage_table import STAGES, Stage
from recon3d.types import Scene

_PREVIEWS = {
    "dense_reconstruction": "Point cloud",
    "mesh_generation": "Surface",
    "texturing": "Textured model",
}


#: There is no report, or one that is damaged or of another version: it is written anew.
_UNREADABLE = (OSError, LookupError, TypeError, ValueError)


def reported_fingerprints(results: Path) -> dict[str, str]:
    """Read which artifacts a folder of results was made from.

    Parameters
    ----------
    results : Path
        The folder.

    Returns
    -------
    dict of str to str
        Fingerprints by stage.
    """
    try:
        return {row["stage"]: row["fingerprint"] for row in read_json(results / REPORT_JSON)["stages"]}
    except _UNREADABLE:
        return {}


def published_fingerprints(results: Path) -> dict[str, str]:
    """Read which artifacts the files in a folder of results are from, also those of earlier runs.

    Parameters
    ----------
    results : Path
        The folder.

    Returns
    -------
    dict of str to str
        Fingerprints by stage.
    """
    try:
        return dict(read_json(results / REPORT_JSON)["published"])
    except _UNREADABLE:
        return reported_fingerprints(results)


def reported_left_out(results: Path) -> list[dict[str, Any]]:
    """Read which files a report lists as left out.

    Parameters
    ----------
    results : Path
        The folder of the results.

    Returns
    -------
    list of dict
        As `left_out_rows` gives them.
    """
    try:
        return list(read_json(results / REPORT_JSON)["left_out"])
    except _UNREADABLE:
        return []


def result_names(stages: Iterable[str]) -> list[str]:
    """List the results of stages, as `Results` names them.

    Parameters
    ----------
    stages : iterable of str
        Names of stages.

    Returns
    -------
    list of str
        In the order of the stages.
    """
    chosen = set(stages)
    return [name for stage in STAGES if stage.name in chosen for name in _names(stage)]


def left_out_rows(project: Project) -> list[dict[str, Any]]:
    """List the files that were given to a project and not added, for its report.

    Parameters
    ----------
    project : Project

    Returns
    -------
    list of dict
    """
    return [asdict(row) for row in project.left_out]


def write_report(
    project: Project,
    artifacts: Sequence[Artifact],
    state: RunState,
    folder: Path,
    *,
    published: Mapping[str, str] | None = None,
    outdated: Sequence[str] = (),
) -> None:
    """Write the report and the cameras' exports.

    Parameters
    ----------
    project : Project
    artifacts : sequence of Artifact
        Those of the run, in the order of the stages.
    state : RunState
        State of the run; its quality and its errors are told.
    folder : Path
        Where to write.
    published : mapping of str to str, optional
        Fingerprints, by stage, of the artifacts that all files of the folder are from; by default those of
        the run.
    outdated : sequence of str
        Names of results in the folder that are of other inputs or options.
    """
    by_stage = {artifact.stage: artifact for artifact in artifacts}
    document: dict[str, Any] = {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quality": state.quality,
        "inputs": [{"kind": item.kind, "name": item.name} for item in project.inputs],
        "left_out": left_out_rows(project),
        "stages": [artifact.manifest.model_dump(mode="json") for artifact in artifacts],
        "published": dict(published or {a.stage: a.manifest.fingerprint for a in artifacts}),
        "outdated": list(outdated),
        "errors": [
            {"stage": stage.name, "message": stage.error.message, "hint": stage.error.hint}
            for stage in state.stages.values()
            if stage.error is not None
        ],
        IMAGES: [],
        COMPONENTS: [],
        "world": {},
        "verdict": _told(state.verdict),
        "check": _told(state.check),
        "cameras": [],
        "attempts": [],
    }
    pictures: list[tuple[str, str]] = []
    plot, weak = "", False
    sparse = by_stage.get("sparse_reconstruction")
    if sparse is not None:
        from recon3d.io.nerfstudio import write_transforms

        document.update(asdict(read_registration(sparse.path)))
        document[COMPONENTS] = [asdict(row) for row in read_component_list(sparse.path)]
        scene = Scene.load(sparse.path)
        coverage = measure_coverage(scene)
        plot, weak = plan_svg(scene, coverage), bool(coverage.gaps or coverage.weak)
        with atomic_path(folder / TRANSFORMS) as temporary:
            write_transforms(temporary, scene, IMAGES)
    for stage, title in _PREVIEWS.items():
        picture = by_stage[stage].path / PREVIEW if stage in by_stage else None
        if picture is not None and picture.is_file():
            pictures.append((title, base64.b64encode(picture.read_bytes()).decode()))
    write_json(folder / REPORT_JSON, document)
    template = importlib.resources.files("recon3d") / "pipeline" / "report.html.j2"
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        name=project.path.name,
        report=document,
        pictures=pictures,
        plot=plot,
        weak=weak,
        seconds=sum(a.manifest.seconds for a in artifacts),
        cpu_seconds=sum(a.manifest.cpu_seconds for a in artifacts),
    )
    with atomic_path(folder / REPORT_HTML) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _names(stage: Stage) -> list[str]:
    """Names of a stage's results; the report writes the cameras in another format, too."""
    cameras = ["transforms"] if stage.name == "sparse_reconstruction" else []
    return [*stage.publishes, *stage.may_publish, *cameras]


def _told(event: InputsChecked | VerdictReached | None) -> dict[str, Any] | None:
    return None if event is None else event.model_dump(include={"level", "sentences", "advice"}, mode="json")

"""The types of options say what the options' models say, and a type checker uses them."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from recon3d.options import STAGE_OPTIONS, presets
from recon3d.options.value_types import PipelineSettings, Quality, StageValues
from recon3d.pipeline import Pipeline

ROOT = Path(__file__).parents[1]


def plain(hint: Any) -> Any:
    """A type in a form that can be compared: unions in any order and notation."""
    if get_origin(hint) in (Union, types.UnionType):
        return frozenset(plain(part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return ("literal", *get_args(hint))
    return hint


def test_the_types_and_the_models_have_the_same_options() -> None:
    stages = get_type_hints(StageValues)
    assert list(stages) == list(STAGE_OPTIONS)
    for stage, model in STAGE_OPTIONS.items():
        declared = {name: plain(hint) for name, hint in get_type_hints(stages[stage]).items()}
        hints = get_type_hints(model)
        assert declared == {name: plain(hints[name]) for name in model.model_fields}, stage


def test_the_settings_are_the_parameters_of_the_pipeline() -> None:
    parameters = inspect.signature(Pipeline.__init__).parameters
    named = {name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert set(get_type_hints(PipelineSettings)) == named | set(STAGE_OPTIONS)


def test_every_quality_has_a_preset() -> None:
    assert set(presets()) | {"medium"} == set(get_args(Quality))


def test_a_type_checker_accepts_right_options_and_rejects_wrong_ones(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(
        "from pathlib import Path\n"
        "from recon3d import Pipeline, reconstruct\n"
        'Pipeline("low", engine="cpu", workers=2, mesh_generation={"max_faces": 1000})\n'
        'reconstruct("a.mp4", Path("a"), "high", seed=1, texturing={"texture_size": 2048})\n'
        'Pipeline("best")  # wrong\n'
        'Pipeline(engine="gpu")  # wrong\n'
        'Pipeline(mesh_generation={"max_facets": 1000})  # wrong\n'
        'Pipeline(mesh_generation={"max_faces": "many"})  # wrong\n'
        'Pipeline(meshing={"max_faces": 1000})  # wrong\n'
        'reconstruct("a.mp4", "a", feature_matching={"matcher": "none"})  # wrong\n',
        encoding="utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--follow-imports=silent",
        "--ignore-missing-imports",
        str(snippet),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    found = {int(line) for line in re.findall(r"snippet\.py:(\d+): error", done.stdout)}
    wrong = [n for n, line in enumerate(snippet.read_text().splitlines(), 1) if line.endswith("# wrong")]
    assert sorted(found) == wrong, done.stdout + done.stderr

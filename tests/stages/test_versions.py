"""A stage whose code changed cannot serve old results: VERSION moves, or someone vouches for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recon3d.pipeline.plan import load_stage
from recon3d.stage_table import STAGE_NAMES
from tests.stages import versions

SEAMS = Path("recon3d/texture/seams.py")
TEXTURING = Path("recon3d/stages/texturing/stage.py")
TASKS = TEXTURING.with_name("texture_tasks.py")


@pytest.fixture
def copy(tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the sources, and a record that fits it."""
    shutil.copytree(versions.ROOT / "recon3d", tmp_path / "recon3d", ignore=shutil.ignore_patterns("*.pyc"))
    path = tmp_path / "versions.json"
    versions.accept(versions.stage_names(tmp_path), same_results=False, root=tmp_path, path=path)
    return tmp_path, path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_no_stage_changed_without_its_version() -> None:
    problems = versions.problems()
    assert not problems, "\n" + "\n".join(problems)


def test_the_versions_are_those_that_fingerprints_take() -> None:
    assert versions.stage_names() == sorted(STAGE_NAMES)
    for stage in STAGE_NAMES:
        assert versions.version(versions.ROOT, stage)[0] == load_stage(stage).VERSION


def test_a_changed_constant_asks_for_a_version(copy: tuple[Path, Path]) -> None:
    root, path = copy
    edit(root / SEAMS, "ANCHOR = ", "ANCHOR = 2 * ")
    (problem,) = versions.problems(root, path)
    now = load_stage("texturing").VERSION
    assert problem.startswith("texturing: the code changed (recon3d.texture.seams)")
    assert f"raise VERSION in {TEXTURING} to {now + 1}" in problem
    assert "--accept texturing --same-results" in problem

    with pytest.raises(SystemExit, match="Raise VERSION"):
        versions.accept(["texturing"], same_results=False, root=root, path=path)
    assert versions.problems(root, path) == [problem]

    edit(root / TEXTURING, f"VERSION = {now}", f"VERSION = {now + 1}")
    assert "is new; run" in versions.problems(root, path)[0]
    versions.accept(["texturing"], same_results=False, root=root, path=path)
    assert not versions.problems(root, path)

    edit(root / TEXTURING, f"VERSION = {now + 1}", f"VERSION = {now}")
    assert "went down" in versions.problems(root, path)[0]


def test_the_same_results_must_be_vouched_for(copy: tuple[Path, Path]) -> None:
    root, path = copy
    edit(root / SEAMS, "ANCHOR = ", "ANCHOR = 1 * ")
    versions.accept(["texturing"], same_results=True, root=root, path=path)
    assert not versions.problems(root, path)
    assert versions.record(path)["texturing"]["version"] == load_stage("texturing").VERSION


def test_a_lazy_import_counts(copy: tuple[Path, Path]) -> None:
    root, path = copy
    # Both stages import the surface's modules inside a function.
    edit(root / "recon3d/surface/simplification.py", "def simplify(", "SIZE = 1\n\n\ndef simplify(")
    stages = [problem.split(":")[0] for problem in versions.problems(root, path)]
    assert stages == ["mesh_generation", "texturing"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (SEAMS, "ANCHOR = ", "# A comment.\nANCHOR =   "),
        (
            SEAMS,
            '"""',
            '"""Other words. ',
        ),
        (TASKS, "None of the ", "Not one of the "),
        (TEXTURING, "A page of ", "A square of "),
        (
            Path("recon3d/errors.py"),
            "class InputError",
            "class Unused(Exception):\n    pass\n\n\nclass InputError",
        ),
        (Path("recon3d/types.py"), '"no scale"', '"unknown scale"'),
    ],
    ids=["format", "docstring", "error", "fallback", "left-out", "repr"],
)
def test_what_cannot_change_results_does_not_count(
    copy: tuple[Path, Path], file: Path, old: str, new: str
) -> None:
    root, path = copy
    if old == '"""':
        text = (root / file).read_text(encoding="utf-8")
        (root / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    else:
        edit(root / file, old, new)
    assert not versions.problems(root, path)


def test_what_is_left_out_exists() -> None:
    for module in versions.LEFT_OUT:
        base = versions.ROOT.joinpath(*module.split("."))
        assert base.is_dir() or base.with_suffix(".py").is_file(), module

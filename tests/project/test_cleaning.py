"""Nothing is deleted because something else is missing or damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import recon3d
from recon3d.errors import InputError, ProjectError
from recon3d.events import EventLog, RunCompleted, RunFailed, StageCompleted, StageSkipped
from recon3d.export import export_project
from recon3d.io.atomic import write_json
from recon3d.pipeline import Pipeline
from recon3d.project import Project
from recon3d.project.artifacts import MANIFEST
from recon3d.project.results import publish_path
from tests.project.test_project import _model, _photo
from tests.synthetic.made_project import made_project, manifest_of


def _bytes(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with three photos, two of the same name."""
    made = Project.create(tmp_path / "p")
    made.add_photos([_photo(tmp_path / "photos" / "a" / "one.jpg", 1)])
    made.add_photos([_photo(tmp_path / "photos" / "b" / "one.jpg", 2)])
    made.add_photos([_photo(tmp_path / "photos" / "b" / "two.jpg", 3)])
    return made


def _lose(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def _other_form(path: Path) -> None:
    path.write_text('{"inputs": [{"file": "one.jpg"}], "poses": null}')


# --- the list of inputs -----------------------------------------------------------------------------


@pytest.mark.parametrize(("harm", "word"), [(_lose, "missing"), (_cut, "damaged"), (_other_form, "damaged")])
def test_without_its_list_no_input_is_deleted_or_forgotten(
    project: Project, tmp_path: Path, harm: Callable[[Path], None], word: str
) -> None:
    before, mark, items = _bytes(project.path / "inputs"), project.inputs_fingerprint(), project.inputs
    listed = project.path / "inputs" / "inputs.json"
    harm(listed)
    harmed = _bytes(project.path / "inputs")
    new = _photo(tmp_path / "new.jpg", 9)
    for action in (
        lambda: project.inputs,
        lambda: project.clean(),
        lambda: project.add_photos(new),
        lambda: Pipeline("low").plan(project),
        lambda: Pipeline("low").run(project),
    ):
        with pytest.raises(ProjectError, match=word) as caught:
            action()
        assert str(listed) in caught.value.message
        assert "photos/one.jpg, photos/one-2.jpg, photos/two.jpg" in caught.value.message.replace(
            "photos/one-2.jpg, photos/one.jpg", "photos/one.jpg, photos/one-2.jpg"
        )
        assert f"recon3d repair {project.path}" in caught.value.hint
    assert _bytes(project.path / "inputs") == harmed
    assert word in repr(project)
    assert word in project._repr_html_()

    # The next step works: the same files, under the same fingerprint.
    assert {(i.path, i.sha256) for i in project.relist_inputs()} == {(i.path, i.sha256) for i in items}
    assert project.inputs_fingerprint() == mark
    after = _bytes(project.path / "inputs")
    assert {name: after[name] for name in before if name != "inputs.json"} == {
        name: content for name, content in before.items() if name != "inputs.json"
    }
    if word == "damaged":
        assert after["inputs.json.former"] == harmed["inputs.json"]
    # And adding the files again finds them all.
    project.add_photos([tmp_path / "photos" / "a", tmp_path / "photos" / "b", new])
    assert len(project.inputs) == 4


def test_the_command_repairs(project: Project) -> None:
    (project.path / "inputs" / "inputs.json").unlink()
    run = [sys.executable, "-m", "recon3d"]
    info = subprocess.run([*run, "info", str(project.path)], capture_output=True, text=True, check=False)
    assert info.returncode == 2
    assert "inputs.json is missing" in info.stderr
    done = subprocess.run([*run, "repair", str(project.path)], capture_output=True, text=True, check=True)
    assert "photo: photos/one-2.jpg" in done.stderr
    assert "Listed 3 inputs" in done.stderr
    assert len(project.inputs) == 3


def test_known_cameras_are_listed_again_with_their_photos(tmp_path: Path) -> None:
    names = ["left/a b.jpg", "right/a b.jpg"]
    for number, name in enumerate(names):
        _photo(tmp_path / "images" / name, number)
    project = Project.create(tmp_path / "p")
    project.add_posed_photos(tmp_path / "images", _model(tmp_path / "model", names))
    items, poses, mark = project.inputs, project.poses, project.inputs_fingerprint()
    (project.path / "inputs" / "inputs.json").unlink()
    assert project.relist_inputs() == items
    assert project.poses == poses
    assert project.inputs_fingerprint() == mark

    (project.path / "inputs" / "inputs.json").unlink()
    shutil.move(project.path / "inputs" / "model", tmp_path / "aside")
    with pytest.raises(ProjectError, match="known cameras") as caught:
        project.relist_inputs()
    assert "Restore" in caught.value.hint
    shutil.move(tmp_path / "aside", project.path / "inputs" / "model")
    _photo(project.path / "inputs" / "photos" / "other.jpg")
    with pytest.raises(ProjectError, match="and others"):
        project.relist_inputs()


def test_a_posed_photo_given_anew_replaces_the_former_one(tmp_path: Path) -> None:
    _photo(tmp_path / "images" / "a.jpg", 1)
    project = Project.create(tmp_path / "p")
    model = _model(tmp_path / "model", ["a.jpg"])
    project.add_posed_photos(tmp_path / "images", model)
    _photo(tmp_path / "images" / "a.jpg", 2)
    project.add_posed_photos(tmp_path / "images", model)
    assert [item.path for item in project.inputs] == ["posed/a.jpg"]


def test_a_new_project_and_one_of_an_earlier_version_have_no_inputs(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    assert project.inputs == ()
    shutil.rmtree(project.path / "inputs")
    assert project.inputs == ()
    assert project.clean().removed == {}
    project.add_photos(_photo(tmp_path / "one.jpg"))
    assert len(project.inputs) == 1


def test_a_result_that_was_being_copied_goes_and_a_file_beside_the_results_stays(project: Project) -> None:
    half, mine = project.results.folder / ".tmp-0011aabb", project.results.folder / "notes.txt"
    half.parent.mkdir()
    half.write_bytes(b"half")
    mine.write_bytes(b"mine")
    assert list(project.clean().removed) == [half]
    assert [path.name for path in half.parent.iterdir()] == ["notes.txt"]


def test_an_unlisted_file_is_kept_told_and_not_written_over(project: Project, tmp_path: Path) -> None:
    inputs = project.path / "inputs" / "photos"
    mine = _photo(inputs / "mine.jpg", 5).read_bytes()
    (inputs / ".tmp-0011aabb-three.jpg").write_bytes(b"half")
    cleaning = project.clean()
    assert list(cleaning.removed) == [inputs / ".tmp-0011aabb-three.jpg"]
    assert cleaning.unlisted == (inputs / "mine.jpg",)
    # Another file of that name gets another; the same file is taken as it is.
    project.add_photos(_photo(tmp_path / "new" / "mine.jpg", 6))
    assert (inputs / "mine.jpg").read_bytes() == mine
    assert project.inputs[-1].path == "photos/mine-2.jpg"
    project.add_photos(_photo(tmp_path / "same" / "mine.jpg", 5))
    assert project.inputs[-1].path == "photos/mine.jpg"
    assert project.clean().unlisted == ()


def test_a_listed_copy_that_was_lost_comes_back_when_it_is_added_again(
    project: Project, tmp_path: Path
) -> None:
    copy = project.path / "inputs" / project.inputs[0].path
    copy.unlink()
    project.add_photos(tmp_path / "photos" / "a")
    assert copy.read_bytes() == (tmp_path / "photos" / "a" / "one.jpg").read_bytes()
    assert len(project.inputs) == 3


def test_the_list_of_projects_names_a_damaged_one(project: Project) -> None:
    Project.create(project.path.parent / "good")
    (project.path / "inputs" / "inputs.json").unlink()
    found = recon3d.projects(project.path.parent)
    assert found.names == ["good"]
    assert "inputs.json is missing" in repr(found)
    assert "inputs.json is missing" in found._repr_html_()


# --- artifacts --------------------------------------------------------------------------------------

_SPARSE, _DENSE, _TEXTURED = "sparse_reconstruction", "dense_reconstruction", "texturing"


def _make(project: Project, stage: str, mark: str, started: float, **inputs: str) -> str:
    """A finished artifact; gives its path in the project."""
    work = project.store.begin(stage, mark * 16)
    (work / "data.bin").write_bytes(b"0" * 1000)
    manifest = manifest_of(work.name, {need: one * 16 for need, one in inputs.items()})
    artifact = project.store.commit(work, manifest.model_copy(update={"started": started}))
    return artifact.path.relative_to(project.path).as_posix()


def _log(project: Project, name: str, *artifacts: str, made: bool = True, completed: bool = True) -> Path:
    log = EventLog(project.path / "runs" / name / "events.jsonl", name)
    for path in artifacts:
        stage = Path(path).name.rpartition("-")[0]
        done = StageCompleted(
            stage=stage, artifact=path, seconds=1, cpu_seconds=1, peak_memory=1, counts={}, fallbacks=()
        )
        log.emit(done if made else StageSkipped(stage=stage, reason="up to date", artifact=path))
    failure = {"type": "StageError", "message": "bad"}
    log.emit(RunCompleted(results={}, seconds=1) if completed else RunFailed(error=failure))
    return log.path


@pytest.fixture
def twice(tmp_path: Path) -> Project:
    """A whole model (a), then a newer run that ended after the cameras (b)."""
    project = Project.create(tmp_path / "twice")
    sparse = _make(project, _SPARSE, "a", 1)
    dense = _make(project, _DENSE, "a", 2, sparse_reconstruction="a")
    textured = _make(project, _TEXTURED, "a", 3, sparse_reconstruction="a", dense_reconstruction="a")
    _log(project, "run-1", sparse, dense, textured)
    _log(project, "run-2", _make(project, _SPARSE, "b", 4))
    return project


def _names(project: Project) -> set[str]:
    return {path.name.replace("0" * 15, "") for path in project.store.finished.iterdir()}


def test_cleaning_keeps_every_finished_artifact(twice: Project) -> None:
    _log(twice, "run-3", _make(twice, _SPARSE, "c", 5), completed=False)
    before = _bytes(twice.path / "artifacts")
    assert twice.clean().removed == {}
    assert _bytes(twice.path / "artifacts") == before


def test_a_short_run_does_not_take_the_cameras_of_a_whole_model(twice: Project) -> None:
    before = _bytes(twice.path / "artifacts")
    assert twice.clean(superseded=True).removed == {}
    assert _bytes(twice.path / "artifacts") == before


def test_superseded_artifacts_go_when_asked_after_a_look(twice: Project) -> None:
    a = [f"artifacts/{stage}-{'a' * 16}" for stage in (_SPARSE, _DENSE, _TEXTURED)]
    dense = _make(twice, _DENSE, "b", 5, sparse_reconstruction="b")
    textured = _make(twice, _TEXTURED, "b", 6, sparse_reconstruction="b", dense_reconstruction="b")
    _log(twice, "run-3", dense, textured)
    unknown = twice.path / _make(twice, _DENSE, "e", 0)
    before = _bytes(twice.path / "artifacts")
    run = [sys.executable, "-m", "recon3d", "clean", str(twice.path), "--superseded"]
    look = subprocess.run([*run, "--dry-run"], capture_output=True, text=True, check=True).stderr
    assert _bytes(twice.path / "artifacts") == before
    done = subprocess.run(run, capture_output=True, text=True, check=True).stderr
    for path in a:
        assert f"Would remove {twice.path / path} (" in look
        assert f"Removed {twice.path / path} (" in done
        assert not (twice.path / path).exists()
    assert len(list((twice.path / "artifacts").iterdir())) == 4
    assert unknown.is_dir()  # no log says whose it is
    assert list((twice.path / "work").iterdir()) == []


def test_an_older_model_that_is_used_again_is_the_newest(twice: Project) -> None:
    a = [f"artifacts/{stage}-{'a' * 16}" for stage in (_SPARSE, _DENSE, _TEXTURED)]
    _log(twice, "run-3", *a, made=False)
    removed = twice.clean(superseded=True).removed
    assert list(removed) == [twice.path / "artifacts" / f"{_SPARSE}-{'b' * 16}"]


@pytest.mark.parametrize("lost", ["runs", "runs/run-1"])
def test_without_logs_no_artifact_goes(twice: Project, lost: str) -> None:
    dense = _make(twice, _DENSE, "b", 5, sparse_reconstruction="b")
    _log(twice, "run-3", dense)
    before = _bytes(twice.path / "artifacts")
    shutil.rmtree(twice.path / lost)
    assert twice.clean().removed == {}
    assert twice.clean(superseded=True).removed == {}
    assert _bytes(twice.path / "artifacts") == before


@pytest.mark.parametrize("harm", [_lose, lambda path: path.write_bytes(b"{damaged}\n" + path.read_bytes())])
def test_with_a_damaged_log_no_artifact_goes(twice: Project, harm: Callable[[Path], None]) -> None:
    log = twice.path / "runs" / "run-2" / "events.jsonl"
    harm(log)
    (twice.path / "work" / "texturing-0").mkdir(parents=True)
    with twice.lock():  # makes its file
        before = _bytes(twice.path)
    with pytest.raises(ProjectError, match=r"run-2.events\.jsonl") as caught:
        twice.clean(superseded=True)
    assert str(log.parent) in caught.value.hint
    assert _bytes(twice.path) == before
    assert (twice.path / "work" / "texturing-0").is_dir()


def test_a_line_cut_off_by_a_kill_is_no_damage(twice: Project) -> None:
    with open(twice.path / "runs" / "run-2" / "events.jsonl", "ab") as log:
        log.write(b'{"type": "stage_comp')
    twice.clean(superseded=True)


@pytest.mark.parametrize("harm", [_lose, _cut])
def test_an_artifact_without_its_manifest_is_named_and_kept(
    twice: Project, harm: Callable[[Path], None]
) -> None:
    artifact = twice.path / "artifacts" / f"{_SPARSE}-{'a' * 16}"
    harm(artifact / MANIFEST)
    for action in (
        lambda: twice.artifacts,
        lambda: twice.store.find(_SPARSE, "a" * 16),
        lambda: twice.clean(superseded=True),
    ):
        with pytest.raises(ProjectError, match=str(artifact)) as caught:
            action()
        assert "move the whole folder away" in caught.value.hint
    assert (artifact / "data.bin").is_file()
    assert str(artifact) in repr(twice)


def test_cleaning_removes_only_what_is_ours(twice: Project) -> None:
    work = twice.path / "work"
    for name in ("texturing-00ff", ".tmp-1234", "my notes"):
        (work / name).mkdir(parents=True)
    (twice.path / "artifacts" / "my-copies!").mkdir()
    assert {path.name for path in twice.clean(superseded=True).removed} == {"texturing-00ff", ".tmp-1234"}
    assert [path.name for path in work.iterdir()] == ["my notes"]
    assert (twice.path / "artifacts" / "my-copies!").is_dir()


# --- results and exports ----------------------------------------------------------------------------


def test_a_published_folder_keeps_what_its_owner_put_there(tmp_path: Path) -> None:
    for name in ("cameras.bin", "images.bin"):
        write_json(tmp_path / "new" / name, "new")
        write_json(tmp_path / "sparse" / name, "old")
    write_json(tmp_path / "sparse" / "notes" / "mine.txt", "mine")
    publish_path(tmp_path / "new", tmp_path / "sparse")
    held = {name: json.loads(content) for name, content in _bytes(tmp_path / "sparse").items()}
    assert held == {"cameras.bin": "new", "images.bin": "new", "notes/mine.txt": "mine"}
    assert {path.name for path in tmp_path.iterdir()} == {"new", "sparse"}


def test_a_failure_in_the_middle_leaves_the_former_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "new" / "cameras.bin", "new")
    write_json(tmp_path / "sparse" / "cameras.bin", "old")
    rename = os.rename

    def fail(source: Path, target: Path) -> None:
        if Path(target).name == "sparse" and Path(source).name.startswith(".tmp-"):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        publish_path(tmp_path / "new", tmp_path / "sparse")
    assert json.loads((tmp_path / "sparse" / "cameras.bin").read_text()) == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"new", "sparse"}


@pytest.mark.parametrize("format", ["colmap", "colmap-dense", "nerfstudio"])
def test_an_export_does_not_write_over_foreign_photos(tmp_path: Path, format: str) -> None:
    project = made_project(tmp_path / "box")
    sparse = project.results.folder / "sparse"
    shutil.copytree(project.artifacts[_SPARSE].path, sparse)
    write_json(project.results.folder / "transforms.json", {})
    photo = _photo(tmp_path / "mine" / "images" / "photo_0.jpg", 4)
    before = photo.read_bytes()
    with pytest.raises(InputError, match="no export wrote"):
        export_project(project, format, tmp_path / "mine")
    assert photo.read_bytes() == before
    if format != "colmap-dense":
        for _ in range(2):
            export_project(project, format, tmp_path / "new")
        assert (tmp_path / "new" / "images" / "photo_0.jpg").is_file()
        assert np.asarray(Image.open(tmp_path / "new" / "images" / "photo_0.jpg")).shape == (480, 640, 3)

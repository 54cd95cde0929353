"""Missing and damaged files of a finished project: an error that names the file, never a traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recon3d import InputError, Project, ProjectError
from recon3d.events import EventLog, RunStarted
from tests.synthetic.made_project import made_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return made_project(tmp_path / "p")


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"views": 3}', b"\x00"])
@pytest.mark.parametrize("name", ["scene.json", "points.npz"])
def test_a_scene(project: Project, name: str, content: bytes | None) -> None:
    path = project.artifacts["sparse_reconstruction"].path / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="missing or damaged") as caught:
        _ = project.scene
    assert str(path.parent) in caught.value.message


@pytest.mark.parametrize("content", ["[]", "{", '{"format": "a"}'])
def test_the_file_that_makes_a_project(project: Project, content: str) -> None:
    (project.path / "recon3d.json").write_text(content)
    with pytest.raises(ProjectError, match=r"recon3d\.json"):
        Project.open(project.path)


@pytest.mark.parametrize(
    "row", [{"path": 3}, {"path": "../../secret.jpg"}, {"path": "/etc/passwd"}, {"kind": "zork"}]
)
def test_the_list_of_inputs(tmp_path: Path, row: dict[str, object]) -> None:
    project = Project.create(tmp_path / "p")
    whole = {"kind": "photo", "path": "photos/a.jpg", "name": "a.jpg", "sha256": "0"}
    document = {"inputs": [{**whole, **row}], "poses": None}
    (project.path / "inputs" / "inputs.json").write_text(json.dumps(document))
    with pytest.raises(ProjectError, match=r"inputs\.json is damaged"):
        _ = project.inputs


def test_a_run_that_died_is_not_shown_as_running(project: Project) -> None:
    folder = project.path / "runs" / "20990101-000000-000000-aaaa"
    folder.mkdir(parents=True)
    EventLog(folder / "events.jsonl", folder.name, lambda _: None).emit(
        RunStarted(stages=("frame_extraction",), quality="low", version="0")
    )
    command = [sys.executable, "-m", "recon3d", "info", str(project.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "aaaa: interrupted" in done.stdout


def test_a_project_whose_own_file_is_lost(project: Project) -> None:
    (project.path / "recon3d.json").unlink()
    for way in (Project.open, lambda path: Project.create(path, exist_ok=True)):
        with pytest.raises(ProjectError, match=r"its recon3d\.json is missing") as caught:
            way(project.path)
    (text,) = re.findall(r"\{.*\}", caught.value.hint)
    (project.path / "recon3d.json").write_text(text)
    opened = Project.open(project.path)
    assert opened.artifacts.keys() == project.artifacts.keys()
    assert opened.inputs == project.inputs


def test_a_folder_of_other_files_is_no_lost_project(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    with pytest.raises(ProjectError, match="is not a recon3d project"):
        Project.open(tmp_path)

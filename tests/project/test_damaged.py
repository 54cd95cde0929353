"""Missing and damaged files of a finished project: an error that names the file, never a traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from recon3d import InputError, Project, ProjectError
from recon3d.events import EventLog, RunStarted
from recon3d.layout import Frame, frame_list_file, read_frames, read_registration
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


@pytest.mark.parametrize("in_its_place", [Path.mkdir, lambda path: path.symlink_to(path)])
def test_what_is_there_and_cannot_be_read(project: Project, in_its_place: Callable[[Path], None]) -> None:
    sparse = project.artifacts["sparse_reconstruction"].path
    readers = {
        sparse / "frames.json": lambda: read_frames(sparse),
        sparse / "registration.json": lambda: read_registration(sparse),
        project.path / "scale.json": lambda: project.scale,
    }
    for path, read in readers.items():
        path.unlink(missing_ok=True)
        in_its_place(path)
        with pytest.raises(InputError, match=re.escape(f"{path} cannot be read: ")) as caught:
            read()
        assert "Check that it is a file" in caught.value.hint


def test_a_folder_in_the_place_of_the_list_of_inputs(project: Project) -> None:
    path = project.path / "inputs" / "inputs.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(ProjectError, match=re.escape(f"{path} cannot be read: ")) as caught:
        _ = project.inputs
    assert "Check that it is a file" in caught.value.hint


@pytest.mark.parametrize("size", [0, -4, None, "640"])
def test_a_frame_without_a_size(tmp_path: Path, size: object) -> None:
    whole = Frame("a.jpg", "photo", "a.jpg", None, 640, 480, None, None, None, 0)
    frame = {**asdict(whole), "width": size}
    frame_list_file(tmp_path).write_text(json.dumps({"frames": [frame], "sequences": []}))
    with pytest.raises(InputError, match=r"frames\.json is damaged: the size of 'a\.jpg'"):
        read_frames(tmp_path)


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

"""Projects: inputs, locks, moving, damage."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recon3d.errors import InputError, ProjectError
from recon3d.project import Project


def _photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_inputs_are_copied_once_and_found_again(tmp_path: Path) -> None:
    photo = _photo(tmp_path / "a" / "one.jpg")
    project = Project.create(tmp_path / "p")
    project.add_photos(photo)
    before = project.inputs_fingerprint()
    project.add_photos([photo, tmp_path / "a"])
    assert [item.name for item in project.inputs] == ["one.jpg"]
    assert project.inputs_fingerprint() == before
    assert Project.open(tmp_path / "p").inputs == project.inputs
    copy = tmp_path / "p" / "inputs" / project.inputs[0].path
    assert copy.read_bytes() == photo.read_bytes()


def test_files_of_the_same_name_are_kept_apart(tmp_path: Path) -> None:
    photos = [_photo(tmp_path / str(i) / "same.jpg", i) for i in range(3)]
    project = Project.create(tmp_path / "p")
    project.add_photos(photos)
    assert len({item.path for item in project.inputs}) == 3


def test_a_project_moves_with_its_folder(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    project.add_photos(_photo(tmp_path / "one.jpg"))
    shutil.move(tmp_path / "p", tmp_path / "elsewhere")
    moved = Project.open(tmp_path / "elsewhere")
    assert moved.inputs_fingerprint() == moved.inputs_fingerprint()
    assert (moved.path / "inputs" / moved.inputs[0].path).is_file()
    texts = [p.read_text() for p in moved.path.rglob("*.json")]
    assert not any(str(tmp_path) in text for text in texts)


@pytest.mark.parametrize("content", [b"", b"not a photo at all", b"\xff\xd8\xff\xe0" + b"\0" * 16])
def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(content)
    project = Project.create(tmp_path / "p")
    with pytest.raises(InputError, match=r"bad\.jpg") as caught:
        project.add_photos(bad)
    assert caught.value.hint
    assert project.inputs == ()
    project.add_photos(_photo(tmp_path / "good.jpg"))
    assert len(project.inputs) == 1


def test_a_text_file_named_mp4_is_refused(tmp_path: Path) -> None:
    bad = tmp_path / "notes.mp4"
    bad.write_text("shopping list")
    with pytest.raises(InputError, match=r"notes\.mp4"):
        Project.create(tmp_path / "p").add_video(bad)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    project = Project.create(tmp_path / "p")
    for add in (project.add, project.add_photos):
        with pytest.raises(InputError, match="photos"):
            add(tmp_path / "photos")


def test_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("…")
    with pytest.raises(ProjectError, match="not empty"):
        Project.create(tmp_path / "letters")
    with pytest.raises(ProjectError, match="not a recon3d project"):
        Project.open(tmp_path / "letters")
    (tmp_path / "file").write_text("")
    with pytest.raises(ProjectError, match="is a file"):
        Project.create(tmp_path / "file")


def test_one_writer_at_a_time_and_the_dead_hold_no_lock(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    script = (
        "import sys, time; from recon3d.project import Project\n"
        "with Project.open(sys.argv[1]).lock():\n    print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(project.path)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(ProjectError, match="Another process"), project.lock():
        pass
    other.kill()
    other.wait()
    other.stdout.close()
    with project.lock():
        pass


def test_a_project_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    (project.path / "recon3d.json").write_text('{"format": 99}')
    with pytest.raises(ProjectError, match="newer"):
        Project.open(project.path)
    (project.path / "recon3d.json").write_text("{")
    with pytest.raises(ProjectError, match="cannot be read"):
        Project.open(project.path)


def _model(folder: Path, names: list[str], points: str = "") -> Path:
    folder.mkdir()
    (folder / "cameras.txt").write_text("1 PINHOLE 64 48 60 60 32 24\n")
    lines = [f"{i + 1} 1 0 0 0 0 0 {i} 1 {name}\n\n" for i, name in enumerate(names)]
    (folder / "images.txt").write_text("# comment\n" + "".join(lines))
    (folder / "points3D.txt").write_text("# comment\n" + points)
    return folder


def test_posed_photos_keep_their_names_and_model(tmp_path: Path) -> None:
    names = ["left/a b.jpg", "right/a b.jpg"]
    for i, name in enumerate(names):
        _photo(tmp_path / "images" / name, i)
    project = Project.create(tmp_path / "p")
    project.add_posed_photos(tmp_path / "images", _model(tmp_path / "model", names))
    assert [item.name for item in project.inputs] == names
    assert project.poses is not None
    first = project.inputs_fingerprint()
    (project.poses / "cameras.txt").write_text("1 PINHOLE 64 48 61 61 32 24\n")
    assert project.inputs_fingerprint() != first
    with pytest.raises(ProjectError, match="mix"):
        project.add_photos(_photo(tmp_path / "other.jpg", 9))


def test_cameras_given_again_replace_the_former_ones(tmp_path: Path) -> None:
    _photo(tmp_path / "images" / "a.jpg")
    project = Project.create(tmp_path / "p")
    first = _model(tmp_path / "model", ["a.jpg"])
    (first / "rigs.txt").write_text("# none\n")
    project.add_posed_photos(tmp_path / "images", first)
    second = _model(tmp_path / "again", ["a.jpg"])
    (second / "cameras.txt").write_text("1 PINHOLE 64 48 61 61 32 24\n")
    project.add_posed_photos(tmp_path / "images", second)
    assert project.poses is not None
    held = {path.name: path.read_bytes() for path in project.poses.iterdir()}
    assert held == {path.name: path.read_bytes() for path in second.iterdir()}


def test_a_model_that_names_a_missing_photo_is_refused(tmp_path: Path) -> None:
    _photo(tmp_path / "images" / "a.jpg")
    project = Project.create(tmp_path / "p")
    with pytest.raises(InputError, match=r"b\.jpg is missing"):
        project.add_posed_photos(tmp_path / "images", _model(tmp_path / "model", ["a.jpg", "b.jpg"]))
    with pytest.raises(InputError, match="outside"):
        project.add_posed_photos(tmp_path / "images", _model(tmp_path / "evil", ["../a.jpg"]))
    with pytest.raises(InputError, match="not a COLMAP model"):
        project.add_posed_photos(tmp_path / "images", tmp_path / "images")

"""What becomes of the files and folders that a user gives: added, or left out with a reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recon3d.errors import InputError, ProjectError
from recon3d.project import Project
from recon3d.project.opening import project_for_inputs
from tests.synthetic.media import slide, texture, write_video


def _photo(path: Path, seed: int = 0, size: tuple[int, int] = (64, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "JPEG")
    return path


def _video(path: Path, frames: int = 6) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, slide(texture(600, 400), range(0, 3 * frames, 3), (160, 120)))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p")


def test_subfolders_are_searched_and_those_of_the_system_are_not(tmp_path: Path, project: Project) -> None:
    card = tmp_path / "DCIM"
    _photo(card / "top.jpg", 1)
    _photo(card / "100MEDIA" / "DJI_0001.JPG", 2)
    _photo(card / "101MEDIA" / "DJI_0001.JPG", 3)
    _photo(card / "101MEDIA" / "deep" / "er.jpg", 4)
    for number, hidden in enumerate((".trash", "@eaDir", "__MACOSX")):
        _photo(card / hidden / "100MEDIA" / "DJI_0001.JPG", 10 + number)
    (card / "._top.jpg").write_bytes(b"\0\5\x16\7")
    (card / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    added = project.add(card)
    assert [item.name for item in added] == [
        "100MEDIA/DJI_0001.JPG",
        "101MEDIA/DJI_0001.JPG",
        "101MEDIA/deep/er.jpg",
        "top.jpg",
    ]
    assert len({item.path for item in added}) == 4
    assert project.left_out == ()
    assert project.notes == ()


def test_a_link_back_ends_the_search(tmp_path: Path, project: Project) -> None:
    _photo(tmp_path / "a" / "one.jpg")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    assert len(project.add(tmp_path / "a")) == 1


def test_everything_that_is_left_out_has_its_reason(tmp_path: Path, project: Project) -> None:
    folder = tmp_path / "photos"
    for number in range(2):
        _photo(folder / f"{number}.jpg", number)
    (folder / "copy of 0.jpg").write_bytes((folder / "0.jpg").read_bytes())
    (folder / "empty.jpg").touch()
    (folder / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (folder / "notes.txt").write_text("Film the north side again.\n")
    (folder / "page.jpg").write_text("<!DOCTYPE html>\n<html><body>Not found</body></html>")
    (folder / "bill.pdf").write_bytes(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    (folder / "IMG.GIF").write_bytes(b"GIF89a" + b"\0" * 40)
    (folder / "junk.bin").write_bytes(bytes(range(256)) * 4)
    _photo(folder / "GOPR0001.THM", 5)
    _photo(folder / "thumbs" / "0.jpg", 6)
    Project.create(folder / "earlier").add(_photo(tmp_path / "other.jpg", 7))
    added = project.add(folder)
    assert [item.name for item in added] == ["0.jpg", "1.jpg"]
    assert {row.name: row.reason for row in project.left_out} == {
        "copy of 0.jpg": "is a copy of 0.jpg",
        "empty.jpg": "is empty",
        "gone.jpg": "is a link to a file that does not exist",
        "notes.txt": "is a text file",
        "page.jpg": "is a web page (HTML)",
        "bill.pdf": "is a PDF document",
        "IMG.GIF": "is a GIF file, which is not supported",
        "junk.bin": "is neither a photo nor a video that can be read",
        "GOPR0001.THM": "is a video's thumbnail",
        "thumbs/": "is a folder of thumbnails",
        "earlier/": "is a recon3d project",
    }
    (note,) = project.notes
    assert note.startswith("Left out 11 of 13 files in photos/: ")
    assert "notes.txt is a text file" in note
    assert "and 1 more, which the report lists" in note
    assert "notes.txt is a text file" in project._repr_html_()


def test_a_file_that_is_mended_is_no_longer_told(tmp_path: Path, project: Project) -> None:
    _photo(tmp_path / "photos" / "a.jpg", 1)
    (tmp_path / "photos" / "b.jpg").touch()
    project.add(tmp_path / "photos")
    assert project.notes == ("Left out 1 of 2 files in photos/: b.jpg is empty.",)
    project.add(tmp_path / "photos")
    assert len(project.left_out) == 1
    _photo(tmp_path / "photos" / "b.jpg", 2)
    project.add(tmp_path / "photos")
    assert len(project.inputs) == 2
    assert project.notes == ()


def test_content_decides_not_the_suffix(tmp_path: Path, project: Project) -> None:
    folder = tmp_path / "mixed"
    _photo(folder / "picture.mp4", 1)
    _photo(folder / "no suffix", 2)
    _video(folder / "clip.mts.mp4").rename(folder / "clip.jpg")
    kinds = {item.name: item.kind for item in project.add(folder)}
    assert kinds == {"picture.mp4": "photo", "no suffix": "photo", "clip.jpg": "video"}
    # A lost list is made again from whatever the copies are called.
    listed = project.inputs
    (project.path / "inputs" / "inputs.json").unlink()
    assert {item.path for item in project.relist_inputs()} == {item.path for item in listed}


def test_the_video_of_a_live_photo_is_left_out(tmp_path: Path, project: Project) -> None:
    _photo(tmp_path / "roll" / "IMG_1.JPG", 1)
    _video(tmp_path / "roll" / "IMG_1.MOV")
    _video(tmp_path / "roll" / "IMG_2.MOV", 9)
    assert {item.name for item in project.add(tmp_path / "roll")} == {"IMG_1.JPG", "IMG_2.MOV"}
    assert [row.reason for row in project.left_out] == ["is the moving part of a Live Photo"]


def test_named_files(tmp_path: Path, project: Project) -> None:
    good, bad = _photo(tmp_path / "good.jpg"), tmp_path / "bad.jpg"
    bad.touch()
    with pytest.raises(InputError, match=r"bad\.jpg is empty"):
        project.add(bad)
    with pytest.raises(InputError, match=r"typo\.jpg does not exist"):
        project.add([good, tmp_path / "typo.jpg"])
    with pytest.raises(InputError, match=r"reconstruct from: bad\.jpg is empty; bad\.jpg is"):
        project.add([bad, bad])
    assert project.inputs == ()
    assert [item.name for item in project.add([bad, good])] == ["good.jpg"]
    assert project.notes == ("Left out 1 of 2 files: bad.jpg is empty.",)
    # Those who name photos one by one in Python want all of them.
    with pytest.raises(InputError, match=r"bad\.jpg is empty"):
        project.add_photos([good, bad])


def test_a_folder_without_anything_says_what_it_holds(tmp_path: Path, project: Project) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("a")
    with pytest.raises(InputError, match=r"docs holds nothing to reconstruct from: a\.txt is a text file\."):
        project.add(tmp_path / "docs")


def test_the_project_inside_the_folder_is_not_its_own_input(tmp_path: Path) -> None:
    _photo(tmp_path / "a.jpg", 1)
    project = Project.create(tmp_path / "recon3d-project")
    project.add(tmp_path)
    _photo(tmp_path / "b.jpg", 2)
    assert [item.name for item in project.add(tmp_path)] == ["a.jpg", "b.jpg"]
    assert len(project.inputs) == 2
    assert project.notes == ()


NAMES = [
    b"M\xfcller.jpg",
    "Müller größe 日本.jpg".encode(),
    b"10:30:45 100% [a] {b} 'c' \"d\" $e.jpg",
    b"line\nbreak.jpg",
    b"-dash.jpg",
    b" leading and  two spaces.jpg",
    b"a" * 246 + b".jpg",
    "語".encode() * 83 + b".jpg",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:12]))
@pytest.mark.parametrize("kind", ["photo", "video"])
def test_names_are_bytes(tmp_path: Path, project: Project, name: bytes, kind: str) -> None:
    made = _photo(tmp_path / "x.jpg") if kind == "photo" else _video(tmp_path / "x.mp4")
    (tmp_path / "in").mkdir()
    odd = made.rename(tmp_path / "in" / os.fsdecode(name))
    for given in (tmp_path / "in", odd):
        (item,) = project.add(given)
        assert item.kind == kind
        json.dumps(item.name, ensure_ascii=False).encode()
        copy = project.input_file(item)
        assert copy.read_bytes() == odd.read_bytes()
        assert len(copy.name.encode()) <= 200
        assert copy.suffix == ".jpg"
    assert len(project.inputs) == 1
    assert project.notes == ()


def test_a_project_that_such_a_name_broke_is_sound_again(tmp_path: Path, project: Project) -> None:
    (item,) = project.add(_photo(tmp_path / "a.jpg"))
    listed = project.path / "inputs" / "inputs.json"
    odd = os.fsdecode(b"M\xfcller.jpg")
    project.input_file(item).rename(project.input_file(item).with_name(odd))
    listed.write_text(listed.read_text().replace("a.jpg", json.dumps(odd)[1:-1]))
    (item,) = project.inputs
    assert item.name == r"M\xfcller.jpg"
    assert project.input_file(item).is_file()


def test_an_error_names_a_file_whose_name_is_not_utf8(tmp_path: Path, project: Project) -> None:
    bad = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller.jpg"))
    bad.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        project.add(bad)
    assert caught.value.message.encode().endswith(rb"M\xfcller.jpg is empty.")


def test_a_project_in_a_folder_that_no_text_can_name_is_refused(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller")
    with pytest.raises(ProjectError, match="not UTF-8"):
        Project.create(folder)
    assert list(tmp_path.iterdir()) == []


# --- known cameras ----------------------------------------------------------------------------------


def _model(folder: Path, names: list[str], size: tuple[int, int]) -> Path:
    folder.mkdir()
    (folder / "cameras.txt").write_text(f"1 PINHOLE {size[0]} {size[1]} 60 60 32 24\n")
    lines = [f"{i + 1} 1 0 0 0 0 0 {i} 1 {name}\n\n" for i, name in enumerate(names)]
    (folder / "images.txt").write_text("# comment\n" + "".join(lines))
    (folder / "points3D.txt").write_text("")
    return folder


@pytest.mark.parametrize("binary", [False, True])
def test_photos_of_another_size_than_the_model_says(tmp_path: Path, project: Project, binary: bool) -> None:
    names = ["a  b.jpg", "c.jpg"]
    for number, name in enumerate(names):
        _photo(tmp_path / "images" / name, number)
    good, bad = _model(tmp_path / "good", names, (64, 48)), _model(tmp_path / "bad", names, (128, 96))
    if binary:
        for model in (good, bad):
            _write_binary(model, names)
    with pytest.raises(InputError, match=r"a  b\.jpg has 64 x 48 pixels.* camera in the model has 128 x 96"):
        project.add_posed_photos(tmp_path / "images", bad)
    assert project.inputs == ()
    assert [item.name for item in project.add_posed_photos(tmp_path / "images", good)] == names


def _write_binary(model: Path, names: list[str]) -> None:
    code = (
        "import sys, pycolmap\nr = pycolmap.Reconstruction(sys.argv[1])\n"
        "for i, name in enumerate(sys.argv[2:], 1): r.image(i).name = name\nr.write(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(model), *names], check=True)
    for text in model.glob("*.txt"):
        text.unlink()


# --- a project for new inputs -----------------------------------------------------------------------


def test_a_new_project_that_received_nothing_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "down" / "p"
    with pytest.raises(InputError), project_for_inputs(root) as project:
        project.add(tmp_path / "typo")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError), project_for_inputs(tmp_path / "mine") as project:
        project.add(tmp_path / "typo")
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_project_with_inputs_stays(tmp_path: Path) -> None:
    photos = [_photo(tmp_path / "a.jpg"), tmp_path / "typo"]
    with pytest.raises(InputError), project_for_inputs(tmp_path / "p") as project:
        _ = [project.add(photo) for photo in photos]
    assert len(Project.open(tmp_path / "p").inputs) == 1
    Project.create(tmp_path / "empty")
    with pytest.raises(InputError), project_for_inputs(tmp_path / "empty") as project:
        project.add(tmp_path / "typo")
    assert Project.open(tmp_path / "empty").inputs == ()

"""The command line as people and the service use it: exit codes, messages, a usable project after."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from recon3d.project import Project


def recon3d(*arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recon3d", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _noise_photo(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=95)
    return path


def _video(path: Path, value: int = 0, frames: int = 40) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(20))
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), value, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _is_refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    # The error is followed by what to do next.
    assert len(done.stderr.strip().splitlines()) >= 2


def test_bad_inputs_are_refused_by_name_and_the_project_stays_usable(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "tiny.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 16)
    project = tmp_path / "p"
    for name in ("empty", "text.mp4", "tiny.jpg", "missing.jpg"):
        _is_refused(recon3d("run", tmp_path / name, "-o", project), 2, name)
    assert Project.create(project, exist_ok=True).inputs == ()
    Project.open(project).add_photos(_noise_photo(tmp_path / "good.jpg", 1))


def test_bad_options_are_refused_by_name(tmp_path: Path) -> None:
    photo = _noise_photo(tmp_path / "a.jpg", 1)
    for arguments, word in (
        (("--quality", "best"), "best"),
        (("--set", "texturing.size=3"), "size"),
        (("--set", "texturing"), "texturing"),
        (("--until", "meshing"), "meshing"),
        (("--engine", "gpu"), "gpu"),
        (("--poses", tmp_path), "--images"),
    ):
        _is_refused(recon3d("run", photo, "-o", tmp_path / "p", *arguments), 2, word)


def test_a_black_video_is_refused(tmp_path: Path) -> None:
    done = recon3d("run", _video(tmp_path / "night.mp4"), "-o", tmp_path / "p")
    _is_refused(done, 2, "night.mp4")
    assert Project.open(tmp_path / "p").runs[-1].state.status == "failed"


def test_two_photos_without_overlap_end_with_a_clear_error(tmp_path: Path) -> None:
    photos = [_noise_photo(tmp_path / f"{i}.jpg", i) for i in range(2)]
    done = recon3d("run", *photos, "-o", tmp_path / "p", "-q", "low")
    _is_refused(done, 1, "overlap")
    project = Project.open(tmp_path / "p")
    assert "feature_extraction" in project.artifacts
    assert project.results.report is not None


def test_what_is_left_out_is_told_on_the_terminal_in_events_and_in_the_report(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "100MEDIA").mkdir(parents=True)
    _noise_photo(photos / "one.jpg", 1)
    _noise_photo(photos / "100MEDIA" / "two.jpg", 2)
    (photos / "notes.txt").write_text("Film the north side again.")
    (photos / "empty.jpg").touch()
    told = "Left out 2 of 4 files in photos/: empty.jpg is empty; notes.txt is a text file."
    command = ("run", photos, "-o", tmp_path / "p", "--until", "frame_extraction")
    done = recon3d(*command)
    assert done.returncode == 0, done.stderr
    assert told in done.stderr
    # Every later run tells it, too, though nothing is left to do.
    again = recon3d("run", "-o", tmp_path / "p", "--until", "frame_extraction", "--events")
    assert json.loads(again.stdout.splitlines()[0])["notes"] == [told]
    results = Project.open(tmp_path / "p").results
    assert results.report is not None
    assert 'notes.txt <span class="bad">is a text file</span>' in results.report.read_text()
    rows = json.loads((results.folder / "report.json").read_text())["left_out"]
    assert [(row["name"], row["reason"]) for row in rows] == [
        ("empty.jpg", "is empty"),
        ("notes.txt", "is a text file"),
    ]
    assert told in recon3d("info", tmp_path / "p").stdout
    # The report is written anew when only that changed.
    (photos / "empty.jpg").unlink()
    (photos / "more.txt").write_text("More")
    assert recon3d(*command).returncode == 0
    rows = json.loads((results.folder / "report.json").read_text())["left_out"]
    assert [row["name"] for row in rows] == ["empty.jpg", "more.txt", "notes.txt"]


def test_inputs_that_join_others_are_told(tmp_path: Path) -> None:
    photos = [_noise_photo(tmp_path / f"{i}.jpg", i) for i in range(3)]
    command = ("-o", tmp_path / "p", "--until", "frame_extraction")
    assert "already holds" not in recon3d("run", *photos[:2], *command).stderr
    assert "already holds" not in recon3d("run", *photos[:2], *command).stderr
    done = recon3d("run", *photos, *command)
    assert f"{tmp_path / 'p'} already holds 2 photos; adding 1 photo: 2.jpg" in done.stderr


def test_a_mistyped_command_leaves_nothing(tmp_path: Path) -> None:
    photo = _noise_photo(tmp_path / "a.jpg", 1)
    (tmp_path / "notes.txt").write_text("none")
    _is_refused(recon3d("run", "-o", tmp_path / "typo"), 2, "typo is not a recon3d project")
    for option in ("--until", "--rerun-from"):
        _is_refused(recon3d("run", photo, "-o", tmp_path / "p", option, "mesh"), 2, "'mesh'")
    _is_refused(recon3d("run", tmp_path / "notes.txt", "-o", tmp_path / "p"), 2, "is a text file")
    _is_refused(
        recon3d("run", "--poses", tmp_path, "--images", tmp_path, "-o", tmp_path / "p"),
        2,
        "not a COLMAP model",
    )
    assert {path.name for path in tmp_path.iterdir()} == {"a.jpg", "notes.txt"}


def test_names_that_no_text_can_hold_go_through_every_run(tmp_path: Path) -> None:
    _noise_photo(tmp_path / "a.jpg", 1).rename(tmp_path / os.fsdecode(b"M\xfcller.jpg"))
    _noise_photo(tmp_path / "b.jpg", 2).rename(tmp_path / ("b" * 246 + ".jpg"))
    (tmp_path / os.fsdecode(b"leer\xfc.jpg")).touch()
    _video(tmp_path / "x.mp4", value=0).rename(tmp_path / "10:30:45 100% [a] {b} 'c'.mp4")
    code = "import os, sys; os.chdir(sys.argv.pop(1)); from recon3d.cli.commands import main; main()"
    names = [path.name for path in tmp_path.iterdir()]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path, "run", *names, "-o", "p", "--until", "frame_extraction"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert r"leer\xfc.jpg is empty" in done.stderr
    assert len(Project.open(tmp_path / "p").frames) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_folder_without_write_permission(tmp_path: Path, small_disk: Path) -> None:
    # Root may write into any folder, but not onto a disk that is mounted read-only.
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    photo = _noise_photo(tmp_path / "a.jpg", 1)
    _is_refused(recon3d("run", photo, "-o", small_disk / "p"), 2, str(small_disk / "p"), "cannot be written")


def test_a_truncated_video_gives_what_is_left_or_says_so(tmp_path: Path, data_dir: Path) -> None:
    data = (data_dir / "gt_bust_video" / "video.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    done = recon3d(
        "run", tmp_path / "cut.mp4", "-o", tmp_path / "p", "--until", "frame_extraction", "-q", "low"
    )
    if done.returncode == 0:
        fallbacks = Project.open(tmp_path / "p").artifacts["frame_extraction"].manifest.fallbacks
        assert any("cut.mp4" in text for text in fallbacks)
    else:
        _is_refused(done, 2, "cut.mp4")
    (tmp_path / "stub.mp4").write_bytes(data[:2000])
    _is_refused(recon3d("run", tmp_path / "stub.mp4", "-o", tmp_path / "q"), 2, "stub.mp4")


def test_a_full_disk_is_explained_and_the_run_resumes(
    tmp_path: Path, small_disk: Path, data_dir: Path
) -> None:
    photos = sorted((data_dir / "strecha_fountain-P11_1600" / "images").glob("*.jpg"))[:3]
    for index, photo in enumerate(photos):
        Image.open(photo).resize((800, 534)).save(tmp_path / f"{index}.jpg", quality=90)
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * 1_500_000)
    done = recon3d(
        "run", *sorted(tmp_path.glob("?.jpg")), "-o", small_disk / "p", "--until", "feature_extraction"
    )
    _is_refused(done, done.returncode, "space")
    assert done.returncode in (1, 2)
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = recon3d(
        "run", *sorted(tmp_path.glob("?.jpg")), "-o", small_disk / "p", "--until", "feature_extraction"
    )
    assert again.returncode == 0, again.stderr


def test_events_are_json_lines_and_sigterm_cancels(tmp_path: Path, data_dir: Path) -> None:
    images = data_dir / "strecha_fountain-P11_1600" / "images"
    command = [sys.executable, "-m", "recon3d", "run", str(images), "-o", str(tmp_path / "p"), "--events"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        event = json.loads(line)
        seen.append(event["type"])
        if (
            event["type"] == "stage_progress"
            and event["stage"] == "feature_extraction"
            and event["done"] >= 1
        ):
            asked = time.monotonic()
            process.send_signal(signal.SIGTERM)
            break
    rest = [json.loads(line)["type"] for line in process.stdout]
    assert process.wait(timeout=20) == 130
    assert time.monotonic() - asked < 4
    assert seen[0] == "run_started"
    assert rest[-1] == "run_cancelled"
    process.stdout.close()
    work = list((tmp_path / "p" / "work").glob("feature_extraction-*"))
    assert len(work) == 1


def test_info_and_export_say_what_is_missing(tmp_path: Path) -> None:
    Project.create(tmp_path / "p")
    assert recon3d("info", tmp_path / "p").returncode == 0
    _is_refused(recon3d("export", tmp_path / "p", "--format", "glb"), 2, "textured mesh")
    _is_refused(recon3d("info", tmp_path), 2, "not a recon3d project")


def test_doctor_finds_this_machine_well() -> None:
    done = recon3d("doctor")
    assert done.returncode == 0, done.stdout
    for package in ("pycolmap", "open3d", "numba", "GPU"):
        assert package in done.stdout


def test_the_command_is_installed() -> None:
    path = shutil.which("recon3d", path=str(Path(sys.executable).parent))
    assert path is not None
    assert subprocess.run([path, "--help"], capture_output=True, check=False).returncode == 0

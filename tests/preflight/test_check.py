"""The quick look at the inputs: bad ones each get their own sentence, good ones pass."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import recon3d
from recon3d.cli.commands import app
from recon3d.errors import Cancelled, InputError, ReconstructionError, StageError
from recon3d.io.atomic import write_json
from recon3d.layout import CHECK_FILE, Frame, FrameList, write_frame_list
from recon3d.options import resolve_options
from recon3d.preflight import history, work
from recon3d.preflight.check import _environment, check_project, machine_factors
from recon3d.preflight.cost import Job, Speed, estimate, expected_counts, stage_work
from recon3d.preflight.examine import examine
from recon3d.preflight.findings import find
from recon3d.preflight.foretelling import foretell
from recon3d.preflight.history import machine_speed
from recon3d.preflight.measuring import ImageMeasure, Measures
from recon3d.preflight.result import InputCheck
from recon3d.preflight.sampling import draw
from recon3d.project import gathering
from recon3d.project.artifacts import Artifact, Manifest
from recon3d.project.gathering import gather
from recon3d.stage_table import STAGE_NAMES
from recon3d.stages.mesh_generation.fit import PHOTO_PIXELS
from recon3d.surface.refinement import SIZES
from tests.synthetic import media

SIZE = (640, 480)
GOOD_SETS = [
    "dim_cyprus", "gt_dancinggirl_photos", "hloc_sacre_coeur", "monstree_1600", "nlesc_rock_1600",
    "opensfm_berlin_1600", "saharov32_small", "sceaux_1600", "strecha_fountain-P11_1600", "temple47",
]  # fmt: skip
GOOD_VIDEOS = ["gt_bust_video/video.mp4", "video_gopro/karma.mp4", "video_bic/bic.mov"]


def write(folder: Path, images: list[np.ndarray]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = []
    for number, image in enumerate(images):
        paths.append(folder / f"{number:02d}.jpg")
        Image.fromarray(image).save(paths[-1], quality=92)
    return paths


def turned(picture: np.ndarray, degrees: float, focal: float = 600.0) -> np.ndarray:
    """The view of a camera that has turned by an angle: K R K⁻¹."""
    height, width = picture.shape[:2]
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    a = np.radians(degrees)
    R = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    crop = np.array([[1, 0, -(width - SIZE[0]) / 2], [0, 1, -(height - SIZE[1]) / 2], [0, 0, 1.0]])
    return cv2.warpPerspective(picture, crop @ K @ R @ np.linalg.inv(K), SIZE, flags=cv2.INTER_LINEAR)


def layers(shift: float, seed: int = 0) -> np.ndarray:
    """Near and far things, seen by a camera that has moved sideways: strips move by their depth."""
    picture = media.texture(1400, 480, seed)
    view = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    for strip in range(8):
        rows = slice(60 * strip, 60 * strip + 60)
        move = np.float32([[1, 0, -300 - shift * (1 + strip / 3)], [0, 1, 0]])
        view[rows] = cv2.warpAffine(picture[rows], move, (SIZE[0], 60), flags=cv2.INTER_LINEAR)
    return view


def looked(paths: list[Path]) -> InputCheck:
    videos = [path for path in paths if path.suffix == ".mp4"]
    return examine([path for path in paths if path not in videos], videos)


@pytest.fixture(scope="module")
def panorama() -> list[np.ndarray]:
    picture = media.texture(1000, 600)
    return [turned(picture, angle) for angle in np.linspace(-12, 12, 10)]


def test_a_camera_that_only_turns_is_refused(tmp_path: Path, panorama: list[np.ndarray]) -> None:
    found = looked(write(tmp_path / "p", panorama))
    assert found.level == "hopeless"
    assert found.sentences == ("The camera only turns on the spot: such images have no depth.",)
    assert "sideways" in found.advice[0]
    assert found.estimates == ()


def test_a_camera_that_moves_sideways_passes(tmp_path: Path) -> None:
    found = looked(write(tmp_path / "p", [layers(12.0 * i) for i in range(8)]))
    assert found.level == "good", found
    assert [e.quality for e in found.estimates] == ["low", "medium", "high", "extreme"]
    assert [e.seconds for e in found.estimates] == sorted(e.seconds for e in found.estimates)


def test_a_plane_seen_from_several_places_is_no_rotation(tmp_path: Path) -> None:
    # A wall, which one homography explains as well; the camera moves along it.
    picture = media.texture(1400, 700)
    views = [cv2.warpAffine(picture, np.float32([[1, 0, -40.0 * i], [0, 1, -100]]), SIZE) for i in range(8)]
    assert looked(write(tmp_path / "p", views)).level == "good"


def test_a_camera_at_rest_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    still = layers(0.0)
    noisy = [np.clip(still + rng.normal(0, 2, still.shape), 0, 255).astype(np.uint8) for _ in range(5)]
    found = looked(write(tmp_path / "p", noisy))
    assert found.sentences == ("The camera stands still, and nothing moves: there is no depth to find.",)
    assert found.level == "hopeless"


def test_an_object_turning_before_a_still_background_is_told(tmp_path: Path) -> None:
    behind, things = layers(0.0), media.texture(1400, 700, seed=3)
    views = []
    for i in range(8):
        view = behind.copy()
        view[120:400, 160:480] = things[200:480, 100 + 25 * i : 420 + 25 * i]
        views.append(view)
    found = looked(write(tmp_path / "p", views))
    assert found.level == "doubtful"
    assert "turntable" in found.sentences[0]
    assert "background" in found.advice[0]


@pytest.mark.parametrize(
    ("level", "word", "advice"),
    [(3, "black", "lens cap"), (252, "white", "Expose less."), (128, "without texture", "newspaper")],
)
def test_blank_images_are_refused_with_the_cause(tmp_path: Path, level: int, word: str, advice: str) -> None:
    blank = [np.full((480, 640, 3), level, np.uint8)] * 3
    found = looked(write(tmp_path / "p", blank))
    assert found.level == "hopeless"
    assert found.sentences == (f"Of 3 images looked at, 0 show anything: 3 {word}.",)
    assert len(found.advice) == 1
    assert advice in found.advice[0]


def test_a_run_of_blank_images_is_refused_without_offering_force(tmp_path: Path) -> None:
    project = recon3d.Project.create(tmp_path / "project")
    project.add_photos(write(tmp_path / "p", [np.full((480, 640, 3), g, np.uint8) for g in (2, 3, 4)]))
    with pytest.raises(InputError, match="0 show anything: 3 black") as caught:
        recon3d.Pipeline("low").run(project)
    assert caught.value.hint == "Check the lens cap and the light, or expose longer."


def test_photos_of_12_bits_are_read_as_a_run_reads_them(tmp_path: Path) -> None:
    paths = []
    for i in range(4):
        paths.append(tmp_path / f"{i}.png")
        # 12 bits in files of 16: read as 16 bits, they are black.
        cv2.imwrite(str(paths[-1]), layers(12.0 * i).astype(np.uint16) * 16)
    assert looked(paths).level == "good"
    # One mapping for all of them: a dark photo among bright ones stays dark.
    dark = tmp_path / "dark.png"
    cv2.imwrite(str(dark), layers(60.0).astype(np.uint16) // 8)
    drawn = draw([*paths, dark], [])
    assert drawn.samples[0].gray.mean() > 60
    assert drawn.samples[4].gray.mean() < 4


def test_a_wall_without_texture_is_doubtful(tmp_path: Path) -> None:
    views = []
    for i in range(6):
        view = np.full((480, 640, 3), 170, np.uint8)
        for k in range(12):
            cv2.circle(view, (60 + 50 * k - 8 * i, 100 + 23 * k), 6, (90, 90, 90), -1)
        views.append(view)
    found = looked(write(tmp_path / "p", views))
    assert found.level == "doubtful"
    assert any("little texture" in sentence for sentence in found.sentences), found


def test_dark_images_are_told(tmp_path: Path) -> None:
    dark = [(layers(12.0 * i) // 5) for i in range(6)]
    found = looked(write(tmp_path / "p", dark))
    assert any("too dark" in sentence for sentence in found.sentences), found


def test_too_few_images(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [layers(0.0)])
    assert looked(one).sentences == ("There is one image only: depth needs two.",)
    two = looked(write(tmp_path / "two", [layers(0.0), layers(12.0)]))
    assert two.level == "doubtful"
    assert "two images only" in two.sentences[0]


def test_unrelated_images_do_not_overlap(tmp_path: Path) -> None:
    found = looked(write(tmp_path / "p", [layers(0.0, seed) for seed in range(6)]))
    assert found.level == "doubtful"
    assert found.sentences == ("None of the 6 photos looked at overlaps with another one.",)


def test_three_photos_that_do_not_overlap_are_doubtful_but_not_beside_a_video(tmp_path: Path) -> None:
    strangers = write(tmp_path / "p", [layers(0.0, seed) for seed in range(3)])
    found = looked(strangers)
    assert found.level == "doubtful"
    assert found.sentences == ("None of the 3 photos looked at overlaps with another one.",)
    film = media.write_video(tmp_path / "v.mp4", [layers(4.0 * i, seed=9) for i in range(40)])
    assert "overlaps" not in " ".join(looked([*strangers, film]).sentences)


def test_few_photos_of_a_scene_among_unrelated_ones_are_doubtful(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon3d.preflight.measuring._SEARCH", 60.0)  # machines of CI are busy
    scene = [layers(12.0 * i, seed=100) for i in range(6)]
    found = looked(write(tmp_path / "p", [*scene, *(layers(0.0, seed) for seed in range(8))]))
    assert found.level == "doubtful"
    assert found.sentences == ("Only 6 of 14 photos looked at overlap with another one.",)


def test_the_order_of_photos_means_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon3d.preflight.measuring._SEARCH", 60.0)  # machines of CI are busy
    # Two scenes in turn, so that no neighbours overlap.
    views = [layers(12.0 * (i // 2), seed=i % 2) for i in range(14)]
    found = looked(write(tmp_path / "p", views))
    assert found.level == "good"
    assert "14 of 14 photos overlap with another one" in found.sentences[0]


def test_many_photos_under_random_names_are_not_doubtful(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon3d.preflight.measuring._SEARCH", 60.0)  # machines of CI are busy
    # A walk along a facade: each photo overlaps with four others, of which the sample often has none.
    facade = media.texture(320 + 100 * 199, 240)
    views = [facade[:, 100 * i : 100 * i + 320] for i in np.random.default_rng(0).permutation(200)]
    found = looked(write(tmp_path / "p", views))
    assert found.level == "good", found
    # The same number of photos that show different things.
    strangers = [facade[:, 320 * (i % 60) : 320 * (i % 60) + 320] for i in range(60)]
    assert looked(write(tmp_path / "q", strangers)).level == "doubtful"
    # A sample of thousands tells nothing, and says so.
    few = Measures([ImageMeasure("", 900, 1.0, 128, 60, 0, 0)] * 32, [], 32, 1, given=3000, in_order=0.0)
    told = find(few, total=3000)
    assert told.doubts == []
    assert told.notes == [
        "The names of the photos are in no order: whether they overlap cannot be told from 32 of 3000."
    ]


def test_a_shuffled_turn_of_the_camera_is_refused(tmp_path: Path, panorama: list[np.ndarray]) -> None:
    order = np.random.default_rng(1).permutation(len(panorama))
    found = looked(write(tmp_path / "p", [panorama[i] for i in order]))
    assert found.sentences == ("The camera only turns on the spot: such images have no depth.",)


def test_a_check_reads_only_files_of_the_same_size_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write(tmp_path / "photos", [layers(12.0 * i) for i in range(4)])
    (tmp_path / "photos" / "copy.jpg").write_bytes(paths[2].read_bytes())
    hashed: list[str] = []
    digest = gathering.digest_of
    monkeypatch.setattr(gathering, "digest_of", lambda path: hashed.append(path.name) or digest(path))
    files, left_out = gather([tmp_path / "photos"], None, kinds=["photo"], strict=False, hashed=False)
    assert len(files) == 4
    assert [(row.name, row.reason) for row in left_out] == [("copy.jpg", "is a copy of 02.jpg")] or [
        (row.name, row.reason) for row in left_out
    ] == [("02.jpg", "is a copy of copy.jpg")]
    assert sorted(hashed) == ["02.jpg", "copy.jpg"]


def test_frames_of_a_video_are_foretold() -> None:
    # Runs took 50 at low. Far samples of this video do not overlap, which says nothing against it.
    found = looked([Path(__file__).parents[2] / "examples" / "data" / "bust.mp4"])
    assert found.level == "good"
    assert "overlap" not in found.sentences[0]
    assert 45 <= found.estimates[0].frames <= 50


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    paths = write(tmp_path / "p", [layers(12.0 * i) for i in range(4)])
    (tmp_path / "p" / "page.jpg").write_text("<html></html>")
    found = looked([*paths, tmp_path / "p" / "page.jpg"])
    assert found.level == "doubtful"
    assert found.sentences[0].startswith("1 file cannot be read: ")
    assert "page.jpg" in found.sentences[0]
    assert ".." not in found.sentences[0]
    (tmp_path / "p" / "page.png").write_text("<html></html>")
    both = looked([*paths, tmp_path / "p" / "page.jpg", tmp_path / "p" / "page.png"])
    assert both.sentences[0].startswith("2 files cannot be read: ")
    assert ".;" not in both.sentences[0]


def test_what_is_given_twice_is_told_so(tmp_path: Path) -> None:
    paths = write(tmp_path / "photos", [layers(3.0 * i) for i in range(11)])
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(paths[2].read_bytes())
    _, again = gather([paths[0].parent, paths[0].parent], None, kinds=["photo"], strict=False)
    assert {row.reason for row in again} == {"was given twice"}
    _, copied = gather([paths[0].parent, copy], None, kinds=["photo"], strict=False)
    assert [row.reason for row in copied] == ["is a copy of 02.jpg"]
    # A check writes no report.
    found = recon3d.check([tmp_path / "photos", tmp_path / "photos"])
    assert found.notes[0].endswith("09.jpg was given twice; and 1 more.")


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_an_interpreter_that_cannot_be_started_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write(tmp_path / "photos", [layers(0.0), layers(12.0)])
    python = tmp_path / "python"
    python.write_text("")  # not executable
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(StageError, match=r"cannot start Python \(.*/python\): Permission denied\.\nHint"):
        recon3d.check(paths)


def test_mixed_cameras_are_a_note(tmp_path: Path) -> None:
    paths = write(tmp_path / "p", [layers(12.0 * i) for i in range(6)])
    smaller = tmp_path / "p" / "small.jpg"
    Image.fromarray(layers(80.0)).resize((480, 360)).save(smaller)
    found = looked([*paths, smaller])
    assert found.level == "good"
    assert found.notes == ("The photos come from 2 cameras or zooms: 6 of 640 x 480; 1 of 480 x 360.",)


def test_a_video_that_only_turns_is_refused_by_a_run(tmp_path: Path) -> None:
    picture = media.texture(1000, 600)
    frames = [turned(picture, angle) for angle in np.linspace(-14, 14, 90)]
    video = media.write_video(tmp_path / "turn.mp4", frames, rate=15)
    project = recon3d.Project.create(tmp_path / "project")
    project.add_video(video)
    with pytest.raises(ReconstructionError, match="only turns on the spot") as caught:
        recon3d.Pipeline("low").run(project)
    assert "--force" in caught.value.hint
    assert project.artifacts == {}
    assert project.runs[-1].state.check is not None
    assert project.runs[-1].state.check.level == "hopeless"


def test_what_was_looked_at_is_not_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path / "photos", [layers(12.0 * i) for i in range(4)])
    project = recon3d.Project.create(tmp_path / "project")
    project.add_photos(paths[:3])
    first = check_project(project)
    monkeypatch.setattr("recon3d.preflight.check._in_another_process", None)
    assert check_project(project) == first
    assert recon3d.check(project.path) == first
    project.add_photos(paths[3])
    with pytest.raises(TypeError):  # other inputs are looked at
        check_project(project)


def test_a_check_is_cancelled_soon(tmp_path: Path) -> None:
    paths = write(tmp_path / "photos", [layers(6.0 * i) for i in range(20)])
    project = recon3d.Project.create(tmp_path / "project")
    project.add_photos(paths)
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        check_project(project, cancelled=cancelled)
    assert time.monotonic() - started < 2.0


def test_the_process_that_decodes_files_gets_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "s")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:password@host/db")
    assert {"SECRET_KEY", "DATABASE_URL"}.isdisjoint(_environment())
    assert "PATH" in _environment()


def test_missing_and_absent_inputs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        recon3d.check(tmp_path / "none.mp4")
    with pytest.raises(InputError, match="no input"):
        recon3d.check(recon3d.Project.create(tmp_path / "empty"))


def test_the_commands(tmp_path: Path, panorama: list[np.ndarray]) -> None:
    good = write(tmp_path / "good", [layers(12.0 * i) for i in range(5)])
    shown = CliRunner().invoke(app, ["check", str(tmp_path / "good")])
    assert shown.exit_code == 0, shown.output
    assert "Good. 5 images looked at" in shown.output
    assert "extreme" in shown.output
    as_json = CliRunner().invoke(app, ["check", "--json", str(tmp_path / "good")])
    assert InputCheck.from_json(json.loads(as_json.stdout)).level == "good"
    write(tmp_path / "bad", panorama)
    refused = CliRunner().invoke(app, ["check", str(tmp_path / "bad")])
    assert refused.exit_code == 2
    assert "Hopeless. The camera only turns" in refused.output
    probed = CliRunner().invoke(app, ["probe", str(good[0])])
    assert "640 x 480" in probed.output
    probed = CliRunner().invoke(app, ["probe", "--json", str(good[0])])
    assert json.loads(probed.stdout)[0]["facts"]["size"]["value"] == [640, 480]


# --- the model of the cost --------------------------------------------------------------------------


def test_slower_machines_and_more_workers_change_the_time() -> None:
    job = Job(40, 0, 1600, 1200, 1000.0, 0.0, 40_000_000, 40_000_000)
    options = resolve_options("medium", {})
    even = Speed(dict.fromkeys(STAGE_NAMES, 1.0), 2.0, "")
    slow = Speed(dict.fromkeys(STAGE_NAMES, 2.0), 2.0, "")
    two = estimate("medium", job, options, even, 2)
    assert estimate("medium", job, options, slow, 2).seconds == pytest.approx(2 * two.seconds, rel=0.05)
    eight = estimate("medium", job, options, even, 8)
    assert two.seconds / 4 < eight.seconds < two.seconds
    assert eight.memory > two.memory


def test_other_work_makes_the_time_longer() -> None:
    job = Job(40, 0, 1600, 1200, 1000.0, 0.0, 40_000_000, 40_000_000)
    options = resolve_options("low", {})
    factors = dict.fromkeys(STAGE_NAMES, 1.0)
    alone = estimate("low", job, options, Speed(factors, 2.0, "", cores=4), 2)
    beside = estimate("low", job, options, Speed(factors, 2.0, "", busy=2.0, cores=4), 2)
    crowded = estimate("low", job, options, Speed(factors, 2.0, "", busy=6.0, cores=4), 2)
    flooded = estimate("low", job, options, Speed(factors, 2.0, "", busy=60.0, cores=4), 2)
    assert flooded.seconds == crowded.seconds  # which will not last
    assert beside.seconds == alone.seconds  # two cores are free
    assert crowded.seconds == pytest.approx(2 * alone.seconds, rel=0.01)


def test_a_kept_run_with_little_work_changes_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first run after the installation compiles: a tiny set seems three times slower than it is.
    monkeypatch.setattr(history, "_projects", lambda folders: list(folders))
    rows = {
        name: [(stage, work, 3.0 if stage == "texturing" else 1.0) for stage in STAGE_NAMES]
        for name, work in (("tiny", 2.0), ("long", 200.0))
    }
    monkeypatch.setattr(history, "_ratios", lambda project: rows[project.name])
    assert machine_speed([tmp_path / "tiny"]).factors["texturing"] < 1.2
    assert machine_speed([tmp_path / "long"]).factors["texturing"] > 2.5


def test_the_model_foretells_kept_runs() -> None:
    """CPU-seconds of whole runs on the machine of the prices, in this order: berlin, girl, rock at low."""
    # (images, image size, features of an image of 640 pixels, bytes), seconds of all stages
    measured = [
        (Job(3, 0, 1600, 1200, 1500.0, 0.0, 2_000_000, 2_000_000), 31.9),
        (Job(24, 0, 1280, 960, 800.0, 0.0, 7_000_000, 7_000_000), 93.6),
        (Job(53, 0, 1600, 1067, 1500.0, 0.0, 30_000_000, 30_000_000), 241.5),
    ]
    options = resolve_options("low", {})
    for job, seconds in measured:
        counts = expected_counts(job, options)
        foretold = sum(stage_work(stage, counts) for stage in STAGE_NAMES)
        assert seconds / 1.5 < foretold < 1.5 * seconds


def test_the_model_knows_the_photos_that_refine_a_surface() -> None:
    """It has the numbers twice, so that a check need not load the mesh's code."""
    assert max(SIZES) == work._PHOTO_SCALE
    assert work._PHOTO_MEGAPIXELS * 1e6 == PHOTO_PIXELS


def test_without_kept_runs_the_speed_is_calibrated_and_uncertain(tmp_path: Path) -> None:
    speed = machine_speed([tmp_path])
    assert speed.error == 2.0
    assert "calibration" in speed.source
    assert 0.1 < speed.factors["dense_reconstruction"] < 20


# --- real inputs ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", GOOD_SETS)
def test_every_good_set_of_the_data_folder_passes(name: str, data_dir: Path) -> None:
    found = recon3d.check(data_dir / name / "images")
    assert found.level == "good", found


@pytest.mark.slow
@pytest.mark.parametrize("name", GOOD_VIDEOS)
def test_every_good_video_of_the_data_folder_passes(name: str, data_dir: Path) -> None:
    found = recon3d.check(data_dir / name)
    assert found.level == "good", found


@pytest.mark.parametrize("name", ["strecha_fountain-P11_1600", "opensfm_berlin_1600"])
def test_real_photos_pass(name: str, data_dir: Path) -> None:
    assert recon3d.check(data_dir / name / "images").level == "good"


def test_a_check_tells_the_seconds_of_each_stage_on_free_cores() -> None:
    job = Job(24, 0, 1280, 960, 800.0, 0.0, 7_000_000, 7_000_000)
    options = resolve_options("low", {})
    speed = Speed(dict.fromkeys(STAGE_NAMES, 2.0), 1.3, "", start=2.0, busy=1.0, cores=2)
    made = estimate("low", job, options, speed, 2)
    same = estimate("low", job, options, Speed({}, 1.3, ""), 2)
    assert made.stages == pytest.approx({name: 2 * same.stages[name] for name in STAGE_NAMES}, abs=0.02)
    start = work.cost_model()["parallel"]["start"]["seconds"]
    assert same.seconds == pytest.approx(start + sum(same.stages.values()), abs=0.1)
    assert made.seconds == pytest.approx(1.5 * 2 * same.seconds, abs=0.3)  # other work may end


def test_finished_stages_tell_what_the_later_ones_have_to_do(tmp_path: Path) -> None:
    options = resolve_options("low", {})

    def artifact(stage: str, **counts: int) -> Artifact:
        manifest = Manifest(
            stage=stage, stage_version=1, fingerprint="a", inputs={}, options={}, seed=0, engine="cpu",
            workers=2, versions={}, started=0, seconds=1, cpu_seconds=1, peak_memory=0, counts=counts,
            fallbacks=(),
        )  # fmt: skip
        return Artifact(tmp_path, manifest)

    frames = [Frame(f"{i}.jpg", "photo", "", None, 800, 600, None, None, None, 0) for i in range(10)]
    write_frame_list(tmp_path, FrameList(tuple(frames)))
    done = {"frame_extraction": artifact("frame_extraction", scanned=0)}
    first = foretell(done, options, 2, {})
    assert set(first) == set(STAGE_NAMES)
    done["dense_reconstruction"] = artifact("dense_reconstruction", points=2_000_000)
    second = foretell(done, options, 2, {"texturing": 3.0})
    model = work.cost_model()
    depth_pixels = 0.4 * 0.3  # megapixels of a depth map at low
    more = 2 - model["typical"]["counts"]["points"] * 10 * depth_pixels
    serial = 1 - model["parallel"]["share"]["mesh_generation"] / 2
    assert second["mesh_generation"] - first["mesh_generation"] == pytest.approx(
        model["cpu"]["mesh_generation"]["million_points"] * more * serial
    )
    assert second["texturing"] == pytest.approx(3 * first["texturing"])
    assert second["feature_matching"] == first["feature_matching"]


def test_the_speed_of_the_machine_is_found_without_looking_at_the_inputs(tmp_path: Path) -> None:
    project = recon3d.Project.create(tmp_path / "p")
    found = machine_factors(project)
    assert found.keys() == set(STAGE_NAMES)
    assert min(found.values()) > 0
    # A check knows it already, for so many workers.
    kept = InputCheck("good", (), (), (), (), "", 0, 0.0, factors={"texturing": 77.0}).to_json()
    write_json(project.path / CHECK_FILE, {"inputs": "", "workers": None, "runs": 0, "check": kept})
    assert machine_factors(project) == {"texturing": 77.0}
    assert machine_factors(project, workers=3).keys() == set(STAGE_NAMES)
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        machine_factors(project, workers=3, cancelled=cancelled)

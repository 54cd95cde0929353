import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from recon3d.compute import InlineContext
from recon3d.errors import InputError
from recon3d.options import FrameExtractionOptions, resolve_options
from recon3d.selection.choose import choose_frames
from recon3d.selection.sharpness import blur
from recon3d.stages.frame_extraction import stage as frame_extraction
from recon3d.stages.frame_extraction import video_tasks as _video_tasks
from tests.synthetic.media import slide, texture, write_inputs, write_video

PICTURE = texture()
VIEWS = slide(PICTURE, [100 + 4 * k for k in range(90)])


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "walk.mp4", VIEWS, options={"g": "15"})


def extract(tmp_path: Path, files: list[Path], **options: Any) -> tuple[dict[str, Any], InlineContext, Path]:
    kind, names = options.pop("kind", None), options.pop("names", None)
    inputs = write_inputs(tmp_path / "inputs", files, kind, names)
    out, context = tmp_path / "out", InlineContext()
    frame_extraction.run({"inputs": inputs}, FrameExtractionOptions(**options), out, context)
    document = json.loads((out / "frames.json").read_text())
    for frame in document["frames"]:
        image = cv2.imread(
            str(out / "images" / frame["name"]), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
        )
        assert image is not None
        assert image.dtype == np.uint8
        assert image.shape[:2] == (frame["height"], frame["width"])
    stems = [Path(frame["name"]).with_suffix("").as_posix().casefold() for frame in document["frames"]]
    assert len(set(stems)) == len(stems)
    return document, context, out


def photo(path: Path, index: int = 0, size: tuple[int, int] = (320, 240), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.ascontiguousarray(VIEWS[index][..., ::-1])).resize(size)
    image.save(path, **({"quality": 95} | options))
    return path


def with_exif(orientation: int = 1, model: str = "One", focal_35mm: int = 36) -> Image.Exif:
    exif = Image.Exif()
    exif.update({0x0112: orientation, 0x0110: model})
    exif.get_ifd(0x8769)[0xA405] = focal_35mm
    exif.get_ifd(0x8825).update({1: "N", 2: (50.0, 0.0, 0.0), 3: "E", 4: (8.0, 30.0, 0.0), 6: 120.0})
    return exif


# --- videos -------------------------------------------------------------------------------------


def test_frames_of_a_video(tmp_path: Path, video: Path) -> None:
    document, context, out = extract(tmp_path, [video], motion=0.1, min_frames=2)
    frames = document["frames"]
    # 89 steps of 4 pixels of 320: 1.11 of the image, at a tenth each.
    assert len(frames) == pytest.approx(12, abs=1)
    names = [frame["name"] for frame in frames]
    assert names == sorted(names)
    assert document["sequences"] == [names]
    assert {frame["camera"] for frame in frames} == {0}
    assert {frame["kind"] for frame in frames} == {"video"}
    for frame in frames:
        image = cv2.imread(str(out / "images" / frame["name"]))
        assert cv2.PSNR(image, VIEWS[round(frame["time"] * 30)]) > 28
        assert frame["focal_px"] is None
        assert frame["sharpness"] > 0
    assert context.counts["frames"] == len(frames)
    assert context.counts["scanned"] == 90
    assert not context.fallbacks
    assert sorted(p.name for p in out.iterdir()) == ["frames.json", "images", "scores.json"]


def test_scores_are_kept_for_plots(tmp_path: Path, video: Path) -> None:
    document, _, out = extract(tmp_path, [video])
    scores = json.loads((out / "scores.json").read_text())["videos"][0]
    assert scores["source"] == "walk.mp4"
    assert {len(scores[key]) for key in ("time", "sharpness", "motion", "usable", "taken")} == {90}
    assert sum(scores["motion"]) == pytest.approx(89 * 4 / 320, rel=0.05)
    taken = [time for time, used in zip(scores["time"], scores["taken"], strict=True) if used]
    assert taken == pytest.approx([frame["time"] for frame in document["frames"]], abs=1e-3)


def test_parts_scanned_apart_give_the_same_frames(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _, _ = extract(tmp_path / "whole", [video])
    monkeypatch.setattr(_video_tasks, "PART_SECONDS", 0.7)
    plan = _video_tasks.plan_video(video)
    assert isinstance(plan, _video_tasks.VideoPlan)
    assert len(plan.starts) >= 4
    parts, _, _ = extract(tmp_path / "parts", [video])
    assert [f["name"] for f in parts["frames"]] == [f["name"] for f in whole["frames"]]


def test_a_pause_gives_no_more_frames_and_blurred_ones_are_not_taken(tmp_path: Path) -> None:
    positions = [100 + 4 * k for k in range(40)] + [256.0] * 60 + [256 + 4.0 * k for k in range(1, 41)]
    views = slide(PICTURE, positions)
    blurred = [5, 13, 21, 29, 110, 118, 126]
    for index in blurred:
        views[index] = cv2.blur(views[index], (11, 3))
    document, _, _ = extract(tmp_path, [write_video(tmp_path / "v.mp4", views)], min_frames=2)
    taken = [round(frame["time"] * 30) for frame in document["frames"]]
    assert not set(taken) & set(blurred)
    assert sum(40 <= index < 100 for index in taken) <= 1


def test_progress_goes_up_from_nothing_to_all(tmp_path: Path, video: Path) -> None:
    inputs = write_inputs(tmp_path / "inputs", [video, photo(tmp_path / "a.jpg")])
    seen: list[float] = []
    context = InlineContext()
    context.emit = lambda done, total, unit, message: seen.append(done / total) if total > 0 else None
    frame_extraction.run({"inputs": inputs}, FrameExtractionOptions(), tmp_path / "out", context)
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] == 1
    assert len(set(seen)) > 5


def test_interval_and_size_are_what_the_user_says(tmp_path: Path, video: Path) -> None:
    document, _, _ = extract(tmp_path, [video], interval=0.5, max_image_size=160)
    times = [frame["time"] for frame in document["frames"]]
    assert len(times) == pytest.approx(7, abs=1)
    assert np.diff(times) == pytest.approx(0.5, abs=0.2)
    assert {(frame["width"], frame["height"]) for frame in document["frames"]} == {(160, 120)}


def test_too_few_frames_for_the_motion_are_reported(tmp_path: Path, video: Path) -> None:
    document, context, _ = extract(tmp_path, [video], max_frames=4, min_frames=2)
    assert len(document["frames"]) <= 4
    assert "Raise frame_extraction.max_frames" in context.fallbacks[0]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_turned_videos_come_out_upright(tmp_path: Path, rotation: int) -> None:
    stored = [np.rot90(view, -rotation // 90) for view in VIEWS[:30]]
    document, _, out = extract(tmp_path, [write_video(tmp_path / "v.mp4", stored, rotation=rotation)])
    for frame in document["frames"]:
        image = cv2.imread(str(out / "images" / frame["name"]))
        assert cv2.PSNR(image, VIEWS[round(frame["time"] * 30)]) > 27


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("v.avi", "libx264", "yuv420p"),
        ("v.mov", "prores_ks", "yuv422p10le"),
        ("v.webm", "libvpx-vp9", "yuv420p"),
    ],
)
def test_other_containers(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    options = {"bf": "2", "preset": "medium"} if codec == "libx264" else {}
    path = write_video(tmp_path / name, VIEWS[:40], codec=codec, pix_fmt=pix_fmt, options=options)
    document, context, out = extract(tmp_path, [path], min_frames=4)
    assert len(document["frames"]) >= 4
    assert not context.fallbacks
    for frame in document["frames"]:
        image = cv2.imread(str(out / "images" / frame["name"]))
        assert cv2.PSNR(image, VIEWS[round(frame["time"] * 30)]) > 22


def test_fast_video_is_thinned_while_scanning(tmp_path: Path) -> None:
    views = slide(PICTURE, [100 + k for k in range(240)])
    document, context, _ = extract(tmp_path, [write_video(tmp_path / "v.mp4", views, rate=120)])
    assert context.counts["scanned"] <= 90
    assert len(document["frames"]) >= 15


def test_two_videos_of_one_name(tmp_path: Path, video: Path) -> None:
    document, _, _ = extract(tmp_path, [video, video], names=["walk.mp4", "Walk.mp4"], min_frames=2)
    assert len(document["sequences"]) == 2
    assert {frame["camera"] for frame in document["frames"]} == {0, 1}


def test_real_bust_none_of_the_blurred_frames_is_taken(tmp_path: Path, data_dir: Path) -> None:
    blurred = set(range(17, 180, 20))
    document, _, out = extract(tmp_path, [data_dir / "gt_bust_video" / "video.mp4"])
    taken = [round(frame["time"] * 30) for frame in document["frames"]]
    assert not set(taken) & blurred
    assert 40 <= len(taken) <= 80
    assert max(np.diff(taken)) <= 8  # the camera never stops: nothing is left out
    scores = json.loads((out / "scores.json").read_text())["videos"][0]
    dull = blur(np.array(scores["sharpness"]), np.array(scores["time"]))
    for quality in ("low", "high"):
        options = resolve_options(quality)["frame_extraction"].model_dump()
        chosen = choose_frames(
            np.cumsum(scores["motion"]),
            dull,
            np.array(scores["usable"]),
            step=options["motion"],
            min_frames=options["min_frames"],
            max_frames=options["max_frames"],
        )
        assert options["min_frames"] <= len(chosen) <= options["max_frames"]
        assert not set(chosen) & blurred


def test_a_killed_run_goes_on(tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    write = _video_tasks._write_frame

    def dies(reader: Any, frame: Any, file: Path, max_size: int) -> None:
        if len(written) == 8:
            raise KeyboardInterrupt
        write(reader, frame, file, max_size)
        written.append(file)

    monkeypatch.setattr(_video_tasks, "_write_frame", dies)
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path, [video])
    out = tmp_path / "out"
    assert not (out / "frames.json").exists()
    before = {path.name: path.stat().st_mtime_ns for path in (out / "images").iterdir()}
    assert len(before) == 8

    def not_again(*_: object, **__: object) -> None:
        raise AssertionError("scanned again")

    monkeypatch.setattr(_video_tasks, "_write_frame", write)
    monkeypatch.setattr(_video_tasks, "_scan", not_again)
    document, _, _ = extract(tmp_path, [video])
    after = {path.name: path.stat().st_mtime_ns for path in (out / "images").iterdir()}
    assert len(after) == len(document["frames"]) > 8
    assert before.items() <= after.items()


# --- videos that cannot be used -----------------------------------------------------------------


def test_black_still_and_single_frame_videos_say_so(tmp_path: Path) -> None:
    black = write_video(tmp_path / "black.mp4", [np.zeros((240, 320, 3), np.uint8)] * 10)
    with pytest.raises(InputError, match=r"black\.mp4 shows nothing: all of its frames are black"):
        extract(tmp_path / "a", [black])
    rng = np.random.default_rng(0)
    noisy = [np.clip(VIEWS[0] + rng.normal(0, 8, VIEWS[0].shape), 0, 255).astype(np.uint8) for _ in range(40)]
    still = write_video(tmp_path / "still.mp4", noisy)
    with pytest.raises(InputError, match=r"still\.mp4 hardly moves"):
        extract(tmp_path / "b", [still])
    single = write_video(tmp_path / "single.mp4", VIEWS[:1])
    with pytest.raises(InputError, match=r"single\.mp4 has a single frame"):
        extract(tmp_path / "c", [single])


def test_text_named_mp4(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("dear diary " * 100)
    with pytest.raises(InputError, match=r"notes\.mp4 is not a readable video"):
        extract(tmp_path, [tmp_path / "notes.mp4"])


def test_a_truncated_video_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    data = write_video(tmp_path / "whole.mkv", VIEWS, options={"g": "15"}).read_bytes()
    part = tmp_path / "part.mkv"
    part.write_bytes(data[: len(data) * 6 // 10])
    document, context, _ = extract(tmp_path, [part])
    assert len(document["frames"]) >= 10
    assert any("part.mkv end after" in text and "of 3.0 s" in text for text in context.fallbacks)


def test_a_bad_video_beside_good_inputs_is_left_out(tmp_path: Path, video: Path) -> None:
    (tmp_path / "notes.mp4").write_text("dear diary " * 100)
    document, context, _ = extract(tmp_path, [tmp_path / "notes.mp4", video])
    assert {frame["source"] for frame in document["frames"]} == {"walk.mp4"}
    assert "notes.mp4" in context.fallbacks[0]


# --- photos -------------------------------------------------------------------------------------


def test_upright_photos_are_copied_byte_for_byte(tmp_path: Path) -> None:
    files = [photo(tmp_path / "a" / "IMG_1.JPG", 0), photo(tmp_path / "b" / "img_1.jpg", 9)]
    files += [photo(tmp_path / "c" / "IMG_1.png", 18), photo(tmp_path / "my photo (2).jpg", 27)]
    document, context, out = extract(tmp_path, files)
    names = [frame["name"] for frame in document["frames"]]
    assert names == ["IMG_1.jpg", "img_1-2.jpg", "IMG_1-3.png", "my_photo_2.jpg"]
    for file, name in zip(files, names, strict=True):
        assert (out / "images" / name).read_bytes() == file.read_bytes()
    assert document["sequences"] == []
    assert {frame["camera"] for frame in document["frames"]} == {0}
    assert all(frame["time"] is None and frame["focal_px"] is None for frame in document["frames"])
    assert context.counts["photos"] == 4


def test_turned_photos_are_upright_and_keep_what_they_knew(tmp_path: Path) -> None:
    files = [photo(tmp_path / f"{k}.jpg", k, (600, 400), exif=with_exif(k)) for k in (1, 6)]
    document, _, out = extract(tmp_path, files)
    upright, turned = document["frames"]
    assert (upright["width"], upright["height"]) == (600, 400)
    assert (turned["width"], turned["height"]) == (400, 600)
    assert upright["focal_px"] == turned["focal_px"] == pytest.approx(600)
    assert upright["gps"] == turned["gps"] == pytest.approx([50.0, 8.5, 120.0])
    assert upright["camera"] != turned["camera"]
    with Image.open(out / "images" / turned["name"]) as image, Image.open(files[1]) as stored:
        assert image.getexif().get(0x0112, 1) == 1
        expected = np.asarray(stored.transpose(Image.Transpose.ROTATE_270))
        assert cv2.PSNR(np.asarray(image), expected) > 38


def test_cameras_are_grouped_by_what_took_the_photos(tmp_path: Path) -> None:
    cases = [("One", 36, 320), ("One", 36, 320), ("Two", 36, 320), ("One", 50, 320), ("One", 36, 160)]
    files = [
        photo(tmp_path / f"{i}.jpg", i, (width, width * 3 // 4), exif=with_exif(1, model, focal))
        for i, (model, focal, width) in enumerate(cases)
    ]
    document, context, _ = extract(tmp_path, files)
    assert [frame["camera"] for frame in document["frames"]] == [0, 0, 1, 2, 3]
    assert context.counts["cameras"] == 4


def test_odd_pixels_become_ordinary_ones(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.tif"), VIEWS[0].astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "deep.png"), VIEWS[9].astype(np.uint16) * 257)
    rgb = Image.fromarray(np.ascontiguousarray(VIEWS[18][..., ::-1]))
    rgb.convert("CMYK").save(tmp_path / "print.jpg", quality=98)
    rgb.convert("L").save(tmp_path / "grey.jpg", quality=98)
    rgb.convert("RGBA").save(tmp_path / "alpha.png")
    files = [tmp_path / n for n in ("deep.tif", "deep.png", "print.jpg", "grey.jpg", "alpha.png")]
    document, _, out = extract(tmp_path, files)
    names = [frame["name"] for frame in document["frames"]]
    assert names == ["deep.png", "deep-2.png", "print.jpg", "grey.jpg", "alpha.png"]
    for name, index in zip(names, (0, 9, 18, 18, 18), strict=True):
        image = cv2.imread(str(out / "images" / name))
        expected = VIEWS[index]
        if name == "grey.jpg":
            expected = np.repeat(cv2.cvtColor(expected, cv2.COLOR_BGR2GRAY)[..., None], 3, axis=2)
        assert cv2.PSNR(image, expected) > 30


def test_one_bad_photo_among_good_ones_is_left_out_and_named(tmp_path: Path) -> None:
    files = [photo(tmp_path / f"{k}.jpg", k) for k in range(3)]
    files[1].write_bytes(files[1].read_bytes()[:2000])
    document, context, _ = extract(tmp_path, files)
    assert [frame["source"] for frame in document["frames"]] == ["0.jpg", "2.jpg"]
    assert len(context.fallbacks) == 1
    assert "1.jpg" in context.fallbacks[0]


def test_fewer_than_two_photos_are_refused(tmp_path: Path) -> None:
    good, bad = photo(tmp_path / "good.jpg"), tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 16)
    with pytest.raises(InputError, match=r"bad\.jpg"):
        extract(tmp_path / "a", [good, bad])
    with pytest.raises(InputError, match="two photos at least; the project has 1"):
        extract(tmp_path / "b", [good])
    with pytest.raises(InputError, match="the project has 0"):
        extract(tmp_path / "c", [])


def test_posed_photos_keep_bytes_names_and_orientation(tmp_path: Path) -> None:
    files = [photo(tmp_path / f"p{k}.jpg", k, exif=with_exif(6)) for k in range(3)]
    names = ["left/a.jpg", "right/a.jpg", "right/deep/b.JPG"]
    document, _, out = extract(tmp_path, files, kind="posed_photo", names=names)
    assert [frame["name"] for frame in document["frames"]] == names
    for file, name in zip(files, names, strict=True):
        assert (out / "images" / name).read_bytes() == file.read_bytes()
    assert {(frame["width"], frame["height"]) for frame in document["frames"]} == {(320, 240)}


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg", "..\\a.jpg"])
def test_posed_photos_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="not a path inside a folder"):
        extract(tmp_path, [photo(tmp_path / "a.jpg")] * 2, kind="posed_photo", names=["b.jpg", name])


def test_a_bad_posed_photo_is_refused(tmp_path: Path) -> None:
    files = [photo(tmp_path / f"{k}.jpg", k) for k in range(3)]
    files[1].write_bytes(files[1].read_bytes()[:2000])
    with pytest.raises(InputError, match=r"1\.jpg") as caught:
        extract(tmp_path, files, kind="posed_photo")
    assert "The model needs it" in caught.value.hint


def test_taken_photos_are_not_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [photo(tmp_path / f"{k}.jpg", k, exif=with_exif(6)) for k in range(3)]
    describe = frame_extraction._describe

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(frame_extraction, "_describe", dies)
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path, files)
    monkeypatch.setattr(frame_extraction, "_describe", describe)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").iterdir()}
    assert len(before) == 3
    extract(tmp_path, files)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").iterdir()}
    shutil.rmtree(tmp_path / "out")


def test_real_photos(tmp_path: Path, data_dir: Path) -> None:
    folder = data_dir / "monstree_1600" / "images"
    files = sorted(folder.iterdir())[:5]
    document, _, _ = extract(tmp_path, files)
    for frame in document["frames"]:
        assert max(frame["width"], frame["height"]) == 1600
        assert frame["focal_px"] == pytest.approx(1294, abs=2)
        assert frame["gps"][0] == pytest.approx(37.72, abs=0.01)

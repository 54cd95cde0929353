from pathlib import Path

import pytest
from PIL import Image

from recon3d.errors import InputError
from recon3d.io.probe import probe_input
from tests.synthetic.media import slide, texture, write_video


def test_a_video_and_a_photo_whatever_they_are_called(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", slide(texture(), range(12))).rename(tmp_path / "holiday.jpg")
    info = probe_input(video)
    assert (info.kind, info.width, info.height, info.codec) == ("video", 320, 240, "h264")
    assert info.duration == pytest.approx(0.4)
    assert info.frame_rate == pytest.approx(30)
    exif = Image.Exif()
    exif.update({0x010F: "ACME", 0x0110: "One"})
    exif.get_ifd(0x8769)[0xA405] = 36
    photo = tmp_path / "photo.mp4"
    Image.new("RGB", (360, 240)).save(photo, "JPEG", exif=exif)
    info = probe_input(photo)
    assert (info.kind, info.width, info.height, info.codec) == ("photo", 360, 240, "JPEG")
    assert info.camera == "ACME One"
    assert info.focal_px == pytest.approx(360)


def test_what_is_neither(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        probe_input(tmp_path / "none.mp4")
    with pytest.raises(InputError, match="is not a file"):
        probe_input(tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"empty\.mp4 is empty"):
        probe_input(tmp_path / "empty.mp4")
    (tmp_path / "notes.mp4").write_text("dear diary " * 50)
    with pytest.raises(InputError, match=r"notes\.mp4 is a text file"):
        probe_input(tmp_path / "notes.mp4")


def test_real_files(data_dir: Path) -> None:
    video = probe_input(data_dir / "video_bic" / "bic.mov")
    assert (video.kind, video.width, video.height) == ("video", 1280, 720)
    assert video.frame_rate == pytest.approx(30, abs=0.1)
    photo = probe_input(data_dir / "saharov32_small" / "images" / "IMG_3023.JPG")
    assert (photo.kind, photo.width, photo.height, photo.camera) == ("photo", 728, 1092, "Canon Canon EOS 5D")

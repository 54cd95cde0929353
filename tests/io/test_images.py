import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from recon3d.errors import InputError
from recon3d.io.images import (
    apply_orientation,
    brightest_value,
    check_photo,
    photo_metadata,
    probe_photo,
    read_photo,
)
from tests.synthetic.media import texture

BGR = cv2.GaussianBlur(texture(200, 120), (0, 0), 2)
RGB = Image.fromarray(np.ascontiguousarray(BGR[..., ::-1]))


def save(path: Path, image: Image.Image = RGB, orientation: int | None = None, **options: object) -> Path:
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    image.save(path, **options)
    return path


def read_bgr(path: Path, bits: int = 16) -> np.ndarray:
    return read_photo(path, bits=bits).rgb[..., ::-1]


def test_header_of_a_jpeg(tmp_path: Path) -> None:
    info = probe_photo(save(tmp_path / "a.jpg"))
    assert (info.width, info.height, info.format, info.plain) == (200, 120, "JPEG", True)
    turned = probe_photo(save(tmp_path / "b.jpg", orientation=6))
    assert (turned.width, turned.height) == (120, 200)
    assert turned.camera_key != info.camera_key


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(tmp_path: Path, suffix: str, orientation: int) -> None:
    from PIL import ImageOps

    path = save(
        tmp_path / f"a{suffix}", orientation=orientation, **({"quality": 98} if suffix == ".jpg" else {})
    )
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[..., ::-1]
    assert read_photo(path).rgb.flags.c_contiguous
    result = read_bgr(path)
    np.testing.assert_array_equal(result, expected)
    info = probe_photo(path)
    assert (info.height, info.width) == result.shape[:2]


def test_16_bit_tiff_in_colour_and_turned(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), BGR.astype(np.uint16) * 257)
    np.testing.assert_allclose(read_bgr(path), BGR, atol=1)
    data = bytearray(path.read_bytes())
    # Set the orientation: OpenCV writes the tag 274, as SHORT, count 1.
    at = data.find(struct.pack("<HHI", 274, 3, 1))
    if at >= 0:
        data[at + 8 : at + 10] = struct.pack("<H", 6)
        path.write_bytes(data)
        np.testing.assert_allclose(read_bgr(path), apply_orientation(BGR, 6), atol=1)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_grey_levels_beyond_8_bits_fill_the_range(tmp_path: Path, bits: int) -> None:
    ramp = np.tile(np.linspace(0, (1 << bits) - 1, 256).astype(np.uint16), (32, 1))
    path = save(tmp_path / "a.png", Image.fromarray(ramp))
    assert not probe_photo(path).plain
    assert brightest_value(path) == (1 << bits) - 1
    np.testing.assert_array_equal(read_bgr(path, bits)[5, :, 1], np.arange(256))


def test_16_bit_colour_png_is_not_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), BGR.astype(np.uint16) * 257)
    assert not probe_photo(path).plain
    np.testing.assert_allclose(read_bgr(path), BGR, atol=1)


def test_grey_alpha_palette_and_cmyk(tmp_path: Path) -> None:
    gray = read_bgr(save(tmp_path / "g.jpg", RGB.convert("L"), quality=98))
    assert np.all(gray[..., 0] == gray[..., 2])
    alpha = RGB.convert("RGBA")
    alpha.putalpha(
        Image.fromarray(np.tile(np.r_[np.zeros(100, np.uint8), np.full(100, 255, np.uint8)], (120, 1)))
    )
    path = save(tmp_path / "a.png", alpha)
    assert not probe_photo(path).plain
    out = read_bgr(path)
    visible = read_photo(path).visible
    assert not visible[:, :100].any()
    assert visible[:, 100:].all()
    assert np.all(out[:, :100] == 128)
    np.testing.assert_array_equal(out[:, 100:], BGR[:, 100:])
    assert read_bgr(save(tmp_path / "p.png", RGB.convert("P"))).shape == BGR.shape
    assert read_bgr(save(tmp_path / "b.png", RGB.convert("1"))).shape == BGR.shape
    cmyk = save(tmp_path / "c.jpg", RGB.convert("CMYK"), quality=98)
    assert not probe_photo(cmyk).plain
    assert cv2.PSNR(read_bgr(cmyk), BGR) > 30


def test_check_is_smaller_but_as_strict(tmp_path: Path) -> None:
    large = RGB.resize((2000, 1200))
    path = save(tmp_path / "a.jpg", large)
    assert 400 <= check_photo(path, 400).shape[1] < 2000
    assert check_photo(save(tmp_path / "a.png", large), 400).dtype == np.uint8


@pytest.mark.parametrize("fraction", [0.3, 0.9])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {}),
        ("b.jpg", {"progressive": True}),
        ("c.png", {}),
        ("d.tif", {}),
        ("e.tif", {"compression": "tiff_lzw"}),
    ],
    ids=["jpeg", "progressive", "png", "tiff", "lzw"],
)
def test_truncated_photos_are_refused_by_name(
    tmp_path: Path, name: str, options: dict[str, object], fraction: float
) -> None:
    path = save(tmp_path / name, RGB.resize((800, 480)), **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(InputError) as caught:
        check_photo(path, 400)
    assert name in caught.value.message
    assert caught.value.hint


HEIC = b"\0\0\0\x24ftypheic\0\0\0\0mif1MiHE" + b"\0" * 100
REFUSED = [
    ("a.heic", HEIC, r"a\.heic cannot be decoded"),
    ("a.jpg", HEIC, r"a\.jpg cannot be decoded"),
    ("a.jpg", b"", "is empty"),
    ("a.jpg", b"\xff\xd8\xff\xe0" + b"\0" * 16, "a.jpg"),
    ("a.jpg", b"just some text, no photo", "is a text file, not a photo"),
    ("a.webp", b"RIFF\x10\0\0\0WEBPVP8 " + b"\0" * 30, r"a\.webp cannot be decoded"),
    ("a.jpg", b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 30, "is a JPEG XL file, which is not supported"),
    ("a.tif", b"II+\0\x08\0\0\0" + b"\0" * 40, "is a BigTIFF file, which is not supported"),
    ("a.tif", b"II*\0\x10\0\0\0CR\2\0" + b"\0" * 40, "raw file without an embedded preview"),
    ("a.tif", b"MM\0*\0\0\0\x08" + b"\0" * 40, "its size is missing"),
    ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\x01" + b"\0" * 40, "raw file"),
    ("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "a.png"),
    ("a.tif", b"II*\0\xff\xff\xff\x7f" + b"\0" * 30, "a.tif"),
]


@pytest.mark.parametrize(("name", "data", "message"), REFUSED)
def test_what_is_no_photo_is_refused_by_name(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        probe_photo(path)
    assert caught.value.hint


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path = tmp_path / "bomb.png"
    pixels = struct.pack(">I", 4) + b"IDAT" + zlib.compress(b"")[:4] + b"\0" * 4
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + pixels)
    with pytest.raises(InputError, match=r"bomb\.png.*too large"):
        probe_photo(path)
    data = io.BytesIO()
    Image.new("L", (32, 32)).save(data, "TIFF")
    tiff = bytearray(data.getvalue())
    for tag in (256, 257):
        at = next(i for i in range(8, len(tiff)) if tiff[i : i + 2] == struct.pack("<H", tag))
        tiff[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 60000)
    path = tmp_path / "bomb.tif"
    path.write_bytes(tiff)
    with pytest.raises(InputError, match=r"bomb\.tif has 60000 x 60000 pixels"):
        probe_photo(path)


def test_large_photos_within_the_limit_need_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)  # Pillow warns above it, refuses above twice
    assert probe_photo(save(tmp_path / "a.png")).width == 200
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000)
    with pytest.raises(InputError, match=r"a\.png is too large"):
        probe_photo(tmp_path / "a.png")


def test_tiny_and_missing_photos(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only 8 x 8 pixels"):
        probe_photo(save(tmp_path / "a.png", Image.new("RGB", (8, 8))))
    with pytest.raises(InputError, match=r"gone\.jpg does not exist"):
        probe_photo(tmp_path / "gone.jpg")


def test_damaged_exif_does_not_spoil_the_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", orientation=6, quality=98)
    data = bytearray(path.read_bytes())
    at = data.find(b"Exif\0\0") + 6
    data[at : at + 20] = b"\xff" * 20
    path.write_bytes(data)
    assert probe_photo(path).exif.orientation == 1
    assert read_bgr(path).shape == BGR.shape


def test_metadata_that_a_turned_copy_keeps(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.update({0x0112: 8, 0x0110: "Camera"})
    exif.get_ifd(0x8769)[0x920A] = 35.0
    kept = photo_metadata(save(tmp_path / "a.jpg", exif=exif, icc_profile=b"colours"))
    assert list(kept) == ["exif"]  # pixels become sRGB
    again = Image.Exif()
    again.load(kept["exif"])
    assert (again[0x0112], again[0x0110]) == (1, "Camera")
    assert float(again.get_ifd(0x8769)[0x920A]) == 35.0
    assert photo_metadata(save(tmp_path / "b.png")) == {}

"""A corpus of small photo files as cameras, phones, programs and accidents make them.

``python -m tests.synthetic.corpus_photos FOLDER`` writes them;
``python -m tests.synthetic.corpus_photos --table`` writes their table into the documentation.
"""

from __future__ import annotations

import functools
import io
import os
import re
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

from recon3d.compute import InlineContext
from recon3d.layout import mask_file
from recon3d.stages.frame_extraction.photo_set import take_photos
from recon3d.stages.frame_extraction.sources import Source, name_sources
from tests.synthetic.colors import cmyk_profile, color_differences, encoded, gray_profile, linear, profile

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "input-formats.md"
Pixels = NDArray[np.uint8]


@functools.cache
def truth() -> Pixels:
    """A frame of the sample video above saturated patches; 240 x 180, sRGB."""
    with av.open(str(ROOT / "examples" / "data" / "bust.mp4")) as video:
        frame = next(video.decode(video=0)).to_ndarray(format="rgb24")
    top = cv2.resize(frame, (240, 132), interpolation=cv2.INTER_AREA)
    levels = np.array([20, 110, 235])
    patches = np.array(np.meshgrid(levels, levels, levels)).reshape(3, -1).T[1:25].reshape(2, 12, 3)
    strip = np.repeat(np.repeat(patches, 24, axis=0), 20, axis=1)
    # Codecs blur edges of colour; the comparison is about colours.
    return cv2.GaussianBlur(np.vstack([top, strip]).astype(np.uint8), (0, 0), 1.5)


def hidden() -> NDArray[np.bool_]:
    """Where the photos with transparency are visible."""
    visible = np.ones(truth().shape[:2], np.bool_)
    visible[:, :100] = False
    return visible


@dataclass(frozen=True)
class PhotoFile:
    """A file of the corpus.

    Attributes
    ----------
    what : str
        Format and what is special.
    file : str or bytes
        Its name.
    make : callable
        Writes it.
    says : str
        What must be told when it is used, or why it is refused.
    usable : bool
    error : float
        Mean colour error (ΔE of CIE 1976) that its coding may cause.
    gray : bool
        Whether it has no colours.
    masked : bool
        Whether part of it is transparent.
    scale : int
        How much larger than `truth` it is.
    copied : bool
        Whether its bytes stay as they are.
    """

    what: str
    file: str | bytes
    make: Callable[[Path], object]
    says: str = ""
    usable: bool = True
    error: float = 0.8
    gray: bool = False
    masked: bool = False
    scale: int = 1
    copied: bool = False

    @property
    def name(self) -> str:
        """The file's name as Python has it."""
        return os.fsdecode(self.file)

    def expected(self) -> Pixels:
        """The pixels that it shows."""
        rgb = truth()
        if self.gray:
            rgb = np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
        if self.scale > 1:
            rgb = cv2.resize(rgb, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_CUBIC)
        return rgb


@dataclass
class Outcome:
    """What became of a file."""

    rgb: Pixels | None = None
    visible: NDArray[np.bool_] | None = None
    same_bytes: bool = False
    said: list[str] = field(default_factory=list)


def take(case: PhotoFile, folder: Path) -> Outcome:
    """Take a photo of the corpus as frame_extraction does."""
    path = folder / case.name
    case.make(path)
    source = Source(path, case.name, "photo")
    name_sources([source])
    context, images = InlineContext(), folder / "out" / "images"
    take_photos([source], images, folder / "out" / "partial", context)
    if source.problem is not None:
        return Outcome(said=[source.problem.message, source.problem.hint])
    assert source.photo is not None
    written = images / source.photo.name
    mask = mask_file(images, source.photo.name)
    return Outcome(
        cv2.cvtColor(cv2.imread(str(written), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB),
        cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) > 0 if mask.exists() else None,
        written.read_bytes() == path.read_bytes(),
        context.fallbacks,
    )


# --- writers ---------------------------------------------------------------------------------------


def _image(rgb: Pixels | None = None) -> Image.Image:
    return Image.fromarray(truth() if rgb is None else rgb)


def _exif(tags: Mapping[int, Any], orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif.update({0x0112: orientation, 0x0110: "One"} | dict(tags))
    return exif


def _stored(orientation: int, rgb: Pixels) -> Pixels:
    """Pixels as a camera stores them that writes this orientation."""
    return np.ascontiguousarray(np.rot90(rgb, {1: 0, 3: 2, 6: 1, 8: 3}[orientation]))


def pillow(format: str, rgb: Pixels | None = None, *, orientation: int = 1, **options: Any) -> Any:
    def write(path: Path) -> None:
        image = _image(_stored(orientation, truth() if rgb is None else rgb))
        if orientation > 1:
            options["exif"] = _exif({}, orientation)
        lossy = {"quality": 97} if format in ("JPEG", "WEBP", "AVIF") else {}
        if format in ("JPEG", "AVIF"):
            lossy["subsampling"] = "4:4:4"
        image.save(path, format, **(lossy | options))

    return write


def in_space(format: str, space: str, transfer: float, **options: Any) -> Any:
    def write(path: Path) -> None:
        rgb = np.rint(encoded(truth(), space, transfer) * 255).astype(np.uint8)
        pillow(format, rgb, icc_profile=profile(space, transfer), **options)(path)

    return write


def deep(top: int, space: str = "", transfer: float = 1.0) -> Any:
    """16 bits a channel, of which values up to `top` are used."""

    def write(path: Path) -> None:
        values = encoded(truth(), space, transfer) if space else truth() / 255.0
        pixels = np.rint(values * top).astype(np.uint16)
        suffix = Path(path).suffix
        _, data = cv2.imencode(suffix, pixels[..., ::-1])
        written = data.tobytes()
        if space and suffix == ".png":
            packed = b"icc\0\0" + zlib.compress(profile(space, transfer))
            chunk = struct.pack(">I", len(packed)) + b"iCCP" + packed
            chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
            written = written[:33] + chunk + written[33:]
        if space and suffix == ".tif":
            written = _with_tiff_profile(pixels, profile(space, transfer))
        path.write_bytes(written)

    return write


def _with_tiff_profile(pixels: NDArray[np.uint16], icc: bytes) -> bytes:
    height, width = pixels.shape[:2]
    data = pixels.astype("<u2").tobytes()
    return tiff(
        {
            256: width,
            257: height,
            258: (16, 16, 16),
            259: 1,
            262: 2,
            277: 3,
            278: height,
            279: len(data),
            34675: icc,
        },
        {273: data},
    )


def tiff(tags: Mapping[int, Any], blobs: Mapping[int, bytes]) -> bytes:
    """A little-endian TIFF file; a blob's tag says where the blob is."""
    fields: dict[int, tuple[int, int, bytes]] = {}
    for key, value in tags.items():
        if isinstance(value, bytes):
            fields[key] = (7 if len(value) > 4 else 1, len(value), value)
        elif isinstance(value, str):
            fields[key] = (2, len(value) + 1, value.encode() + b"\0")
        else:
            numbers = value if isinstance(value, tuple) else (value,)
            fields[key] = (4, len(numbers), struct.pack(f"<{len(numbers)}I", *numbers))
    fields |= dict.fromkeys(blobs, (4, 1, b"\x00" * 4))
    body, end = b"", 8 + 2 + 12 * len(fields) + 4
    large = b"".join(data for _, _, data in (fields[k] for k in sorted(fields)) if len(data) > 4)
    at, places = end + len(large), {}
    for key, data in blobs.items():
        places[key] = struct.pack("<I", at)
        at += len(data)
    at = end
    for key in sorted(fields):
        kind, count, data = fields[key]
        inline = places.get(key, data.ljust(4, b"\0")) if len(data) <= 4 else struct.pack("<I", at)
        at += len(data) if len(data) > 4 else 0
        body += struct.pack("<HHI", key, kind, count) + inline
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(fields))
    return head + body + b"\0" * 4 + large + b"".join(blobs.values())


def raw(width: int, orientation: int = 1) -> Any:
    """A DNG with an embedded JPEG of this width, and raw data that are none."""

    def write(path: Path) -> None:
        data = b""
        if width:
            size = (width, round(width * 0.75))
            rgb = cv2.resize(truth(), size, interpolation=cv2.INTER_CUBIC)
            jpeg = io.BytesIO()
            Image.fromarray(_stored(orientation, rgb)).save(jpeg, "JPEG", quality=97, subsampling="4:4:4")
            data = jpeg.getvalue()
        noise = np.random.default_rng(0).integers(0, 4096, 5000).astype("<u2").tobytes()
        tags = {254: 1, 256: 16, 257: 16, 262: 32803, 274: orientation, 272: "One", 50706: b"\1\4\0\0"}
        path.write_bytes(tiff(tags, {273: noise, 513: data}))

    return write


def heic(rgb: Any = None, bits: int = 8, orientation: int = 1, **options: Any) -> Any:
    def write(path: Path) -> None:
        values = truth() / 255.0 if rgb is None else rgb()
        values = _stored(orientation, values)
        height, width = values.shape[:2]
        kind, mode = (np.uint8, "RGB") if bits == 8 else (np.uint16, "RGB;16")
        top = 255 if bits == 8 else 65535
        pixels = np.rint(values * top).astype(kind)
        file = pillow_heif.from_bytes(mode=mode, size=(width, height), data=pixels.tobytes())
        if orientation > 1:
            # Both the container's turn and EXIF's, as iPhones write them.
            options["exif"] = _exif({}, orientation).tobytes()
        if "icc_profile" in options:
            file[0].info["icc_profile"] = options["icc_profile"]
            file[0].info["icc_profile_type"] = "prof"
        file.save(path, **({"quality": 97, "chroma": "444"} | options))

    return write


def _adobe_by_exif(path: Path) -> None:
    exif = _exif({})
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0xA005)[1] = "R03"
    exif.get_ifd(0x8769)[0xA005] = exif.get_ifd(0xA005)
    rgb = np.rint(encoded(truth(), "Adobe RGB", 563 / 256) * 255).astype(np.uint8)
    pillow("JPEG", rgb, exif=exif)(path)


def _transparent(mode: str, format: str, **options: Any) -> Any:
    def write(path: Path) -> None:
        alpha = Image.fromarray(np.where(hidden(), np.uint8(255), np.uint8(0)))
        image = _image().convert("L").convert("LA") if mode == "LA" else _image().convert("RGBA")
        image.putalpha(alpha)
        image.save(path, format, **options)

    return write


def _gone(path: Path) -> None:
    image = _image().convert("RGBA")
    image.putalpha(0)
    image.save(path)


def _gray_with_profile(path: Path) -> None:
    gray = cv2.cvtColor(truth(), cv2.COLOR_RGB2GRAY)
    values = np.rint(linear(gray) ** (1 / 1.8) * 255).astype(np.uint8)
    Image.fromarray(values).save(path, icc_profile=gray_profile(1.8))


def _cmyk(**options: Any) -> Any:
    def write(path: Path) -> None:
        rgb = truth() / 255.0
        key = 1 - rgb.max(axis=2, keepdims=True)
        inks = (1 - rgb - key) / np.maximum(1 - key, 1e-9)
        pixels = np.rint(np.concatenate([inks, key], axis=2) * 255).astype(np.uint8)
        Image.fromarray(pixels, "CMYK").save(path, "JPEG", quality=98, subsampling=0, **options)

    return write


def half(make: Callable[[Path], object]) -> Any:
    def write(path: Path) -> None:
        make(path)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])

    return write


def content(data: bytes) -> Any:
    return lambda path: path.write_bytes(data)


P3, ADOBE = ("Display P3", 13), ("Adobe RGB", 563 / 256)
_TO_SRGB = "converted from {} to sRGB"
_HTML = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body></body></html>"

PHOTOS = (
    # Formats.
    PhotoFile("JPEG", "IMG_0001.JPG", pillow("JPEG"), copied=True),
    PhotoFile("JPEG, progressive", "progressive.jpeg", pillow("JPEG", progressive=True), copied=True),
    PhotoFile("PNG", "a.png", pillow("PNG"), error=0, copied=True),
    PhotoFile("TIFF, LZW", "a.tif", pillow("TIFF", compression="tiff_lzw"), error=0),
    PhotoFile("HEIC", "IMG_0001.HEIC", heic(), error=0.8),
    PhotoFile("AVIF", "a.avif", pillow("AVIF"), error=1.3),
    PhotoFile("WebP", "a.webp", pillow("WEBP"), error=3.0),
    PhotoFile("WebP, lossless", "b.webp", pillow("WEBP", lossless=True)),
    PhotoFile("DNG, preview of 1200 pixels", "a.dng", raw(1200), "The embedded preview", scale=5),
    # Colours.
    PhotoFile("JPEG, sRGB profile", "s.jpg", in_space("JPEG", "sRGB", 13), copied=True),
    PhotoFile("JPEG, Display P3", "p3.jpg", in_space("JPEG", *P3), _TO_SRGB.format("Display P3"), error=1.0),
    PhotoFile("JPEG, Adobe RGB", "ad.jpg", in_space("JPEG", *ADOBE), _TO_SRGB.format("Adobe RGB"), error=1.0),
    PhotoFile("JPEG, Adobe RGB by EXIF only", "_MG_1.JPG", _adobe_by_exif, "Adobe RGB to sRGB", error=1.0),
    PhotoFile("PNG, Display P3", "p3.png", in_space("PNG", *P3), _TO_SRGB.format("Display P3")),
    PhotoFile(
        "WebP, Display P3", "p3.webp", in_space("WEBP", *P3, lossless=True), "Display P3 to sRGB", error=0.9
    ),
    PhotoFile("AVIF, Adobe RGB", "ad.avif", in_space("AVIF", *ADOBE), "Adobe RGB to sRGB", error=1.6),
    PhotoFile(
        "HEIC, Display P3",
        "p3.heic",
        heic(lambda: encoded(truth(), *P3), icc_profile=profile(*P3)),
        "Display P3 to sRGB",
        error=1.2,
    ),
    PhotoFile(
        "HEIC, 10 bits, Display P3 by number",
        "nclx.heic",
        heic(lambda: encoded(truth(), *P3), 10, color_primaries=12, transfer_characteristics=13),
        "Display P3 to sRGB",
        error=1.2,
    ),
    PhotoFile(
        "HEIC, 10 bits, HDR (BT.2020 PQ)",
        "hdr.heic",
        heic(
            lambda: encoded(truth(), "BT.2020", 16),
            10,
            color_primaries=9,
            transfer_characteristics=16,
            matrix_coefficients=9,
        ),
        "BT.2020 PQ to sRGB",
        error=2.5,
    ),
    PhotoFile(
        "JPEG, grey",
        "g.jpg",
        lambda path: _image().convert("L").save(path, quality=97),
        gray=True,
        copied=True,
    ),
    PhotoFile("PNG, grey, gamma 1.8", "g.png", _gray_with_profile, "Gray 1.8 to sRGB", gray=True),
    PhotoFile(
        "JPEG, CMYK with a profile", "k.jpg", _cmyk(icc_profile=cmyk_profile()), "Ideal inks", error=2.5
    ),
    PhotoFile("JPEG, CMYK", "c.jpg", _cmyk(), "CMYK without a profile", error=1.0),
    PhotoFile("JPEG, damaged profile", "d.jpg", pillow("JPEG", icc_profile=b"no profile"), "cannot be used"),
    # Depths.
    PhotoFile("PNG, 16 bits", "16.png", deep(65535), "16 bits a channel. The values 0 to 65535", error=0),
    PhotoFile("TIFF, 12 of 16 bits", "12.tif", deep(4095), "the set uses 12. The values 0 to 4095", error=0),
    PhotoFile("PNG, 10 of 16 bits", "10.png", deep(1023), "the set uses 10", error=0),
    PhotoFile("PNG, 16 bits, Display P3", "16p3.png", deep(65535, *P3), "Display P3 to sRGB"),
    PhotoFile("TIFF, 14 of 16 bits, Adobe RGB", "14ad.tif", deep(16383, *ADOBE), "the set uses 14"),
    PhotoFile(
        "TIFF, floating point",
        "f.tif",
        lambda path: cv2.imwrite(str(path), truth().astype(np.float32)),
        "floating-point pixels",
        usable=False,
    ),
    # Transparency.
    PhotoFile("PNG, RGBA", "t.png", _transparent("RGBA", "PNG"), "They are masked", error=0, masked=True),
    PhotoFile("PNG, grey and alpha", "la.png", _transparent("LA", "PNG"), "masked", gray=True, masked=True),
    PhotoFile("WebP, RGBA", "t.webp", _transparent("RGBA", "WEBP", lossless=True), "masked", masked=True),
    PhotoFile(
        "HEIC, RGBA",
        "t.heic",
        lambda path: pillow_heif.from_pillow(
            Image.fromarray(np.dstack([truth(), np.where(hidden(), np.uint8(255), np.uint8(0))]))
        ).save(path, quality=97, chroma="444"),
        "masked",
        error=0.8,
        masked=True,
    ),
    PhotoFile("PNG, wholly transparent", "gone.png", _gone, "is wholly transparent", usable=False),
    # Orientations.
    PhotoFile("JPEG, orientation 6", "o6.jpg", pillow("JPEG", orientation=6)),
    PhotoFile("PNG, orientation 3", "o3.png", pillow("PNG", orientation=3), error=0),
    PhotoFile("TIFF, orientation 8", "o8.tif", pillow("TIFF", orientation=8), error=0),
    PhotoFile("HEIC, orientation 6 twice", "o6.heic", heic(orientation=6), error=0.8),
    PhotoFile("AVIF, orientation 8", "o8.avif", pillow("AVIF", orientation=8), error=1.3),
    PhotoFile("WebP, orientation 6", "o6.webp", pillow("WEBP", orientation=6, lossless=True)),
    PhotoFile("DNG, orientation 8", "o8.dng", raw(1200, 8), "The embedded preview", scale=5),
    # Names.
    PhotoFile("PNG called JPEG", "really-a-png.jpg", pillow("PNG"), error=0, copied=True),
    PhotoFile("HEIC called JPEG", "really-a-heic.jpg", heic(), error=0.8),
    PhotoFile("name with colon, comma, blanks", "10:30, left  1.jpg", pillow("JPEG"), copied=True),
    PhotoFile("name that is not UTF-8", b"M\xfcller.jpg", pillow("JPEG"), copied=True),
    # Damage, and what is no photo.
    *(
        PhotoFile(f"half of a {kind}", f"half{suffix}", half(make), f"half{suffix}", usable=False)
        for kind, suffix, make in (
            ("JPEG", ".jpg", pillow("JPEG")),
            ("PNG", ".png", pillow("PNG")),
            ("PNG of 16 bits", "-16.png", deep(65535)),
            ("TIFF", ".tif", pillow("TIFF")),
            ("TIFF of 16 bits", "-16.tif", deep(65535)),
            ("HEIC", ".heic", heic()),
            ("AVIF", ".avif", pillow("AVIF")),
            ("WebP", ".webp", pillow("WEBP")),
            ("DNG", ".dng", half(raw(1200))),
        )
    ),
    PhotoFile("nothing, 0 bytes", "empty.jpg", content(b""), "is empty", usable=False),
    PhotoFile("web page called JPEG", "page.jpg", content(_HTML), "is a web page (HTML), not", usable=False),
    PhotoFile("text called JPEG", "t.jpg", content(b"see attachment\n"), "is a text file, not", usable=False),
    PhotoFile("DNG, preview of 640 pixels", "s.dng", raw(640), "has only 640 x 480 pixels", usable=False),
    PhotoFile("DNG without preview", "n.dng", raw(0), "without an embedded preview", usable=False),
    PhotoFile(
        "Canon CR3",
        "a.cr3",
        content(b"\0\0\0\x18ftypcrx " + b"\0" * 50),
        "a Canon CR3 raw file",
        usable=False,
    ),
    PhotoFile("GIF", "a.gif", lambda p: _image().save(p, "GIF"), "is a GIF file, which is not", usable=False),
)


# --- the table -------------------------------------------------------------------------------------


def row(case: PhotoFile, outcome: Outcome, folder: Path) -> str:
    """The table's line for a file."""
    said = " ".join(outcome.said[:1]).replace(f"{folder}/", "").replace("|", "\\|")
    if outcome.rgb is None:
        result, error = "refused", ""
    else:
        result = "copied" if outcome.same_bytes else "converted"
        error = f"{mean_error(case, outcome):.1f}"
    shown = case.name.encode("utf-8", "replace").decode().replace("  ", " ")
    return f"| {case.what} | `{shown}` | {result} | {error} | {said} |"


def mean_error(case: PhotoFile, outcome: Outcome) -> float:
    """Mean ΔE of the pixels that it shows."""
    assert outcome.rgb is not None
    expected = case.expected()
    differences = color_differences(outcome.rgb, expected)
    if outcome.visible is not None:
        inner = cv2.erode(outcome.visible.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        differences = differences[inner]
    return float(differences.mean())


def table() -> str:
    """The documentation's table of the corpus, measured."""
    lines = ["| file | name | result | ΔE | message |", "| --- | --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as temporary:
        for number, case in enumerate(PHOTOS):
            folder = Path(temporary) / str(number)
            folder.mkdir()
            lines.append(row(case, take(case, folder), folder))
    return "\n".join(lines)


def main() -> None:
    """Write the corpus, or its table."""
    if sys.argv[1:] == ["--table"]:
        page = PAGE.read_text()
        marks = r"(<!-- measured: photos -->\n).*?(<!-- end -->)"
        PAGE.write_text(re.sub(marks, lambda found: f"{found[1]}{table()}\n{found[2]}", page, flags=re.S))
        return
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for case in PHOTOS:
        case.make(folder / case.name)


if __name__ == "__main__":
    main()

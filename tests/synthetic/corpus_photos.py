"""A corpus of small photo files as cameras, phones, programs and accidents make them.

``python -m tests.synthetic.corpus_photos FOLDER`` writes them;
``python -m tests.synthetic.corpus_photos --table`` writes their table into the documentation.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

from recon3d.compute import InlineContext
from recon3d.layout import mask_file
from recon3d.stages.frame_extraction.photo_set import take_photos
from recon3d.stages.frame_extraction.sources import Source, name_sources
from tests.synthetic.colors import cmyk_profile, color_differences, encoded, profile
from tests.synthetic.photo_files import (
    ROOT,
    Pixels,
    adobe_by_exif,
    cmyk,
    content,
    deep,
    gone,
    gray_with_profile,
    half,
    heic,
    hidden,
    in_space,
    picture,
    pillow,
    raw,
    transparent,
    truth,
)

PAGE = ROOT / "docs" / "reference" / "input-formats.md"


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
    PhotoFile("JPEG, Adobe RGB by EXIF only", "_MG_1.JPG", adobe_by_exif, "Adobe RGB to sRGB", error=1.0),
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
        lambda path: picture().convert("L").save(path, quality=97),
        gray=True,
        copied=True,
    ),
    PhotoFile("PNG, grey, gamma 1.8", "g.png", gray_with_profile, "Gray 1.8 to sRGB", gray=True),
    PhotoFile(
        "JPEG, CMYK with a profile", "k.jpg", cmyk(icc_profile=cmyk_profile()), "Ideal inks", error=2.5
    ),
    PhotoFile("JPEG, CMYK", "c.jpg", cmyk(), "CMYK without a profile", error=1.0),
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
        lambda path: Image.fromarray(truth()[..., 0].astype(np.float32)).save(path),
        "floating-point pixels",
        usable=False,
    ),
    # Transparency.
    PhotoFile("PNG, RGBA", "t.png", transparent("RGBA", "PNG"), "They are masked", error=0, masked=True),
    PhotoFile("PNG, grey and alpha", "la.png", transparent("LA", "PNG"), "masked", gray=True, masked=True),
    PhotoFile("WebP, RGBA", "t.webp", transparent("RGBA", "WEBP", lossless=True), "masked", masked=True),
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
    PhotoFile("PNG, wholly transparent", "gone.png", gone, "is wholly transparent", usable=False),
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
    PhotoFile(
        "GIF", "a.gif", lambda p: picture().save(p, "GIF"), "is a GIF file, which is not", usable=False
    ),
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

"""Writers of small photo files: formats, colours, depths, transparency, orientations, damage."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

from tests.synthetic.colors import encoded, gray_profile, linear, profile

ROOT = Path(__file__).parents[2]
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


def picture(rgb: Pixels | None = None) -> Image.Image:
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
        image = picture(_stored(orientation, truth() if rgb is None else rgb))
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


def adobe_by_exif(path: Path) -> None:
    exif = _exif({})
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    rgb = np.rint(encoded(truth(), "Adobe RGB", 563 / 256) * 255).astype(np.uint8)
    pillow("JPEG", rgb, exif=exif)(path)


def transparent(mode: str, format: str, **options: Any) -> Any:
    def write(path: Path) -> None:
        alpha = Image.fromarray(np.where(hidden(), np.uint8(255), np.uint8(0)))
        image = picture().convert("L").convert("LA") if mode == "LA" else picture().convert("RGBA")
        image.putalpha(alpha)
        image.save(path, format, **options)

    return write


def gone(path: Path) -> None:
    image = picture().convert("RGBA")
    image.putalpha(0)
    image.save(path)


def gray_with_profile(path: Path) -> None:
    gray = cv2.cvtColor(truth(), cv2.COLOR_RGB2GRAY)
    values = np.rint(linear(gray) ** (1 / 1.8) * 255).astype(np.uint8)
    Image.fromarray(values).save(path, icc_profile=gray_profile(1.8))


def cmyk(**options: Any) -> Any:
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

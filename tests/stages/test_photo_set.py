"""Photos as one set: depth, colours and masks, from files to the stages that use them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycolmap
import pytest
from PIL import Image

from recon3d.colmap import SiftSettings, extract_sift
from recon3d.compute import InlineContext
from recon3d.io.depth import read_depth_map
from recon3d.io.feature_files import read_features
from recon3d.io.gltf import read_textured_mesh
from recon3d.io.masks import write_mask
from recon3d.layout import features_file, mask_file, read_frames
from recon3d.options import FeatureExtractionOptions
from recon3d.stages import feature_extraction
from tests.stages.test_dense_reconstruction import run as run_dense
from tests.stages.test_frame_extraction import extract, with_exif
from tests.stages.test_texturing import project_folder
from tests.stages.test_texturing import run as run_texturing
from tests.synthetic.box import box_mesh, photograph, ring
from tests.synthetic.colors import color_differences, encoded, profile
from tests.synthetic.media import texture
from tests.synthetic.photo_files import heic, raw, truth
from tests.synthetic.scenes import Plane, Sphere, arc, dense_inputs, render, scene_of

PICTURE = texture(320, 240)[..., ::-1]


def values(path: Path) -> np.ndarray:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.cvtColor(cv2.imread(str(path), flags), cv2.COLOR_BGR2RGB)


# --- depth -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, "posed_photo"])
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_a_set_of_12_bits_has_one_mapping(tmp_path: Path, suffix: str, kind: str | None) -> None:
    light = np.rint(PICTURE / 255 * 4095).astype(np.uint16)
    files = []
    for name, pixels in (("light", light), ("dark", light // 16)):
        files.append(tmp_path / f"{name}{suffix}")
        cv2.imwrite(str(files[-1]), pixels[..., ::-1])
    document, context, out = extract(tmp_path, files, kind=kind)
    names = [frame["name"] for frame in document["frames"]]
    if kind:
        assert names == [file.name for file in files]
    # A photo that is dark stays dark; alone, it would have been taken for one of 8 bits.
    np.testing.assert_array_equal(values(out / "images" / names[0]), PICTURE)
    np.testing.assert_allclose(values(out / "images" / names[1]), (light // 16) / 4095 * 255, atol=0.51)
    assert document["photo_bits"] == read_frames(out).photo_bits == 12
    assert context.fallbacks == [
        "2 photos have 16 bits a channel, of which the set uses 12. The values 0 to 4095 were mapped to "
        "8 bits, alike in all of them."
    ]
    settings = SiftSettings(1600, 2000, 0, False, False)
    assert len(extract_sift(out / "images" / names[0], settings)[0]) > 200


@pytest.mark.parametrize("sign", ["gaps", "MaxSampleValue", "sBIT"])
def test_a_dark_set_of_16_bits_stays_dark(tmp_path: Path, sign: str) -> None:
    # Developed from a sensor of 12 bits and scaled up: the brightest value alone looks like 14 bits.
    dark = PICTURE.astype(np.uint16) * 48 + (0 if sign == "gaps" else (PICTURE[..., :1] > 99))
    path = tmp_path / ("a.tif" if sign == "MaxSampleValue" else "a.png")
    if sign == "MaxSampleValue":
        gray = Image.fromarray(np.ascontiguousarray(dark[..., 1]))
        gray.save(path, tiffinfo={281: 65535})
    else:
        cv2.imwrite(str(path), dark[..., ::-1])
    if sign == "sBIT":
        data = path.read_bytes()
        chunk = b"sBIT" + bytes([12, 12, 12])
        size, check = struct.pack(">I", 3), struct.pack(">I", zlib.crc32(chunk))
        path.write_bytes(data[:33] + size + chunk + check + data[33:])
    again = tmp_path / f"b{path.suffix}"
    again.write_bytes(path.read_bytes())
    document, _, out = extract(tmp_path, [path, again])
    assert document["photo_bits"] == 16
    shown = values(out / "images" / document["frames"][0]["name"])
    np.testing.assert_allclose(shown[..., 1], dark[..., 1] / 257, atol=0.51)


def test_a_dark_set_of_8_bits_is_left_alone(tmp_path: Path) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        Image.fromarray(PICTURE // 8).save(file)
    document, context, out = extract(tmp_path, files)
    assert (out / "images" / "a.png").read_bytes() == files[0].read_bytes()
    assert document["photo_bits"] is None
    assert not context.fallbacks


# --- colours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, "posed_photo"])
def test_colours_are_converted_and_told_once(tmp_path: Path, kind: str | None) -> None:
    rgb = np.rint(encoded(truth(), "Display P3", 13) * 255).astype(np.uint8)
    icc, files = profile("Display P3", 13), []
    for k in range(3):
        files.append(tmp_path / f"{k}.jpg")
        Image.fromarray(rgb).save(
            files[-1], quality=97, subsampling=0, icc_profile=icc, exif=with_exif(6 if k == 2 else 1)
        )
    document, context, out = extract(tmp_path, files, kind=kind)
    assert context.fallbacks == ["3 photos were converted from Display P3 to sRGB."]
    assert context.counts["recolored"] == 3
    for frame in document["frames"]:
        # Pixels of posed photos stay where they are; the others are turned upright.
        turned = kind is None and frame["name"] == "2.jpg"
        expected = np.rot90(truth(), 3) if turned else truth()
        shown = values(out / "images" / frame["name"])
        assert color_differences(shown, np.ascontiguousarray(expected)).mean() < 1.0
        assert frame["focal_px"] == pytest.approx(240, rel=0.1)
        with Image.open(out / "images" / frame["name"]) as image:
            assert "icc_profile" not in image.info
            assert image.getexif().get(0x0112, 1) == 1
    # What the colours would be without the conversion.
    assert color_differences(rgb, truth()).mean() > 4


def test_posed_heic_and_raw_keep_their_names_and_are_read_by_all_programs(tmp_path: Path) -> None:
    files = [tmp_path / "a.heic", tmp_path / "b.dng"]
    heic()(files[0])
    raw(1200)(files[1])
    document, context, out = extract(tmp_path, files, kind="posed_photo")
    assert [frame["name"] for frame in document["frames"]] == ["a.heic", "b.dng"]
    assert [frame["width"] for frame in document["frames"]] == [240, 1200]
    for file in files:
        image = out / "images" / file.name
        assert pycolmap.Bitmap.read(str(image), True).width == cv2.imread(str(image)).shape[1]
    assert "The embedded preview (1200 x 900 pixels) stands for the raw data: b.dng." in context.fallbacks[0]


def test_exif_of_every_format(tmp_path: Path) -> None:
    import pillow_heif

    exif, files = with_exif(1), []
    for suffix in (".jpg", ".webp", ".avif", ".heic"):
        files.append(tmp_path / f"{suffix[1:]}{suffix}")
        image = Image.fromarray(cv2.resize(PICTURE, (360, 240)))
        if suffix == ".heic":
            pillow_heif.from_pillow(image).save(files[-1], exif=exif.tobytes())
        else:
            image.save(files[-1], exif=exif.tobytes())
    document, _, out = extract(tmp_path, files)
    for frame in document["frames"]:
        assert frame["focal_px"] == pytest.approx(360)
        assert frame["gps"] == pytest.approx([50.0, 8.5, 120.0])
        with Image.open(out / "images" / frame["name"]) as image:
            assert image.getexif()[0x0110] == "One"
    assert len({frame["camera"] for frame in document["frames"]}) == 1


# --- masks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, "posed_photo"])
def test_no_feature_lies_in_the_transparent_part(tmp_path: Path, kind: str | None) -> None:
    visible = np.zeros(PICTURE.shape[:2], np.bool_)
    visible[:, 180:] = True
    files = []
    for k in range(2):
        files.append(tmp_path / f"{k}.png")
        # The hidden pixels have the colours of a texture, as programs that cut out leave them.
        Image.fromarray(np.dstack([PICTURE, np.where(visible, np.uint8(255), np.uint8(0))])).save(files[-1])
    _, context, out = extract(tmp_path, files, kind=kind)
    assert context.counts["masked"] == 2
    assert "2 photos have transparent pixels." in context.fallbacks[0]
    image, mask = out / "images" / "0.png", mask_file(out / "images", "0.png")
    assert mask == out / "masks" / "0.png.png"
    np.testing.assert_array_equal(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) > 0, visible)
    np.testing.assert_array_equal(values(image)[visible], PICTURE[visible])
    assert np.all(values(image)[~visible] == 128)
    # What the stage does with the hidden pixels themselves, with and without the mask.
    image.write_bytes(files[0].read_bytes())
    options, found = FeatureExtractionOptions(max_image_size=320, max_features=3000), []
    for target in (tmp_path / "masked", tmp_path / "unmasked"):
        target.mkdir()
        feature_extraction.run({"frame_extraction": out}, options, target, InlineContext())
        found.append(read_features(features_file(target, 0))[0][:, 0])
        mask.unlink(missing_ok=True)
    assert len(found[0]) > 100
    assert found[0].min() > 180
    assert (found[1] < 180).sum() > 100


def test_there_is_no_depth_where_a_frame_is_hidden(tmp_path: Path) -> None:
    wall = Plane(np.array([0.0, 0.0, -1.0]), -0.6)
    pictures = [render([Sphere(np.zeros(3), 0.55), wall], view) for view in arc(4)]
    inputs = dense_inputs(tmp_path, pictures, scene_of(pictures))
    images = inputs["frame_extraction"] / "images"
    visible = np.ones((120, 160), np.bool_)
    visible[:, :70] = False
    hidden = pictures[0].view.name
    write_mask(mask_file(images, hidden), visible)
    run_dense(inputs, tmp_path / "out")
    depth = read_depth_map(tmp_path / "out" / "depth_maps" / f"{hidden}.npz").depth
    assert not depth[:, :70].any()
    assert (depth[:, 75:] > 0).mean() > 0.5
    other = read_depth_map(tmp_path / "out" / "depth_maps" / f"{pictures[1].view.name}.npz").depth
    assert (other > 0).mean() > 0.5


def test_no_colour_is_taken_from_where_a_frame_is_hidden(tmp_path: Path) -> None:
    mesh, views, photos = box_mesh(14), list(ring(8)), []
    visible: Any = None
    for view in views:
        photo = photograph(mesh, view).copy()
        visible = np.ones(photo.shape[:2], np.bool_)
        visible[: photo.shape[0] // 2] = False
        photo[~visible] = (255, 0, 255)
        photos.append(photo)
    magenta = {}
    for masked in (False, True):
        folder = tmp_path / str(masked)
        inputs = project_folder(folder, mesh, views, photos)
        if masked:
            for view in views:
                write_mask(mask_file(inputs["frame_extraction"] / "images", view.name), visible)
        run_texturing(inputs, folder / "out", texture_size=1024)
        pixels = read_textured_mesh(folder / "out" / "textured_mesh.glb").texture.astype(int)
        magenta[masked] = float(
            ((pixels[..., 0] > 200) & (pixels[..., 1] < 80) & (pixels[..., 2] > 200)).mean()
        )
    assert magenta[False] > 0.1
    assert magenta[True] == 0

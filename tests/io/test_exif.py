from pathlib import Path

import pytest
from PIL import Image

from recon3d.io.exif import read_exif

EXIF, GPS = 0x8769, 0x8825


def exif(
    main: dict[int, object] | None = None, details: dict[int, object] | None = None, gps=None
) -> Image.Exif:
    data = Image.Exif()
    data.update(main or {})
    data.get_ifd(EXIF).update(details or {})
    data.get_ifd(GPS).update(gps or {})
    return data


def focal(
    details: dict[int, object], size: tuple[int, int] = (6000, 4000), make="", model=""
) -> float | None:
    return read_exif(exif({0x010F: make, 0x0110: model}, details), *size).focal_px


def test_focal_length_from_the_sensors_resolution() -> None:
    # Canon EOS 5D: 4368 pixels on 35.9 mm.
    details = {0x920A: 50.0, 0xA20E: 4368 / (35.9 / 25.4), 0xA210: 2, 0xA002: 4368, 0xA003: 2912}
    assert focal(details, (4368, 2912)) == pytest.approx(50 / 35.9 * 4368)
    # The same photo scaled down, and turned.
    assert focal(details, (1092, 728)) == pytest.approx(50 / 35.9 * 1092)
    assert focal(details, (728, 1092)) == pytest.approx(50 / 35.9 * 1092)


def test_focal_length_from_35_mm_film() -> None:
    assert focal({0xA405: 36}, (3600, 2400)) == pytest.approx(3600)
    # iPhone 7: 3.99 mm on pixels of 1.22 um; the 35 mm figure compares diagonals and is rounded.
    assert focal({0xA405: 28, 0x920A: 3.99}, (4032, 3024)) == pytest.approx(3.99e-3 / 1.22e-6, rel=0.02)


def test_a_sensor_resolution_that_contradicts_is_not_believed() -> None:
    scaled_without_telling = {0x920A: 50.0, 0xA20E: 4368 / (35.9 / 25.4), 0xA210: 2, 0xA405: 50}
    assert focal(scaled_without_telling, (1092, 728)) == pytest.approx(50 / 36 * 1092, rel=0.01)


def test_known_sensors() -> None:
    assert focal({0x920A: 24.0}, make="Canon", model="Canon EOS 5D Mark III") == pytest.approx(4000)
    assert focal({0x920A: 22.3}, make="Canon", model="Canon EOS 550D") == pytest.approx(6000)
    assert focal({0x920A: 24.0}, make="ACME", model="Pinhole") is None


def test_a_crop_has_no_known_focal_length() -> None:
    assert focal({0xA405: 36, 0xA002: 6000, 0xA003: 4000}, (3000, 3000)) is None


@pytest.mark.parametrize("details", [{0xA405: 0}, {0x920A: -3}, {0xA405: "wide"}, {0xA405: 1e9}, {}])
def test_absurd_focal_lengths_count_as_absent(details: dict[int, object]) -> None:
    assert focal(details) is None


def test_gps() -> None:
    place = {1: "S", 2: (37.0, 43.0, 24.0), 3: "E", 4: (119.0, 36.0, 0.0), 5: b"\x01", 6: 12.5}
    assert read_exif(exif(gps=place), 100, 100).gps == pytest.approx(
        (-(37 + 43 / 60 + 24 / 3600), 119.6, -12.5)
    )
    assert read_exif(exif(gps={**place, 5: b"\x00"}), 100, 100).gps[2] == 12.5
    without_altitude = {key: place[key] for key in (1, 2, 3, 4)}
    assert read_exif(exif(gps=without_altitude), 100, 100).gps[2] is None


@pytest.mark.parametrize(
    "place",
    [
        {},
        {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)},
        {1: "N", 2: (95.0, 0.0, 0.0), 3: "E", 4: (10.0, 0.0, 0.0)},
        {1: "N", 2: (45.0,), 3: "E", 4: (10.0, 0.0, 0.0)},
        {1: "N", 2: (float("nan"), 0.0, 0.0), 3: "E", 4: (10.0, 0.0, 0.0)},
    ],
)
def test_places_that_cannot_be_count_as_absent(place: dict[int, object]) -> None:
    assert read_exif(exif(gps=place), 100, 100).gps is None


def test_orientation_outside_its_range_is_upright() -> None:
    assert read_exif(exif({0x0112: 6}), 10, 10).orientation == 6
    assert read_exif(exif({0x0112: 0}), 10, 10).orientation == 1
    assert read_exif(exif({0x0112: 77}), 10, 10).orientation == 1


def test_real_photos(data_dir: Path) -> None:
    with Image.open(data_dir / "saharov32_small" / "images" / "IMG_3023.JPG") as image:
        camera = read_exif(image.getexif(), *image.size)
    assert (camera.make, camera.model, camera.orientation) == ("Canon", "Canon EOS 5D", 8)
    assert camera.focal_px == pytest.approx(1519, rel=0.01)
    with Image.open(data_dir / "monstree_1600" / "images" / "IMG_1025.jpg") as image:
        phone = read_exif(image.getexif(), *image.size)
    assert phone.orientation == 6
    assert phone.gps == pytest.approx((37.7233, -119.6159, 1223.8), abs=0.1)

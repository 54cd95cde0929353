import numpy as np
import pytest

from recon3d.io.video_frame import to_sdr


def pq(nits: float) -> int:
    """Code value of a luminance by SMPTE ST 2084."""
    y = (nits / 10000) ** 0.1593017578125
    return round(65535 * ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375)


def gray(code: int, transfer: int) -> int:
    out = to_sdr(np.full((2, 2, 3), code, np.uint16), transfer)
    assert out.dtype == np.uint8
    assert np.ptp(out[0, 0].astype(int)) <= 1  # grey stays grey
    return int(out[0, 0, 0])


def test_pq_puts_mid_grey_where_photos_have_it() -> None:
    # 18 % of diffuse white (203 nits, ITU-R BT.2408) is sRGB 118.
    assert gray(pq(0.18 * 203), 16) == pytest.approx(118, abs=1)
    assert gray(pq(0.0), 16) == 0
    assert gray(pq(1000.0), 16) == 255


def test_hlg_and_pq_agree_on_a_1000_nit_display() -> None:
    # HLG code value of scene light E is sqrt(3 E) for E <= 1/12; displayed 1000 E^1.2 nits.
    for scene in (0.01, 0.03, 0.08):
        code = round(65535 * np.sqrt(3 * scene))
        assert gray(code, 18) == pytest.approx(gray(pq(1000 * scene**1.2), 16), abs=1)


@pytest.mark.parametrize("transfer", [16, 18])
def test_brighter_stays_brighter_and_highlights_keep_structure(transfer: int) -> None:
    ramp = np.linspace(0, 65535, 4096).astype(np.uint16)
    out = to_sdr(np.repeat(ramp[None, :, None], 3, axis=2), transfer)[0, :, 1].astype(int)
    assert np.all(np.diff(out) >= 0)
    white = pq(203.0)
    assert gray(white, 16) < 240
    assert gray(pq(600.0), 16) > gray(white, 16) + 5


def test_primaries_are_converted() -> None:
    # BT.2020's red is outside sRGB: it saturates, with nothing in the others.
    out = to_sdr(np.array([[[pq(100.0), 0, 0]]], np.uint16), 16)[0, 0]
    assert out[0] > 150
    assert out[1] == out[2] == 0

"""A screenshot is an array that prints as one line."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from recon3d.rendering.picture import Picture


def test_a_picture_prints_shortly_and_counts_as_an_array() -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    picture = values.view(Picture)
    assert repr(picture) == str(picture) == "<Picture: 4 x 2 pixels>"
    png = picture._repr_png_()
    assert png is not None
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), values)
    assert type(picture + 1) is np.ndarray
    assert picture.max() == 23
    # A part of it that is no picture prints as any array.
    assert repr(picture[0, 0]) == "array([0, 1, 2], dtype=uint8)"
    assert picture[0]._repr_png_() is None

"""A picture as an array that shows itself."""

from __future__ import annotations

import io
from typing import Any

import numpy as np


class Picture(np.ndarray[Any, np.dtype[np.uint8]]):
    """An array of uint8 of shape (H, W, 3), sRGB, row 0 at the top; ``picture.view(Picture)`` makes one.

    It prints as one line, and notebooks show it as a picture. What is computed from it is an ordinary
    array.
    """

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Leave results of arithmetic as ordinary arrays."""
        return array[()] if return_scalar else np.asarray(array)

    def _is_picture(self) -> bool:
        return self.ndim == 3 and self.shape[2] == 3 and self.dtype == np.uint8

    def __repr__(self) -> str:
        if not self._is_picture():
            return repr(np.asarray(self))
        return f"<Picture: {self.shape[1]} x {self.shape[0]} pixels>"

    def __str__(self) -> str:
        return repr(self)

    def _repr_png_(self) -> bytes | None:
        if not self._is_picture() or not self.size:
            return None
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(np.asarray(self)).save(buffer, "PNG")
        return buffer.getvalue()

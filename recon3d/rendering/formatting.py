"""How objects show themselves: a line of text, and in notebooks a small card of HTML."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_THUMBNAIL = 180
#: Points that a thumbnail is drawn from: enough to close a picture of its size.
_DRAWN = 30_000
_LEFT = "text-align:left;padding:1px 10px 1px 0"


class Described:
    """Gives an object its text and HTML repr, from the facts that it tells about itself."""

    def _facts(self) -> Iterable[str]:
        """Short facts, the most important first."""
        raise NotImplementedError

    def _details(self) -> Iterable[str]:
        """More of them, which may take a moment; HTML only."""
        return ()

    def _picture(self) -> NDArray[np.uint8] | None:
        """An RGB picture of it, where that is cheap."""
        return None

    def __repr__(self) -> str:
        """The facts in one line."""
        return f"<{type(self).__name__}: {', '.join(self._facts())}>"

    def _repr_html_(self) -> str:
        facts = [*self._facts(), *self._details()]
        return card(type(self).__name__, facts, jpeg_uri(self._picture()))


def card(title: str, lines: Iterable[str], picture: str = "", table: str = "") -> str:
    """A title with lines below it and a picture on the left.

    Parameters
    ----------
    title : str
    lines : iterable of str
        Plain text.
    picture : str
        Data URI, or empty.
    table : str
        HTML that follows the lines, as `grid` gives it.

    Returns
    -------
    str
        HTML.
    """
    image = f'<img src="{picture}" style="max-width:{_THUMBNAIL}px;border-radius:4px">' if picture else ""
    text = "".join(f"<div>{html.escape(line)}</div>" for line in lines)
    return (
        '<div style="display:flex;gap:12px;align-items:flex-start">'
        f"{image}<div><b>{html.escape(title)}</b>{text}{table}</div></div>"
    )


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table as HTML; a cell that holds a data URI of an image shows the image.

    Parameters
    ----------
    head : sequence of str
        Titles of the columns.
    rows : iterable of sequence of str
        Plain text.

    Returns
    -------
    str
        HTML.
    """
    parts = ["<table><thead><tr>"]
    parts += [f'<th style="{_LEFT}">{html.escape(name)}</th>' for name in head]
    parts.append("</tr></thead><tbody>")
    for row in rows:
        parts.append("<tr>")
        parts += [f'<td style="{_LEFT}">{_cell(value)}</td>' for value in row]
        parts.append("</tr>")
    parts.append("</tbody></table>")
    return "".join(parts)


def _cell(value: str) -> str:
    if value.startswith("data:image/jpeg;base64,"):
        return f'<img src="{html.escape(value)}" style="max-width:96px">'
    return html.escape(value)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table as text, in aligned columns.

    Parameters
    ----------
    head : sequence of str
        Titles of the columns.
    rows : sequence of sequence of str
        Plain text.

    Returns
    -------
    str
    """
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    return "\n".join(lines)


def jpeg_uri(picture: Any, size: int = _THUMBNAIL) -> str:
    """Data URI of a picture, made smaller.

    Parameters
    ----------
    picture : ndarray of uint8, shape (H, W, 3), path-like, or None
    size : int
        Longer side in pixels.

    Returns
    -------
    str
        Empty when there is no picture, or when its file is damaged.
    """
    if picture is None:
        return ""
    from PIL import Image

    try:
        image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else Image.open(picture)
        image.draft("RGB", (size, size))
        image.thumbnail((size, size))
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=80)
    except OSError:  # a thumbnail is not worth an error
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def points_picture(
    points: NDArray[np.float64],
    colors: NDArray[np.uint8] | None,
    views: Sequence[Any] = (),
    up: NDArray[np.float64] | None = None,
) -> NDArray[np.uint8] | None:
    """Draw a small picture of points.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    colors : ndarray of uint8 or None, shape (N, 3)
    views : sequence of View
        Where photos were taken: the picture is seen from one of them.
    up : ndarray of float64, shape (3,), optional
        Direction of up.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3), or None
        RGB; None for fewer than four points.
    """
    if len(points) < 4:
        return None
    # SciPy is slow to import, and every object that shows itself needs this module.
    from recon3d.rendering.framing import Photos
    from recon3d.rendering.opening import find_opening
    from recon3d.rendering.splatting import splat_points

    keep = np.random.default_rng(0).permutation(len(points))[:_DRAWN] if len(points) > _DRAWN else slice(None)
    points, colors = points[keep], None if colors is None else colors[keep]
    opening = find_opening(points, colors=colors, photos=Photos.of(views), up=up)
    camera, pose = opening.camera((_THUMBNAIL * 4 // 3, _THUMBNAIL))
    return splat_points(points, colors, camera, pose)


def extent(points: NDArray[np.float64], unit: str = "") -> str:
    """Format the size of the box around points.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    unit : str
        Such as "m".

    Returns
    -------
    str
    """
    if not len(points):
        return "empty"
    return " × ".join(f"{side:.3g}" for side in np.ptp(points, axis=0)) + f" {unit}".rstrip()


def count(number: int, noun: str) -> str:
    """Format a number with its noun: ``1 view``, ``2,000 views``.

    Parameters
    ----------
    number : int
    noun : str
        Singular.

    Returns
    -------
    str
    """
    plural = {"vertex": "vertices"}.get(noun, f"{noun}s")
    return f"{number:,} {noun if number == 1 else plural}"


def byte_text(number: float) -> str:
    """Format a number of bytes.

    Parameters
    ----------
    number : float

    Returns
    -------
    str
        Such as "1.5 MB".
    """
    units = ("B", "kB", "MB", "GB", "TB")
    power = 0
    while number >= 1000 and power < len(units) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.0f} {units[power]}" if number >= 100 or not power else f"{number:.1f} {units[power]}"


def duration_text(seconds: float) -> str:
    """Format a duration.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    str
        Such as "8.2 s", "3 min 05 s" or "2 h 10 min".
    """
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

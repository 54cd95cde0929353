"""What is done at each level of the pyramid, in which order: the same for every engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from recon3d.types import Floats32


@dataclass(frozen=True)
class Sweeps:
    """How hard one level of the pyramid is worked on.

    Parameters
    ----------
    level : int
        The images are at 1 / 2**level of their size.
    iterations : int
        Rounds over both colours of the checkerboard.
    areas : int
        Areas of neighbours that a pixel looks at, up to 8.
    variations : int
        Random variations that a pixel tries in a round.
    step : float
        Size of the first round's variations of depth, in pixels of disparity; halved each round.
    tilt : float
        Size of the first round's variations of slope; halved each round.
    views : {"hypothesis", "pixel", "inherited"}
        How the source views whose cost counts are chosen: anew for each hypothesis; once for each
        pixel, for what the level starts from; or not, they stay those of the level before. The
        latter two take half the time.
    narrow : bool
        Whether patches are small: sharper, but less certain.
    polish : tuple of float
        Steps, in pixels of disparity, of final fits of a parabola to the cost.
    """

    level: int
    iterations: int
    areas: int
    variations: int
    step: float
    tilt: float
    views: Literal["hypothesis", "pixel", "inherited"] = "hypothesis"
    narrow: bool = False
    polish: tuple[float, ...] = ()


class HalfSweep(NamedTuple):
    """What one call of `recon3d.mvs.patchmatch.sweep` does; see its parameters."""

    color: int
    rate: bool
    areas: int
    variations: int
    step: np.float32
    tilt: np.float32
    polish: Floats32
    seed: int


def half_sweeps(sweeps: Sweeps, pixel: float, seed: int) -> Iterator[HalfSweep]:
    """List what is done at one level of the pyramid; all engines do the same.

    Parameters
    ----------
    sweeps : Sweeps
    pixel : float
        Inverse depth of a pixel of disparity; see `disparity_step`.
    seed : int

    Yields
    ------
    HalfSweep
    """
    zero, polish = np.float32(0), np.array(sweeps.polish, np.float32) * np.float32(pixel)
    # What the first sweep propagates from; it rates its own pixels itself.
    for color in (1,) if sweeps.iterations else (0, 1):
        yield HalfSweep(color, True, 0, 0, zero, zero, polish[:0] if sweeps.iterations else polish, 0)
    for iteration in range(sweeps.iterations):
        for color in (0, 1):
            yield HalfSweep(
                color,
                rate=iteration == 0 and color == 0,
                areas=sweeps.areas,
                variations=sweeps.variations,
                step=np.float32(sweeps.step * pixel * 0.5**iteration),
                tilt=np.float32(sweeps.tilt * 0.5**iteration),
                polish=polish if iteration == sweeps.iterations - 1 else polish[:0],
                seed=(seed * 1009 + sweeps.level * 101 + iteration * 2 + color) % 2**31,
            )

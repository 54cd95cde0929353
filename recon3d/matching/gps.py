"""A reconstruction's size and up from the positions that cameras recorded.

A position may be wrong by any amount, and its altitude may be missing. The largest set of positions
that agree with one similarity is found from small samples [1]_, then fitted by least squares.

References
----------
.. [1] Fischler and Bolles, Random Sample Consensus, Communications of the ACM 1981.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.similarity import umeyama

Floats = NDArray[np.float64]
#: Latitude and longitude in degrees, altitude in metres or None.
Position = tuple[float, float, float | None]

_EARTH_RADIUS = 6_378_137.0
#: Metres that positions must be spread over (their deviation along the longest axis): phones
#: repeat a fix, and equal positions would fit a scale of 0.
_SPREAD = 1.0
#: Positions needed: three or four, each some metres off, too often fit a wrong similarity.
_POSITIONS = 5
#: Share of the positions that must agree.
_LEAST_AGREEING = 0.6
#: Residual of a position that agrees, in usual residuals; never below as many metres.
_OUTLIER, _PRECISION = 4.0, 0.5
#: Usual residual that is allowed, as a share of the spread.
_RESIDUAL = 0.1
_SAMPLES = 500
_NAMED = 5


@dataclass(frozen=True)
class GpsFit:
    """What the positions say.

    Parameters
    ----------
    similarity : (float, ndarray of float64 of shape (3, 3)), optional
        Scale and rotation to a world of metres with +y up; None where the positions give none.
    residual : float
        Median distance in metres of the positions that agree.
    notes : tuple of str
        Which positions were left out and the residual, or why none could be used; empty when there
        are no positions, or all agree.
    """

    similarity: tuple[float, Floats] | None
    residual: float
    notes: tuple[str, ...]


def fit_gps(names: Sequence[str], centers: Floats, gps: Sequence[Position | None], seed: int) -> GpsFit:
    """Fit the cameras to their recorded positions, leaving out those that disagree.

    Parameters
    ----------
    names : sequence of str
        Of the views.
    centers : ndarray of float64, shape (N, 3)
    gps : sequence of (latitude, longitude, altitude) or None
        Of each view. Views whose altitude is None count by where they lie on the map.
    seed : int

    Returns
    -------
    GpsFit
    """
    known = [index for index, position in enumerate(gps) if position is not None]
    if not known:
        return GpsFit(None, 0.0, ())
    if len(known) < _POSITIONS:
        return _unused(f"only {len(known)} of {len(gps)} images have one, and {_POSITIONS} are needed")
    target = to_metres([position for position in gps if position is not None])
    high = np.isfinite(target[:, 1])
    if np.count_nonzero(high) < _POSITIONS:
        return _unused(f"only {np.count_nonzero(high)} have an altitude, and {_POSITIONS} are needed")
    source = centers[known]
    middle = target[high] - np.median(target[high], axis=0)
    if np.median(np.linalg.norm(middle, axis=1)) < _SPREAD / 2:
        return _unused("they are all the same place")
    agreeing, residual = _agreeing(source, target, high, np.random.default_rng(seed))
    if np.count_nonzero(agreeing) < max(_POSITIONS, _LEAST_AGREEING * len(known)):
        return _unused(
            f"only {np.count_nonzero(agreeing)} of {len(known)} agree with the cameras "
            f"(they are {np.median(residual):.1f} m off on average)"
        )
    used = agreeing & high
    spread = np.linalg.svd(target[used] - target[used].mean(axis=0), compute_uv=False)
    spread /= np.sqrt(np.count_nonzero(used))
    if spread[0] < _SPREAD:
        return _unused("they are all the same place")
    # Positions on a line leave the rotation about it open.
    if spread[1] < 0.2 * spread[0]:
        return _unused("they lie on a line, which leaves up open")
    usual = float(np.median(residual[agreeing]))
    if usual > _RESIDUAL * spread[0]:
        return _unused(f"they are {usual:.1f} m off on average, too much for a set of {spread[0]:.1f} m")
    scale, rotation, _ = umeyama(source[used], target[used])
    return GpsFit((scale, rotation), usual, _left_out(names, known, agreeing, high, residual))


def _unused(why: str) -> GpsFit:
    return GpsFit(None, 0.0, (f"The GPS positions could not be used: {why}. The model has no scale.",))


def _left_out(
    names: Sequence[str],
    known: Sequence[int],
    agreeing: NDArray[np.bool_],
    high: NDArray[np.bool_],
    residual: Floats,
) -> tuple[str, ...]:
    notes = []
    wrong = np.flatnonzero(~agreeing)
    if len(wrong):
        worst = wrong[np.argsort(-residual[wrong])]
        listed = ", ".join(f"{names[known[k]]} ({residual[k]:.0f} m off)" for k in worst[:_NAMED])
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        usual = float(np.median(residual[agreeing]))
        notes.append(
            f"GPS positions that disagree with the others were left out: {listed}{more}. "
            f"The other {np.count_nonzero(agreeing)} are {usual:.2f} m off on average."
        )
    flat = np.flatnonzero(agreeing & ~high)
    if len(flat):
        listed = ", ".join(names[known[k]] for k in flat[:_NAMED])
        more = f" and {len(flat) - _NAMED} more" if len(flat) > _NAMED else ""
        notes.append(f"GPS positions without an altitude were not used for the scale: {listed}{more}.")
    return tuple(notes)


def to_metres(gps: Sequence[Position]) -> Floats:
    """Metres from the median position.

    Parameters
    ----------
    gps : sequence of (latitude, longitude, altitude)

    Returns
    -------
    ndarray of float64, shape (N, 3)
        East, up and south; up is NaN where it is unknown.
    """
    latitude, longitude = np.radians([p[0] for p in gps]), np.radians([p[1] for p in gps])
    altitude = np.array([np.nan if p[2] is None else p[2] for p in gps], np.float64)
    # Longitudes count around the date line.
    turned = np.angle(np.exp(1j * (longitude - longitude[0])))
    east = (turned - np.median(turned)) * np.cos(np.median(latitude)) * _EARTH_RADIUS
    north = (latitude - np.median(latitude)) * _EARTH_RADIUS
    up = altitude - (np.nanmedian(altitude) if np.isfinite(altitude).any() else 0.0)
    return np.stack([east, up, -north], axis=1)


def _agreeing(
    source: Floats, target: Floats, high: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Floats]:
    """Positions that agree with the similarity of the least median residual, and all residuals."""
    whole = np.flatnonzero(high)
    best, residual = np.inf, np.full(len(source), np.inf)
    for _ in range(_SAMPLES):
        pick = rng.choice(whole, 4, replace=False)
        found = _residuals(source, target, pick)
        if np.median(found) < best:
            best, residual = float(np.median(found)), found
    for _ in range(3):
        inside = residual <= max(_PRECISION, _OUTLIER * float(np.median(residual)))
        if np.count_nonzero(inside & high) < 4:
            break
        residual = _residuals(source, target, np.flatnonzero(inside & high))
    return residual <= max(_PRECISION, _OUTLIER * float(np.median(residual))), residual


def _residuals(source: Floats, target: Floats, pick: NDArray[np.int64]) -> Floats:
    scale, rotation, translation = umeyama(source[pick], target[pick])
    offset = scale * source @ rotation.T + translation - target
    residuals: Floats = np.linalg.norm(np.nan_to_num(offset), axis=1)
    return residuals

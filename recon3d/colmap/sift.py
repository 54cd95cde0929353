"""SIFT features, and matches verified by two-view geometry."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pycolmap

from recon3d.colmap.database import Array, ImageRow, write_database
from recon3d.errors import EngineUnavailable, InputError, StageError

_NO_GPU = "Use engine='cpu', or see `recon3d doctor`; the run's workers.log has what CUDA said."


@dataclass(frozen=True)
class SiftSettings:
    """Settings of `extract_sift`, named as in FeatureExtractionOptions.

    `peak` is the least contrast of a feature; by default COLMAP's.
    """

    max_image_size: int
    max_features: int
    first_octave: int | Literal["auto"]
    affine_shape: bool
    domain_size_pooling: bool
    gpu: bool = False
    peak: float | None = None


def extract_sift(path: Path, settings: SiftSettings) -> tuple[Array, Array]:
    """SIFT features of an image [1]_.

    Parameters
    ----------
    path : Path
    settings : SiftSettings

    Returns
    -------
    keypoints : ndarray of float32, shape (N, 6)
        x, y and the affine shape, in pixels of the full image.
    descriptors : ndarray of uint8, shape (N, 128)
        RootSIFT.

    Raises
    ------
    InputError
        The image cannot be read.
    EngineUnavailable
        COLMAP cannot use the GPU.
    StageError
        COLMAP failed on the GPU.

    References
    ----------
    .. [1] Lowe, Distinctive Image Features from Scale-Invariant Keypoints, IJCV 2004.
    """
    options = pycolmap.FeatureExtractionOptions()
    options.num_threads = 1
    options.use_gpu = settings.gpu
    options.max_image_size = settings.max_image_size  # a GPU's SIFT shrinks what exceeds COLMAP's default
    options.sift.max_num_features = settings.max_features
    options.sift.estimate_affine_shape = settings.affine_shape
    options.sift.domain_size_pooling = settings.domain_size_pooling
    if settings.peak is not None:
        options.sift.peak_threshold = settings.peak
    bitmap = pycolmap.Bitmap.read(str(path), False)
    if bitmap is None:
        raise InputError(f"{path} cannot be read.", "Leave the image out, or save it again as JPEG.")
    width, height = bitmap.width, bitmap.height
    scale = min(1.0, settings.max_image_size / max(width, height))
    doubled = -1 if scale == 1.0 else 0
    options.sift.first_octave = doubled if settings.first_octave == "auto" else settings.first_octave
    if scale < 1.0:
        bitmap.rescale(max(1, round(width * scale)), max(1, round(height * scale)))
    found, descriptors = _on_gpu(options, bitmap, path) if settings.gpu else _on_cpu(options, bitmap)
    keypoints = np.array([[p.x, p.y, p.a11, p.a12, p.a21, p.a22] for p in found], np.float32).reshape(-1, 6)
    sx, sy = width / bitmap.width, height / bitmap.height
    keypoints *= np.array([sx, sy, sx, sx, sy, sy], np.float32)
    return keypoints, np.asarray(descriptors.data, np.uint8).reshape(-1, 128)


def _on_cpu(options: Any, bitmap: Any) -> Any:
    return pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu).extract(bitmap)


def _on_gpu(options: Any, bitmap: Any, path: Path) -> Any:
    try:
        extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cuda)
    except ValueError as error:
        raise EngineUnavailable(
            f"COLMAP cannot use a GPU here to find features: {error}",
            _NO_GPU,
        ) from error
    try:
        return extractor.extract(bitmap)
    except ValueError as error:
        raise StageError(
            f"COLMAP found no features of {path.name} on the GPU: {error}",
            "Most likely its memory is short: lower feature_extraction.max_image_size, or use engine='cpu'.",
        ) from error


def match_pairs(
    rows: Sequence[ImageRow],
    image_ids: Sequence[int],
    features: Callable[[int], tuple[Array, Array]],
    pairs: Sequence[tuple[int, int]],
    model: str,
    *,
    guided: bool,
    seed: int,
    gpu: bool,
) -> tuple[list[Array], list[Any]]:
    """Match features and verify the matches geometrically.

    Works on a database of its own, since one process may use a COLMAP database at a time.

    Parameters
    ----------
    rows : sequence of ImageRow
        The images of `pairs`.
    image_ids : sequence of int
        Their ids.
    features : callable
        Gives keypoints and descriptors of the k-th of `rows`.
    pairs : sequence of (int, int)
        Image ids.
    model : str
    guided : bool
        Match once more along the epipolar lines.
    seed : int
    gpu : bool

    Returns
    -------
    matches : list of ndarray of uint32, shape (M, 2)
        Indices of the features, a pair each.
    geometries : list of pycolmap.TwoViewGeometry
        Picklable.

    Raises
    ------
    EngineUnavailable
        COLMAP cannot use the GPU.
    StageError
        COLMAP did not match every pair.
    """
    folder = Path(tempfile.mkdtemp(prefix="recon3d-match-"))
    try:
        path = folder / "block.db"
        # COLMAP reads pairs from a text, where a space ends a name: here images are called by their ids.
        numbered = [replace(row, name=str(i)) for i, row in zip(image_ids, rows, strict=True)]
        write_database(path, numbered, model, features, image_ids)
        listing = folder / "pairs.txt"
        listing.write_text("".join(f"{a} {b}\n" for a, b in pairs))
        matching = pycolmap.FeatureMatchingOptions()
        matching.num_threads = 1
        matching.use_gpu = gpu
        matching.guided_matching = guided
        pairing = pycolmap.ImportedPairingOptions()
        pairing.match_list_path = str(listing)
        verification = pycolmap.TwoViewGeometryOptions()
        verification.ransac.random_seed = seed
        try:
            pycolmap.match_image_pairs(
                str(path),
                matching_options=matching,
                pairing_options=pairing,
                verification_options=verification,
                device=pycolmap.Device.cuda if gpu else pycolmap.Device.cpu,
            )
        except ValueError as error:
            if not gpu:
                raise
            raise EngineUnavailable(
                f"COLMAP cannot use a GPU here to match features: {error}",
                _NO_GPU,
            ) from error
        matches, geometries = _read_pairs(path, pairs, gpu)
        return matches, geometries
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read_pairs(path: Path, pairs: Sequence[tuple[int, int]], gpu: bool) -> tuple[list[Array], list[Any]]:
    database = pycolmap.Database.open(str(path))
    try:
        # COLMAP enters every pair that it has matched, also one without matches. Where it cannot get
        # the memory of a GPU it returns as if nothing had happened.
        left_out = sum(not database.exists_matches(a, b) for a, b in pairs)
        if left_out:
            where = " on the GPU" if gpu else ""
            raise StageError(
                f"COLMAP left {left_out} of {len(pairs)} pairs of images unmatched{where}.",
                "Most likely memory is short: lower max_features of feature_extraction, or use engine='cpu'."
                if gpu
                else "The log's tail says why.",
            )
        matches = [np.array(database.read_matches(a, b), np.uint32).reshape(-1, 2) for a, b in pairs]
        geometries = [
            database.read_two_view_geometry(a, b)
            if database.exists_two_view_geometry(a, b)
            else pycolmap.TwoViewGeometry()
            for a, b in pairs
        ]
    finally:
        database.close()
    return matches, geometries

"""Types of what `Pipeline` takes, so that editors complete it and type checkers check it.

A test compares the types with the stages' options in `recon3d.options`, which hold the defaults, the
limits and the documentation.
"""

from __future__ import annotations

import os
from typing import Any, Literal, Protocol, TypedDict

Quality = Literal["low", "medium", "high", "extreme"]
Engine = Literal["auto", "cpu", "cuda", "colmap-cuda"]
ExportFormat = Literal["glb", "obj", "ply", "stl", "usdz", "colmap", "colmap-dense", "nerfstudio"]

#: What the surface of an exported GLB is made of: light as in the photos, or rough matter that is lit.
Material = Literal["unlit", "pbr"]
TextureFormat = Literal["jpeg", "png", "webp"]


class DaskClient(Protocol):
    """A ``distributed.Client``, which is not loaded for its type only."""

    def submit(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a task to a worker.

        Parameters
        ----------
        func : callable
        *args, **kwargs : Any
            Its arguments, and Dask's.

        Returns
        -------
        distributed.Future
        """


class FrameExtractionValues(TypedDict, total=False):
    """Values of `recon3d.options.FrameExtractionOptions`."""

    max_frames: int
    min_frames: int
    interval: float | None
    motion: float
    max_image_size: int


class FeatureExtractionValues(TypedDict, total=False):
    """Values of `recon3d.options.FeatureExtractionOptions`."""

    detector: Literal["colmap", "opencv"]
    max_image_size: int
    max_features: int
    first_octave: Literal["auto"] | int
    affine_shape: bool
    domain_size_pooling: bool
    camera_model: Literal["SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV"]


class FeatureMatchingValues(TypedDict, total=False):
    """Values of `recon3d.options.FeatureMatchingOptions`."""

    matcher: Literal["auto", "exhaustive", "sequential", "retrieval"]
    overlap: int
    loop_closure: int
    neighbors: int
    gps_neighbors: int
    number_neighbors: int
    max_exhaustive: int
    guided: bool


class SparseReconstructionValues(TypedDict, total=False):
    """Values of `recon3d.options.SparseReconstructionOptions`."""

    mapper: Literal["incremental", "global"]
    min_model_size: int
    part_size: int
    upright: bool
    component: int


class DenseReconstructionValues(TypedDict, total=False):
    """Values of `recon3d.options.DenseReconstructionOptions`."""

    max_image_size: int
    num_sources: int
    iterations: int
    geometric_iterations: int
    min_views: int


class MeshGenerationValues(TypedDict, total=False):
    """Values of `recon3d.options.MeshGenerationOptions`."""

    max_faces: int
    part_faces: int
    poisson_depth: int
    trim: float
    region: Literal["auto", "all"] | tuple[tuple[float, float, float], tuple[float, float, float]]
    min_component: float


class TexturingValues(TypedDict, total=False):
    """Values of `recon3d.options.TexturingOptions`."""

    texture_size: int
    texture_pages: int
    max_image_size: int
    seam_levelling: bool
    max_faces: int | None
    normal_map: Literal["auto", "on", "off"]


class StageValues(TypedDict, total=False):
    """Option values by stage."""

    frame_extraction: FrameExtractionValues
    feature_extraction: FeatureExtractionValues
    feature_matching: FeatureMatchingValues
    sparse_reconstruction: SparseReconstructionValues
    dense_reconstruction: DenseReconstructionValues
    mesh_generation: MeshGenerationValues
    texturing: TexturingValues


class PipelineSettings(StageValues, total=False):
    """Parameters of `Pipeline` after the quality."""

    engine: Engine
    scheduler: str | os.PathLike[str] | DaskClient | None
    storage: str | None
    workers: int | None
    seed: int
    accept_partial: bool
    force: bool
    performance_report: str | os.PathLike[str] | None


class TurnValues(TypedDict, total=False):
    """Values of `recon3d.export.turntable.Turn`."""

    size: tuple[int, int] | None
    seconds: float
    fps: float | None
    elevation: float

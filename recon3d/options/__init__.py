"""What each stage can be told: options, presets, and their types."""

from __future__ import annotations

from recon3d.options.presets import parse_assignment, presets, resolve_options
from recon3d.options.stage_options import (
    STAGE_OPTIONS,
    Box,
    DenseReconstructionOptions,
    FeatureExtractionOptions,
    FeatureMatchingOptions,
    FrameExtractionOptions,
    MeshGenerationOptions,
    SparseReconstructionOptions,
    StageOptions,
    TexturingOptions,
)

__all__ = [
    "STAGE_OPTIONS",
    "Box",
    "DenseReconstructionOptions",
    "FeatureExtractionOptions",
    "FeatureMatchingOptions",
    "FrameExtractionOptions",
    "MeshGenerationOptions",
    "SparseReconstructionOptions",
    "StageOptions",
    "TexturingOptions",
    "parse_assignment",
    "presets",
    "resolve_options",
]

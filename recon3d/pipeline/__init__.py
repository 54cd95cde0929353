"""Order, caching, skipping and resuming of the stages."""

from __future__ import annotations

from recon3d.pipeline.pipeline import Pipeline, reconstruct
from recon3d.pipeline.run import Run

__all__ = ["Pipeline", "Run", "reconstruct"]

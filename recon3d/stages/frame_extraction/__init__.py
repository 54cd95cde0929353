"""The frames that a model is made from: the best stills of each video, and the photos."""

from __future__ import annotations

from recon3d.stages.frame_extraction.stage import VERSION, run

__all__ = ["VERSION", "run"]

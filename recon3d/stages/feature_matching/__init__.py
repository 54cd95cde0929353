"""Matches between images, verified by two-view geometry."""

from __future__ import annotations

from recon3d.stages.feature_matching.stage import VERSION, run

__all__ = ["VERSION", "run"]

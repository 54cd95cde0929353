"""Depth maps of all views, and one point cloud."""

from __future__ import annotations

from recon3d.stages.dense_reconstruction.stage import VERSION, run

__all__ = ["VERSION", "run"]

"""Cameras and sparse points: structure from motion."""

from __future__ import annotations

from recon3d.stages.sparse_reconstruction.stage import VERSION, run

__all__ = ["VERSION", "run"]

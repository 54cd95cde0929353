"""Cameras and sparse points: structure from motion."""

from __future__ import annotations

from recon3d.stages.sparse_reconstruction.stage import CHOICES, VERSION, run

__all__ = ["CHOICES", "VERSION", "run"]

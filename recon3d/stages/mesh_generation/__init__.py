"""The cloud's surface."""

from __future__ import annotations

from recon3d.stages.mesh_generation.stage import VERSION, run

__all__ = ["VERSION", "run"]

"""The surface painted from the photos."""

from __future__ import annotations

from recon3d.stages.texturing.stage import VERSION, run

__all__ = ["VERSION", "run"]

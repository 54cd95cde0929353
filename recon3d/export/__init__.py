"""Results in the formats of other programs."""

from __future__ import annotations

from recon3d.export.project_export import FORMATS, export_project

__all__ = ["FORMATS", "export_project"]

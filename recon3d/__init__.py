"""From a video or photos to a textured 3D model.

>>> import recon3d
>>> recon3d.reconstruct("statue.mp4", "statue", quality="low")  # doctest: +SKIP

Importing this package loads none of its native parts; each public name is imported when it is
first used.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon3d.cli.sample import sample_video
    from recon3d.errors import (
        Cancelled,
        EngineUnavailable,
        InputError,
        OptionError,
        ProjectError,
        Recon3DError,
        ReconstructionError,
        StageError,
    )
    from recon3d.io.models import load_mesh, load_point_cloud
    from recon3d.options.value_types import Engine, Quality
    from recon3d.pipeline.pipeline import Pipeline, reconstruct
    from recon3d.pipeline.run import Run
    from recon3d.preflight.check import check
    from recon3d.preflight.probe import probe
    from recon3d.project.browser import projects
    from recon3d.project.project import Project
    from recon3d.project.results import Results
    from recon3d.project.stage_pictures import StagePicture, stage_pictures
    from recon3d.stage_table import STAGE_NAMES, PictureKind, StageName
    from recon3d.types import Camera, DepthMap, Mesh, PointCloud, Scene, TexturedMesh, View
    from recon3d.viewer.html_export import export_html, view_scene
    from recon3d.viewer.page_files import viewer_files
    from recon3d.viewer.photos import depth_picture

__version__ = "0.1.0"

_HOMES = {
    "errors": (
        "Cancelled",
        "EngineUnavailable",
        "InputError",
        "OptionError",
        "ProjectError",
        "Recon3DError",
        "ReconstructionError",
        "StageError",
    ),
    "options.value_types": ("Engine", "Quality"),
    "pipeline.pipeline": ("Pipeline", "reconstruct"),
    "preflight.check": ("check",),
    "preflight.probe": ("probe",),
    "project.browser": ("projects",),
    "project.project": ("Project",),
    "project.results": ("Results",),
    "project.stage_pictures": ("StagePicture", "stage_pictures"),
    "pipeline.run": ("Run",),
    "cli.sample": ("sample_video",),
    "io.models": ("load_mesh", "load_point_cloud"),
    "viewer.html_export": ("export_html", "view_scene"),
    "viewer.page_files": ("viewer_files",),
    "viewer.photos": ("depth_picture",),
    "stage_table": ("STAGE_NAMES", "PictureKind", "StageName"),
    "types": ("Camera", "DepthMap", "Mesh", "PointCloud", "Scene", "TexturedMesh", "View"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "STAGE_NAMES",
    "Camera",
    "Cancelled",
    "DepthMap",
    "Engine",
    "EngineUnavailable",
    "InputError",
    "Mesh",
    "OptionError",
    "PictureKind",
    "Pipeline",
    "PointCloud",
    "Project",
    "ProjectError",
    "Quality",
    "Recon3DError",
    "ReconstructionError",
    "Results",
    "Run",
    "Scene",
    "StageError",
    "StageName",
    "StagePicture",
    "TexturedMesh",
    "View",
    "check",
    "depth_picture",
    "export_html",
    "load_mesh",
    "load_point_cloud",
    "probe",
    "projects",
    "reconstruct",
    "sample_video",
    "stage_pictures",
    "view_scene",
    "viewer_files",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'recon3d' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"recon3d.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


if "IPython" in sys.modules:
    importlib.import_module("recon3d.notebook.display").register()

"""The public surface, and what importing it costs."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import recon3d

PUBLIC = [
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
    "STAGE_NAMES",
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
#: Those that are no class and no function.
VALUES = ("Engine", "PictureKind", "Quality", "STAGE_NAMES", "StageName")
#: Deep paths that the docs teach.
DEEP = {
    "recon3d.project": ("Project",),
    "recon3d.pipeline": ("Pipeline", "reconstruct"),
    "recon3d.export": ("export_project",),
    "recon3d.events": ("fold", "follow_events", "read_events"),
    "recon3d.evaluation": ("pose_errors", "surface_scores"),
    "recon3d.notebook": ("App", "Panel", "Viewer", "compare", "export_html", "plots"),
    "recon3d_api.client": ("ApiError", "Client", "ReconstructionFailed"),
}


def test_the_public_names_are_these_and_documented() -> None:
    assert sorted(recon3d.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(recon3d, name).__doc__ or name in VALUES, name
    assert set(PUBLIC) <= set(dir(recon3d))


@pytest.mark.parametrize("module", sorted(DEEP))
def test_deep_paths_that_the_docs_teach_stay(module: str) -> None:
    for name in DEEP[module]:
        assert getattr(importlib.import_module(module), name).__doc__, name


def test_importing_loads_nothing_native() -> None:
    script = (
        "import sys, recon3d, recon3d.pipeline\n"
        "print([m for m in ('pycolmap', 'dask', 'distributed', 'numba', 'open3d', 'cv2', 'av',"
        " 'ipywidgets', 'pythreejs') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_planning_does_not_load_pycolmap() -> None:
    script = (
        "import sys; from recon3d.pipeline.plan import load_stage\n"
        "from recon3d.stage_table import STAGE_NAMES\n"
        "versions = [load_stage(name).VERSION for name in STAGE_NAMES]\n"
        "print([m for m in ('pycolmap', 'dask', 'distributed', 'open3d') if m in sys.modules], len(versions))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 7"

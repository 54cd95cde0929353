"""The public surface, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import recon3d

PUBLIC = [
    "Camera",
    "Cancelled",
    "DepthMap",
    "EngineUnavailable",
    "InputError",
    "Mesh",
    "OptionError",
    "Pipeline",
    "PointCloud",
    "Project",
    "ProjectError",
    "Recon3DError",
    "ReconstructionError",
    "Results",
    "Run",
    "Scene",
    "StageError",
    "TexturedMesh",
    "View",
    "projects",
    "reconstruct",
]


def test_the_public_names_are_these_and_documented() -> None:
    assert sorted(recon3d.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(recon3d, name).__doc__, name
    assert set(PUBLIC) <= set(dir(recon3d))


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

"""Stages whose tasks do not see the project's folder make what they make with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recon3d.compute import InlineContext
from recon3d.layout import ARTIFACTS, INPUTS
from recon3d.options import resolve_options
from recon3d.pipeline.plan import load_stage
from recon3d.project import Project
from recon3d.stage_table import STAGES
from recon3d.storage import Storage, default_cache
from tests.compute.carried import CarriedContext
from tests.synthetic.scenes import Plane, Sphere, arc, render

SMALL: dict[str, dict[str, Any]] = {
    "feature_extraction": {"first_octave": -1, "max_features": 2000},
    "dense_reconstruction": {"max_image_size": 100, "num_sources": 2, "iterations": 1},
    "mesh_generation": {"max_faces": 1000},
    "texturing": {"texture_size": 256},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RECON3D_CACHE", str(tmp_path / "cache"))
    default_cache.cache_clear()
    yield tmp_path / "cache"
    default_cache.cache_clear()


def with_photos(folder: Path) -> Project:
    """Photos of a ball before a wall; one has a transparent corner, which makes a mask."""
    photos = folder.parent / f"photos-{folder.name}"
    photos.mkdir()
    shapes = [Sphere(np.zeros(3), 0.55), Plane(np.array([0.0, 0.0, -1.0]), -0.6)]
    for index, view in enumerate(arc(6, size=(240, 180))):
        rgb = render(shapes, view, detail=6.0).rgb
        alpha = np.full((*rgb.shape[:2], 1), 255, np.uint8)
        if index == 0:
            alpha[:40, :40] = 0
        Image.fromarray(np.concatenate([rgb, alpha] if index == 0 else [rgb], axis=2)).save(
            photos / f"{index}.png"
        )
    project = Project.create(folder)
    project.add_photos(photos)
    return project


def run_all(project: Project, context: InlineContext) -> dict[str, str]:
    """Digests of what all stages make."""
    options = resolve_options("low", SMALL)
    folders = {"inputs": project.path / INPUTS}
    for stage in STAGES:
        out = project.path / ARTIFACTS / f"{stage.name}-0"
        out.mkdir(parents=True)
        needs = {need: folders[need] for need in stage.needs}
        load_stage(stage.name).run(needs, options[stage.name], out, context)
        folders[stage.name] = out
    made = project.path / ARTIFACTS
    return {
        str(path.relative_to(made)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(made.rglob("*"))
        if path.is_file() and ".tmp-work" not in path.parts
    }


def test_all_stages_make_the_same_without_the_folder(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}/store")
    context = CarriedContext(storage, tmp_path / "away")
    made = run_all(with_photos(tmp_path / "away"), context)
    assert made == run_all(with_photos(tmp_path / "here"), InlineContext())
    assert "texturing-0/textured_mesh.glb" in made
    assert "frame_extraction-0/masks/0.png.png" in made

"""Writing the components of a set for people and other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recon3d.colmap.models import copy_model, read_scene
from recon3d.io.components import (
    CAMERAS,
    CLOUD,
    LEAST_IMAGES,
    MODEL_FOLDER,
    Component,
    component_numbers,
    write_component_list,
)
from recon3d.io.nerfstudio import write_transforms
from recon3d.io.ply import write_point_cloud
from recon3d.layout import IMAGES
from recon3d.types import PointCloud


def write_components(models: Path, out: Path, names: Sequence[str], chosen: int) -> list[Component]:
    """Write a COLMAP model, a cloud and nerfstudio's cameras of each component.

    Parameters
    ----------
    models : Path
        Folder of two or more models, the chosen one first.
    out : Path
        Folder for the components.
    names : sequence of str
        Names of all images, in their order.
    chosen : int
        Number of the component that the model is made from.

    Returns
    -------
    list of Component
        By number.
    """
    folders = sorted(models.iterdir(), key=lambda path: int(path.name))
    numbers = component_numbers(len(folders), chosen)
    components = []
    for number, folder in sorted(zip(numbers, folders, strict=True)):
        scene = read_scene(folder, names)
        components.append(Component(number, len(scene), len(scene.points), number == chosen))
        if len(scene) < LEAST_IMAGES:
            continue
        target = out / str(number)
        (target / MODEL_FOLDER).mkdir(parents=True, exist_ok=True)
        copy_model(folder, target / MODEL_FOLDER)
        write_point_cloud(target / CLOUD, PointCloud(scene.points.xyz, colors=scene.points.rgb))
        write_transforms(target / CAMERAS, scene, IMAGES)
    out.mkdir(parents=True, exist_ok=True)
    write_component_list(out, components)
    return components

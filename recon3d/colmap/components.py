"""Writing the components of a set for people and other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recon3d.colmap.models import copy_model, read_scene
from recon3d.io.nerfstudio import write_transforms
from recon3d.io.ply import write_point_cloud
from recon3d.layout import IMAGES, Component, component_files, write_component_list
from recon3d.types import PointCloud

#: Images that a component needs to be written.
_LEAST_IMAGES = 3


def write_components(
    models: Path, out: Path, names: Sequence[str], numbers: Sequence[int]
) -> list[Component]:
    """Write a COLMAP model, a cloud and nerfstudio's cameras of each component.

    Parameters
    ----------
    models : Path
        Folder of two or more models, the one that is used first.
    out : Path
        Folder of the artifact.
    names : sequence of str
        Names of all images, in their order.
    numbers : sequence of int
        The component that each model is.

    Returns
    -------
    list of Component
        By number.
    """
    folders = sorted(models.iterdir(), key=lambda path: int(path.name))
    components = []
    for number, folder in sorted(zip(numbers, folders, strict=True)):
        scene = read_scene(folder, names)
        components.append(Component(number, len(scene), len(scene.points), number == numbers[0]))
        if len(scene) < _LEAST_IMAGES:
            continue
        files = component_files(out, number)
        files.model.mkdir(parents=True, exist_ok=True)
        copy_model(folder, files.model)
        write_point_cloud(files.cloud, PointCloud(scene.points.xyz, colors=scene.points.rgb))
        write_transforms(files.transforms, scene, IMAGES)
    write_component_list(out, components)
    return components

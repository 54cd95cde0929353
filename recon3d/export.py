"""Writing a project's results for other programs."""

from __future__ import annotations

from pathlib import Path

from recon3d.errors import InputError, OptionError
from recon3d.project import Project
from recon3d.results import publish_path

FORMATS = ("glb", "obj", "ply", "colmap", "nerfstudio")


def export_project(project: Project, format: str, output: Path | None = None) -> Path:
    """Write a project's results in one format.

    Parameters
    ----------
    project : Project
    format : {"glb", "obj", "ply", "colmap", "nerfstudio"}
        ``glb`` and ``obj``: the textured model; ``ply``: the surface with vertex colours;
        ``colmap``: a folder with ``images`` and ``sparse``; ``nerfstudio``: a folder with
        ``images`` and ``transforms.json``.
    output : Path, optional
        File or folder to write; ``PROJECT/export/FORMAT…`` by default.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    InputError
        The result does not exist yet.
    OptionError
        There is no such format.
    """
    results = project.results
    folder = project.path / "export"
    if format in ("glb", "obj"):
        source = _made(project, "textured_mesh", results.textured_mesh)
        target = output or folder / f"{project.path.name}.{format}"
        if format == "glb":
            publish_path(source, target)
        else:
            from recon3d.io.gltf import read_textured_mesh
            from recon3d.io.obj import write_obj

            write_obj(target, read_textured_mesh(source))
        return target
    if format == "ply":
        target = output or folder / f"{project.path.name}.ply"
        publish_path(_made(project, "mesh", results.mesh), target)
        return target
    if format in ("colmap", "nerfstudio"):
        target = output or folder / format
        images = project.artifacts["frame_extraction"].path / "images" if results.sparse else None
        if format == "colmap":
            publish_path(_made(project, "sparse", results.sparse), target / "sparse" / "0")
        else:
            publish_path(_made(project, "transforms", results.transforms), target / "transforms.json")
        if images is not None:
            publish_path(images, target / "images")
        return target
    raise OptionError(f"There is no export format {format!r}.", f"Use one of {', '.join(FORMATS)}.")


def _made(project: Project, name: str, path: Path | None) -> Path:
    if path is None:
        raise InputError(
            f"{project.path} has no {name.replace('_', ' ')} yet.", f"recon3d run -o {project.path}"
        )
    return path

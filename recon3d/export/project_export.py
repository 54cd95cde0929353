"""Writing a project's results for other programs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, get_args

import numpy as np

from recon3d.errors import InputError, OptionError, StageError
from recon3d.export.photo_masks import add_masks, publish_masks
from recon3d.io.atomic import publish_path, write_json
from recon3d.layout import EXPORT, IMAGES, TRANSFORMS, images_folder
from recon3d.options.value_types import ExportFormat, Material, TextureFormat
from recon3d.similarity import scaled
from recon3d.types import Bytes, Floats, Mesh, Scene, TexturedMesh


class _Artifact(Protocol):
    @property
    def path(self) -> Path: ...


class _Scale(Protocol):
    @property
    def factor(self) -> float: ...


class _Results(Protocol):
    @property
    def mesh(self) -> Path | None: ...

    @property
    def textured_mesh(self) -> Path | None: ...

    @property
    def normal_map(self) -> Path | None: ...

    @property
    def sparse(self) -> Path | None: ...

    @property
    def transforms(self) -> Path | None: ...


class ExportedProject(Protocol):
    """What of a `recon3d.Project` its export needs."""

    @property
    def path(self) -> Path:
        """The project's folder."""
        ...

    @property
    def artifacts(self) -> Mapping[str, _Artifact]:
        """Its artifacts by stage."""
        ...

    @property
    def results(self) -> _Results:
        """Its result files."""
        ...

    @property
    def scale(self) -> _Scale | None:
        """Metres per unit, where the user has set it."""
        ...


FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
_MATERIALS, _TEXTURE_FORMATS = get_args(Material), get_args(TextureFormat)
_FOLDERS = ("colmap", "colmap-dense", "nerfstudio")
#: Marks a folder that an export wrote, and that a further one may write again.
_MARKER = ".recon3d-export.json"


def export_project(
    project: ExportedProject,
    format: str,
    output: Path | None = None,
    *,
    material: Material = "unlit",
    texture_format: TextureFormat = "jpeg",
    occlusion: bool = False,
) -> Path:
    """Write a project's results in one format, in metres where `Project.set_scale` was used.

    Parameters
    ----------
    project : Project
    format : {"glb", "obj", "ply", "stl", "usdz", "colmap", "colmap-dense", "nerfstudio"}
        ``glb`` and ``obj``: the textured model; ``ply``: the surface with vertex colours;
        ``stl``: the bare surface for printing, in millimetres and with z up; ``usdz``: the textured
        model for augmented reality;
        ``colmap``: a folder with ``images`` and ``sparse``; ``colmap-dense``: a folder with
        undistorted images, their model, and depth and normal maps, as COLMAP's dense stage has them;
        ``nerfstudio``: a folder with ``images`` and ``transforms.json``.
    output : Path, optional
        File or folder to write; ``PROJECT/export/FORMAT…`` by default.
    material : {"unlit", "pbr"}
        Of a GLB: as the photos show it, or rough and not metallic, with normals, for programs that light it;
        with the normal map, where there is one.
    texture_format : {"jpeg", "png", "webp"}
        Of a GLB.
    occlusion : bool
        Of a GLB of the material ``pbr``: how open the surface is to light from all around, as a map.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    InputError
        The result does not exist yet, or `output` is a folder with files that no export wrote.
    OptionError
        There is no such format, or the output's suffix is that of another; a format other than GLB has
        neither material nor texture format, or there is no such one; a GLB that is not lit has no occlusion.
    EngineUnavailable
        ``usdz`` needs the extra ``usd``, which is not installed.
    StageError
        The files cannot be read or written; names the file.
    """
    _check_look(format, material, texture_format)
    if occlusion and material != "pbr":
        raise OptionError("Ambient occlusion is for programs that light the model.", "Export glb with pbr.")
    try:
        return _export(project, format, output, _Look(material, texture_format, occlusion))
    except OSError as error:
        where = error.filename or output or project.path / EXPORT
        raise StageError(
            f"The export to {format} failed at {where}: {error.strerror or error}.",
            "Free space on the disk, check the folder's permissions, or choose another place with --output.",
        ) from error


def _check_look(format: str, material: str, texture_format: str) -> None:
    for name, value, known in (
        ("material", material, _MATERIALS),
        ("texture format", texture_format, _TEXTURE_FORMATS),
    ):
        if value not in known:
            raise OptionError(f"Unknown {name} {value!r}.", f"Use one of {', '.join(known)}.")
        if format != "glb" and value != known[0]:
            raise OptionError(f"The {name} {value} is for GLB, not for {format}.", "Export to glb.")


@dataclass(frozen=True)
class _Look:
    """How a GLB looks; see `export_project`."""

    material: Material = "unlit"
    texture_format: TextureFormat = "jpeg"
    occlusion: bool = False


def _export(
    project: ExportedProject,
    format: str,
    output: Path | None,
    look: _Look,
) -> Path:
    results = project.results
    folder = project.path / EXPORT
    if output is not None and format in _FOLDERS:
        _check_folder(output)
    if output is not None and format in FORMATS and format not in _FOLDERS and output.is_dir():
        raise StageError(
            f"{output} is a folder, and {format} is a file.",
            f"Choose a name such as {output / 'model'}.{format}.",
        )
    if output is not None and format in FORMATS and format not in _FOLDERS:
        check_suffix(output, format)
    scale = project.scale
    factor = 1.0 if scale is None else scale.factor
    if format in ("glb", "obj"):
        source = _made(project, "textured_mesh", results.textured_mesh)
        target = output or folder / f"{project.path.name}.{format}"
        if look == _Look():
            _write_textured(source, target, format, factor, _normal_map(results))
        else:
            normals = _normal_map(results) if look.material == "pbr" else None
            _write_look(source, target, factor, _up(project), look, normals)
        return target
    if format in ("stl", "usdz"):
        target = output or folder / f"{project.path.name}.{format}"
        _write_upright(project, target, format, scale)
        return target
    if format == "ply":
        target = output or folder / f"{project.path.name}.ply"
        source = _made(project, "mesh", results.mesh)
        if factor == 1.0:
            publish_path(source, target)
        else:
            from recon3d.io.ply import read_mesh, write_mesh

            target.parent.mkdir(parents=True, exist_ok=True)
            write_mesh(target, scaled(read_mesh(source), factor))
        return target
    if format == "colmap-dense":
        target = output or folder / "colmap_dense"
        _write_dense(project, target, factor)
        write_json(target / _MARKER, {"format": format})
        return target
    if format in ("colmap", "nerfstudio"):
        target = output or folder / format
        images = images_folder(project.artifacts["frame_extraction"].path) if results.sparse else None
        if format == "colmap":
            publish_path(_made(project, "sparse", results.sparse), target / "sparse" / "0")
            if factor != 1.0:
                _scale_model(target / "sparse" / "0", factor)
        else:
            publish_path(_made(project, "transforms", results.transforms), target / TRANSFORMS)
            if factor != 1.0:
                from recon3d.io.nerfstudio import write_transforms

                scene = Scene.load(project.artifacts["sparse_reconstruction"].path)
                write_transforms(target / TRANSFORMS, scaled(scene, factor), IMAGES)
        if images is not None:
            publish_path(images, target / images.name)
            if publish_masks(images, target / images.name) and format == "nerfstudio":
                add_masks(target / TRANSFORMS, images.name)
        write_json(target / _MARKER, {"format": format})
        return target
    raise OptionError(f"Unknown export format {format!r}.", f"Use one of {', '.join(FORMATS)}.")


def check_suffix(path: Path, format: str) -> None:
    """Refuse a file's name that speaks of another format.

    Parameters
    ----------
    path : Path
    format : str
        Also the suffix, without its dot.

    Raises
    ------
    OptionError
        The suffix is another one.
    """
    if path.suffix.lower() not in ("", f".{format}"):
        raise OptionError(
            f"{path} is no name for the format {format}.", f"Choose a name in .{format}, or another format."
        )


def _check_folder(target: Path) -> None:
    """Refuse a folder whose ``images`` may be someone's photos."""
    if target.is_dir() and any(target.iterdir()) and not (target / _MARKER).is_file():
        raise InputError(
            f"{target} holds files that no export wrote, and would be written over.",
            "Give a new or an empty folder.",
        )


def _normal_map(results: _Results) -> Bytes | None:
    """What texturing has baked for the textured mesh among the results, if it has."""
    import cv2

    path = results.normal_map
    if path is None:
        return None
    decoded = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise InputError(
            f"{path} is damaged.",
            "Remove it: the next run copies it again, or makes it anew with --rerun-from texturing.",
        )
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _write_textured(source: Path, target: Path, format: str, factor: float, normal_map: Bytes | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if format == "obj":
        from recon3d.io.gltf import read_textured_mesh
        from recon3d.io.obj import write_obj

        write_obj(target, scaled(read_textured_mesh(source), factor), normal_map=normal_map)
    elif factor == 1.0:
        publish_path(source, target)
    else:
        from recon3d.io.gltf_scale import scale_glb

        scale_glb(source, target, factor)


def _write_look(
    source: Path,
    target: Path,
    factor: float,
    up: Floats | None,
    look: _Look,
    normal_map: Bytes | None,
) -> None:
    from recon3d.io.gltf import read_texture_files, read_textured_mesh, write_glb

    target.parent.mkdir(parents=True, exist_ok=True)
    mesh = scaled(read_textured_mesh(source), factor)
    present, encoded = read_texture_files(source)
    same = encoded if present == look.texture_format else None
    occlusion = None
    if look.occlusion:
        from recon3d.texture.occlusion_map import occlusion_map

        occlusion = occlusion_map(mesh)
    write_glb(
        target,
        mesh,
        texture_format=look.texture_format,
        encoded=same,
        material=look.material,
        normal_map=normal_map,
        occlusion=occlusion,
        up=up,
    )


def _up(project: ExportedProject) -> Floats | None:
    if "sparse_reconstruction" not in project.artifacts:
        return None
    return Scene.load(project.artifacts["sparse_reconstruction"].path).up


def _write_upright(project: ExportedProject, target: Path, format: str, scale: _Scale | None) -> None:
    """Formats whose programs have an up of their own: z in STL, y in USDZ."""
    from recon3d.io.gltf import matrix_of, quaternion_to_y, read_textured_mesh
    from recon3d.io.ply import read_mesh

    results = project.results
    mesh: Mesh | TexturedMesh
    normal_map = None
    if format == "usdz" and results.textured_mesh is not None:
        mesh, normal_map = read_textured_mesh(results.textured_mesh), _normal_map(results)
    else:
        mesh = read_mesh(_made(project, "mesh", results.mesh))
    up = _up(project)
    turn = np.eye(3) if up is None else matrix_of(quaternion_to_y(up))
    if format == "stl":
        turn = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]) @ turn
    factor = 1.0 if scale is None else scale.factor * (1000.0 if format == "stl" else 1.0)
    mesh = replace(mesh, vertices=factor * mesh.vertices @ turn.T)
    if format == "stl":
        from recon3d.io.stl import write_stl

        write_stl(target, mesh, unit="" if scale is None else "mm")
    else:
        from recon3d.io.usdz import write_usdz

        write_usdz(target, mesh, normal_map=normal_map)


def _write_dense(project: ExportedProject, target: Path, factor: float) -> None:
    artifacts = project.artifacts
    if "dense_reconstruction" not in artifacts:
        raise InputError(f"{project.path} has no depth maps yet.", f"recon3d run -o {project.path}")
    _in_a_process(
        [
            *("-m", "recon3d.export.depth_maps", str(target), str(artifacts["dense_reconstruction"].path)),
            *(
                str(artifacts["sparse_reconstruction"].path),
                str(images_folder(artifacts["frame_extraction"].path)),
            ),
            *("--factor", repr(factor)),
        ],
        f"The depth maps could not be written to {target}.",
        "The last line of the log above names the cause. Free space on the disk, check the folder's "
        "permissions, or choose another place with --output.",
    )


def _scale_model(model: Path, factor: float) -> None:
    code = (
        "import sys; from pathlib import Path; import numpy as np;"
        "from recon3d.colmap import transform_model;"
        "transform_model(Path(sys.argv[1]), float(sys.argv[2]), np.eye(3), np.zeros(3))"
    )
    _in_a_process(
        ["-c", code, str(model), repr(factor)],
        f"The COLMAP model in {model} could not be scaled.",
        "Clear the scale and export again, or scale it in the program that reads it.",
    )


def _in_a_process(arguments: list[str], trouble: str, hint: str) -> None:
    """Run Python on its own, since COLMAP can abort its interpreter."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise StageError(trouble, hint, log_tail=done.stderr[-2000:])


def _made(project: ExportedProject, name: str, path: Path | None) -> Path:
    if path is None:
        raise InputError(
            f"{project.path} has no {name.replace('_', ' ')} yet.", f"recon3d run -o {project.path}"
        )
    return path

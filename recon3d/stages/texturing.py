"""Stage 7: the surface painted from the photos."""

from __future__ import annotations

import functools
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.compute import StageContext, reads, task_progress
from recon3d.errors import OutOfMemory, ReconstructionError
from recon3d.io.atomic import atomic_path
from recon3d.io.gltf import write_glb
from recon3d.io.masks import load_view_mask, visible_at
from recon3d.io.ply import read_mesh
from recon3d.io.undistort import load_view_image
from recon3d.layout import MESH, TEXTURED_MESH, TextureCounts, images_folder, mask_file
from recon3d.options import TexturingOptions
from recon3d.stages.preview import write_preview
from recon3d.texture.assemble import texture_mesh
from recon3d.texture.face_visibility import CandidateTable, ViewFaces, seen_faces
from recon3d.texture.guesses import guessed_faces
from recon3d.texture.refine import Splits, split_large_faces
from recon3d.types import Bytes, Camera, Mesh, PointCloud, Scene, SparsePoints, View

VERSION = 5

_JPEG_QUALITY = 92
#: Bytes for each pixel of a photo while it is rated: itself, its gradients, the depth test.
_PHOTO_BYTES = 48
#: Bytes for each texel of the atlas: fixed-point colours, mask, half-size pyramid, texture, JPEG.
_TEXEL_BYTES = 24
_BASE_BYTES = 400_000_000
#: Atlases smaller than this are not tried when memory runs out.
_SMALLEST_ATLAS = 1024
_SPLITS = "splits_"
#: What a mesh may have beside its vertices and faces.
_OPTIONAL = ("colors", "guessed")
#: Splits for each face of room that is made for them, and the largest share of the faces it takes.
_SPLITS_A_PLACE, _ROOM = 3, 5
#: A larger doubted share of the surface is said.
_MUCH = 0.01
#: A smaller mesh has no faces to spare.
_MANY_FACES = 500


@dataclass(frozen=True)
class _ViewTask:
    images: Path
    mesh: Path
    view: View
    max_size: int
    output: Path


@dataclass(frozen=True)
class _AssembleTask:
    images: Path
    mesh: Path
    scene: Scene
    ratings: tuple[Path, ...]
    max_size: int
    texture_size: int
    seam_levelling: bool
    output: Path


def run(inputs: Mapping[str, Path], options: TexturingOptions, out_dir: Path, context: StageContext) -> None:
    """Write ``textured_mesh.glb`` and ``preview.png``.

    Parameters
    ----------
    inputs : mapping of str to Path
        The folders of ``frame_extraction``, ``sparse_reconstruction`` and ``mesh_generation``.
    options : TexturingOptions
    out_dir : Path
    context : StageContext

    Raises
    ------
    ReconstructionError
        No photo shows any of the surface.
    InputError
        A frame or the mesh cannot be read.
    OptionError
        The texture is too small for the surface.
    """
    scene = Scene.load(inputs["sparse_reconstruction"])
    images = images_folder(inputs["frame_extraction"])
    surface = inputs["mesh_generation"] / MESH
    work = out_dir / "views"
    mesh = work / "mesh.npz"
    face_bytes = surface.stat().st_size * 40
    if not _is_whole(mesh):
        context.call(_prepare, surface, scene.views, options.max_image_size, mesh, memory=face_bytes)
    tasks = [
        _ViewTask(images, mesh, view, options.max_image_size, work / f"{view.name}.npz") for view in scene
    ]
    missing = [task for task in tasks if not _is_whole(task.output)]
    largest = max((_pixels(view.camera, options.max_image_size) for view in scene), default=0)
    context.map(
        _rate_view,
        missing,
        names=[task.view.name for task in missing],
        done=len(tasks) - len(missing),
        memory=_BASE_BYTES + largest * _PHOTO_BYTES + face_bytes,
    )
    size = options.texture_size
    while True:
        assemble = _AssembleTask(
            images,
            mesh,
            replace(scene, points=SparsePoints.empty()),
            tuple(task.output for task in tasks),
            options.max_image_size,
            size,
            options.seam_levelling,
            out_dir,
        )
        memory = _BASE_BYTES + size * size * _TEXEL_BYTES + face_bytes + largest * 8
        try:
            counts, doubted = context.call(_assemble, assemble, memory=memory, unit="views")
            break
        except OutOfMemory:
            if size // 2 < _SMALLEST_ATLAS:
                raise
            context.fallback(
                f"A texture of {size} x {size} texels needs too much memory; {size // 2} instead."
            )
            size //= 2
    context.count(counts)
    if doubted > _MUCH:
        context.fallback(
            f"{100 * doubted:.1f} % of the surface takes its colours from its surroundings: where it should "
            "be, photos show what is behind it, or different things. Photos from above and from closer help."
        )
    if scene.up is not None and scene.up[1] < 1:
        axis = "+-"[int(scene.up.sum() < 0)] + "xyz"[int(np.abs(scene.up).argmax())]
        context.fallback(
            f"The world's {axis} axis points up, while glTF is y-up: {TEXTURED_MESH} turns the model "
            "upright. PLY, OBJ and COLMAP files keep the axes of the world."
        )
    shutil.rmtree(work)


def _pixels(camera: Camera, max_size: int) -> int:
    camera = camera.fitted(max_size)
    return camera.width * camera.height


def _is_whole(path: Path) -> bool:
    return path.is_file() and zipfile.is_zipfile(path)


@reads(lambda surface, *_: [surface])
def _prepare(surface: Path, views: tuple[View, ...], max_size: int, output: Path) -> None:
    """Split what is too large to be painted from one photo; store the mesh in a form that loads fast."""
    fitted = [View(view.name, view.camera.fitted(max_size), view.cam_from_world) for view in views]
    whole = read_mesh(surface)
    mesh, splits = split_large_faces(whole, fitted)
    if len(splits) and len(whole) >= _MANY_FACES:
        # Some splits must stay, at borders of photos and of what hides others: they need room.
        room = min(len(splits) // _SPLITS_A_PLACE, len(whole) // _ROOM)
        mesh, splits = split_large_faces(_fewer(whole, len(whole) - room), fitted)
    arrays: dict[str, NDArray[Any]] = {"vertices": mesh.vertices, "faces": mesh.faces}
    arrays["max_faces"] = np.array(len(whole))
    arrays |= {name: value for name in _OPTIONAL if (value := getattr(mesh, name)) is not None}
    arrays |= {f"{_SPLITS}{field.name}": getattr(splits, field.name) for field in fields(splits)}
    with atomic_path(output) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _fewer(mesh: Mesh, faces: int) -> Mesh:
    from recon3d.surface.cleaning import make_manifold
    from recon3d.surface.simplification import simplify, with_attributes

    fewer = make_manifold(simplify(mesh, faces))
    return with_attributes(fewer, PointCloud(mesh.vertices, None, mesh.colors))


@functools.lru_cache(maxsize=1)
def _load_mesh(path: Path) -> Mesh:
    """The prepared mesh; a worker rates many views of the same one."""
    with np.load(path) as data:
        optional = {name: data[name] for name in _OPTIONAL if name in data.files}
        return Mesh(data["vertices"], data["faces"], **optional)


def _load_splits(path: Path) -> tuple[Splits, int]:
    """How the prepared mesh was split, and the number of faces before."""
    with np.load(path) as data:
        splits = Splits(**{field.name: data[f"{_SPLITS}{field.name}"] for field in fields(Splits)})
        return splits, int(data["max_faces"])


@reads(lambda task: [task.mesh, task.images / task.view.name, mask_file(task.images, task.view.name)])
def _rate_view(task: _ViewTask) -> None:
    """Find the faces that one view shows, and write them down."""
    mesh = _load_mesh(task.mesh)
    rgb, camera = load_view_image(task.images, task.view, task.max_size)
    view = View(task.view.name, camera, task.view.cam_from_world)
    valid = _covered(mesh, task.view)
    visible = load_view_mask(mask_file(task.images, view.name), task.view, task.max_size)
    if visible is not None:
        pixel = camera.project(mesh.vertices @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3])
        shown = visible_at(visible, pixel)
        valid = shown if valid is None else valid & shown
    seen = seen_faces(mesh, view, rgb, valid=valid, guesses=guessed_faces(mesh))
    with atomic_path(task.output) as temporary, open(temporary, "wb") as file:
        np.savez(file, **{field.name: getattr(seen, field.name) for field in fields(ViewFaces)})


def _covered(mesh: Mesh, view: View) -> NDArray[np.bool_] | None:
    """Vertices that the distorted photo shows: the undistorted one is black where it has no pixels."""
    if view.camera.is_pinhole:
        return None
    R, t = view.cam_from_world[:3, :3], view.cam_from_world[:3, 3]
    pixel = view.camera.project(mesh.vertices @ R.T + t)
    # Behind the camera and beyond the lens model's range there is no pixel either.
    pixel = np.nan_to_num(pixel, nan=-1.0, posinf=-1.0, neginf=-1.0)
    margin = 2.0
    limit = np.array([view.camera.width, view.camera.height]) - margin
    return np.asarray(np.all((pixel >= margin) & (pixel <= limit), axis=1))


@reads(lambda task: [task.mesh, *task.ratings, *(task.images / view.name for view in task.scene)])
def _assemble(task: _AssembleTask) -> tuple[TextureCounts, float]:
    """Choose, paint and level; write the model. Tells the doubted share of the surface, too."""
    mesh = _load_mesh(task.mesh)
    splits, max_faces = _load_splits(task.mesh)
    table = CandidateTable(len(mesh))
    pinholes = []
    for index, (view, path) in enumerate(zip(task.scene, task.ratings, strict=True)):
        with np.load(path) as data:
            table.add(index, ViewFaces(**{field.name: data[field.name] for field in fields(ViewFaces)}))
        camera = view.camera.fitted(task.max_size).undistorted()
        pinholes.append(View(view.name, camera, view.cam_from_world))
    candidates = table.candidates()
    if not np.any(candidates.counts):
        raise ReconstructionError(
            f"None of the {len(task.scene)} photos shows the surface in {task.mesh}.",
            "The surface does not belong to these cameras; run mesh_generation again.",
        )

    def load_photo(index: int) -> Bytes:
        return load_view_image(task.images, task.scene.views[index], task.max_size)[0]

    textured, counts = texture_mesh(
        mesh,
        pinholes,
        candidates,
        load_photo,
        guesses=guessed_faces(mesh),
        splits=splits,
        max_faces=max_faces,
        texture_size=task.texture_size,
        seam_levelling=task.seam_levelling,
        progress=task_progress,
    )
    write_glb(task.output / TEXTURED_MESH, textured, quality=_JPEG_QUALITY, up=task.scene.up)
    write_preview(task.output, task.scene, textured)
    facts = asdict(counts)
    doubted = facts.pop("doubted")
    return TextureCounts(**facts), doubted

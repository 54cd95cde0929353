"""USDZ: one file for augmented reality on phones, by Pixar's library."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from recon3d.errors import EngineUnavailable, StageError
from recon3d.io.atomic import atomic_path
from recon3d.io.gltf import encoded_texture
from recon3d.io.mesh_check import require_faces
from recon3d.texture.grid import face_pages, numbered, page_coordinates, page_pictures
from recon3d.types import Bytes, Mesh, TexturedMesh

_QUALITY = 92


def write_usdz(path: Path, mesh: Mesh | TexturedMesh, *, normal_map: Bytes | None = None) -> None:
    """Write a mesh with its texture or its vertex colours.

    Parameters
    ----------
    path : Path
    mesh : Mesh or TexturedMesh
        In metres, with +y up.
    normal_map : ndarray of uint8, shape (h, w, 3), optional
        Of a `TexturedMesh`, as `recon3d.texture.normal_map` makes it.

    Raises
    ------
    EngineUnavailable
        The extra ``usd`` is not installed.
    InputError
        The mesh has no faces.
    StageError
        The package could not be written.
    """
    require_faces(mesh, path)
    try:
        from pxr import Sdf
    except ImportError as error:
        raise EngineUnavailable(
            "USDZ needs usd-core, which is not installed.", "pip install 'recon3d[usd]'"
        ) from error
    with tempfile.TemporaryDirectory(prefix="recon3d-usdz-") as folder:
        layer = Path(folder) / "model.usdc"
        _write_stage(layer, mesh, normal_map)
        with atomic_path(path) as temporary:
            package = Sdf.ZipFileWriter.CreateNew(os.fspath(temporary.absolute()))
            # The layer is the first; pictures are beside it, as it names them.
            files = [layer, *sorted(file for file in layer.parent.iterdir() if file != layer)]
            if not all(package.AddFile(str(file), file.name) for file in files) or not package.Save():
                raise StageError(f"{path} could not be written.", "Free space on the disk, and try again.")


def _write_stage(layer: Path, mesh: Mesh | TexturedMesh, normal_map: Bytes | None) -> None:
    from pxr import Gf, Sdf, Usd, UsdGeom, Vt

    stage = Usd.Stage.CreateNew(str(layer))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    root = UsdGeom.Xform.Define(stage, "/model")
    stage.SetDefaultPrim(root.GetPrim())
    Usd.ModelAPI(root).SetKind("component")
    surface = UsdGeom.Mesh.Define(stage, "/model/surface")
    points = mesh.vertices.astype(np.float32)
    surface.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    surface.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, np.int32)))
    surface.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(mesh.faces.astype(np.int32).ravel()))
    surface.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    # The inside of an open scan is part of it.
    surface.CreateDoubleSidedAttr(True)
    low, high = (Gf.Vec3f(*map(float, corner)) for corner in (points.min(axis=0), points.max(axis=0)))
    surface.CreateExtentAttr(Vt.Vec3fArray([low, high]))
    if isinstance(mesh, TexturedMesh):
        _paint(stage, surface, mesh, normal_map, layer)
    else:
        shader = _material(stage, surface.GetPrim(), "/model/photos")
        if mesh.colors is not None:
            shown = surface.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex)
            shown.Set(Vt.Vec3fArray.FromNumpy(_linear(mesh.colors)))
            reader = _reader(stage, "/model/photos/color", "displayColor", 3)
            color = shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
            color.ConnectToSource(reader.ConnectableAPI(), "result")
    stage.GetRootLayer().Save()


def _paint(stage: Any, surface: Any, mesh: TexturedMesh, normal_map: Bytes | None, layer: Path) -> None:
    """Give each page of the texture a material, and its faces to it."""
    from pxr import Sdf, UsdGeom, UsdShade, Vt

    face_page = face_pages(mesh)
    numbers = np.unique(face_page).tolist()
    values = UsdGeom.PrimvarsAPI(surface)
    st = values.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
    st.Set(Vt.Vec2fArray.FromNumpy(page_coordinates(mesh, face_page).astype(np.float32)))
    st.SetIndices(Vt.IntArray.FromNumpy(mesh.face_uv.astype(np.int32).ravel()))
    if normal_map is not None:
        from recon3d.texture.tangents import shading_normals

        surface.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(shading_normals(Mesh(mesh.vertices, mesh.faces))))
        surface.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    colors = page_pictures(mesh.texture, mesh.pages)
    normals = [] if normal_map is None else page_pictures(normal_map, mesh.pages)
    for place, number in enumerate(numbers):
        bound = surface.GetPrim()
        if len(numbers) > 1:
            part = Vt.IntArray.FromNumpy(np.flatnonzero(face_page == number).astype(np.int32))
            kind = UsdShade.Tokens.materialBind, UsdGeom.Tokens.nonOverlapping
            subset = f"page{place + 1}", UsdGeom.Tokens.face, part, *kind
            bound = UsdGeom.Subset.CreateGeomSubset(surface, *subset).GetPrim()
        path = numbered("/model/photos", place)
        shader = _material(stage, bound, path)
        picture = layer.with_name(f"{numbered('texture', place)}.jpg")
        picture.write_bytes(encoded_texture(colors[number], "jpeg", _QUALITY))
        reader = _reader(stage, f"{path}/st", "st", 2)
        texture = _texture(stage, f"{path}/texture", picture, "sRGB", reader)
        color = shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
        color.ConnectToSource(texture.ConnectableAPI(), "rgb")
        if normal_map is not None:
            picture = layer.with_name(f"{numbered('normals', place)}.png")
            picture.write_bytes(encoded_texture(normals[number], "png", 0))
            _add_normals(stage, shader, reader, picture, f"{path}/normals")


def _material(stage: Any, bound: Any, path: str) -> Any:
    """A rough material, bound to a part of the surface; its shader."""
    from pxr import Sdf, UsdShade

    material = UsdShade.Material.Define(stage, path)
    shader = _shader(stage, f"{path}/surface", "UsdPreviewSurface")
    shader.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(1.0)
    shader.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
    shader.CreateOutput("surface", Sdf.ValueTypeNames.Token)
    material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
    UsdShade.MaterialBindingAPI.Apply(bound).Bind(material)
    return shader


def _reader(stage: Any, path: str, name: str, parts: int) -> Any:
    """What reads a value of the surface's corners."""
    from pxr import Sdf

    reader = _shader(stage, path, f"UsdPrimvarReader_float{parts}")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set(name)
    reader.CreateOutput("result", Sdf.ValueTypeNames.Float2 if parts == 2 else Sdf.ValueTypeNames.Float3)
    return reader


def _texture(stage: Any, path: str, picture: Path, space: str, reader: Any) -> Any:
    from pxr import Sdf

    texture = _shader(stage, path, "UsdUVTexture")
    texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(picture.name)
    texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set(space)
    for side in ("wrapS", "wrapT"):
        texture.CreateInput(side, Sdf.ValueTypeNames.Token).Set("clamp")
    texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(reader.ConnectableAPI(), "result")
    texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
    return texture


def _add_normals(stage: Any, shader: Any, reader: Any, picture: Path, path: str) -> None:
    from pxr import Gf, Sdf

    texture = _texture(stage, path, picture, "raw", reader)
    # From 0 to 1 as read, from -1 to 1 as meant.
    texture.CreateInput("scale", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
    texture.CreateInput("bias", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
    normal = shader.CreateInput("normal", Sdf.ValueTypeNames.Normal3f)
    normal.ConnectToSource(texture.ConnectableAPI(), "rgb")


def _shader(stage: Any, path: str, kind: str) -> Any:
    from pxr import UsdShade

    shader = UsdShade.Shader.Define(stage, path)
    shader.CreateIdAttr(kind)
    return shader


def _linear(colors: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """USD's colours are linear."""
    value = colors.astype(np.float32) / 255
    low, high = value / 12.92, ((value + 0.055) / 1.055) ** 2.4
    return np.where(value <= 0.04045, low, high).astype(np.float32)

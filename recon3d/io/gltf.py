"""glTF 2.0 in its one-file form, GLB.

What is written opens in three.js, Blender, trimesh, Open3D and the validators alike: one mesh, with a
primitive and a material for each page of its texture. Photos carry the light they were taken in, so
materials ask for ``KHR_materials_unlit``; viewers that do not know the extension fall back on a fully rough
dielectric. On request it is one, with normals, and lit; then it may have a normal map, with tangents.
Materials are double-sided, since the inside of an open scan is part of it. glTF is y-up: in another world the
node turns the model, its vertices keep the world's axes. WebP textures need ``EXT_texture_webp``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.conversion import split_at_seams
from recon3d.errors import InputError, OptionError
from recon3d.io.atomic import atomic_path
from recon3d.io.mesh_check import require_faces
from recon3d.options.value_types import Material, TextureFormat
from recon3d.texture.grid import (
    face_pages,
    grid_of,
    in_grid,
    longest_side,
    most_pages,
    numbered,
    page_pictures,
    within_grid,
    within_page,
)
from recon3d.types import Bytes, Floats, Mesh, TexturedMesh

#: What a file of another structure raises while it is read.
DAMAGE = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    StopIteration,
    struct.error,
    cv2.error,
)

_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_DTYPES: dict[int, type[np.generic]] = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
_CODES = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_VERTICES, _INDICES = 34962, 34963
#: Worlds this many times further from the origin than they are large are moved there, and put back
#: by the node's translation: float32 would round surveyed coordinates.
_FAR = 100.0
_GENERATOR = "recon3d"
_UNLIT, _WEBP = "KHR_materials_unlit", "EXT_texture_webp"
#: Texture coordinates may lie so far outside of 0 to 1.
_ROUNDING = 1e-4
#: WebP's largest picture.
_WEBP_SIDE = 16383
#: A material without a texture: what it reflects, and nothing beside it.
_ROUGH: tuple[dict[str, Any], dict[str, Any]] = ({"metallicFactor": 0.0, "roughnessFactor": 1.0}, {})
#: Textures of a material.
_COLOR, _NORMAL, _OCCLUSION = "baseColorTexture", "normalTexture", "occlusionTexture"
#: Quality of a normal map by its format: above 100 WebP is without loss.
_NORMALS = {"jpeg": 98, "png": 0, "webp": 101}


def write_glb(
    path: Path,
    mesh: Mesh | TexturedMesh,
    *,
    texture_format: TextureFormat = "jpeg",
    quality: int = 92,
    encoded: Sequence[bytes] | None = None,
    material: Material = "unlit",
    normal_map: Bytes | None = None,
    occlusion: Bytes | None = None,
    up: Floats | None = None,
) -> None:
    """Write a mesh with its texture or its vertex colours.

    Parameters
    ----------
    path : Path
    mesh : Mesh or TexturedMesh
        Vertices of a `TexturedMesh` are split where the texture has a seam.
    texture_format : {"jpeg", "png", "webp"}
        Programs must know ``EXT_texture_webp`` to open a file with WebP.
    quality : int
        JPEG's or WebP's quality, 1 to 100; at 92 both have about the same error. JPEG keeps chroma at full
        resolution, WebP at half.
    encoded : sequence of bytes, optional
        The texture's pages as files in `texture_format`, where there are such: they are not encoded again.
    material : {"unlit", "pbr"}
        As the photos show it; or rough and not metallic, lit by the viewer, with normals.
    normal_map : ndarray of uint8, shape (h, w, 3), optional
        As `recon3d.texture.normal_map` makes it; for a `TexturedMesh` of the material ``pbr``. WebP keeps
        it without loss.
    occlusion : ndarray of uint8, shape (h, w, 3), optional
        As `recon3d.texture.occlusion_map` makes it; for a `TexturedMesh` of the material ``pbr``.
    up : ndarray of float64, shape (3,), optional
        Direction of up; +y by default. The node's rotation takes it to +y.

    Raises
    ------
    InputError
        The mesh has no faces, or the file would exceed the 4 GiB that GLB allows.
    OptionError
        The texture is too large for WebP; or a map of normals or occlusion is given where nothing is lit or
        textured.
    """
    require_faces(mesh, path)
    for name, given in (("a normal map", normal_map), ("ambient occlusion", occlusion)):
        if given is not None and (material == "unlit" or not isinstance(mesh, TexturedMesh)):
            raise OptionError(f"Only a textured mesh that is lit can have {name}.", "Use the material pbr.")
    writer = _Writer()
    # An empty list is not allowed.
    document: dict[str, Any] = {"extensionsUsed": [_UNLIT]} if material == "unlit" else {}
    if isinstance(mesh, TexturedMesh):
        parts = _textured_parts(mesh, lit=material == "pbr", tangents=normal_map is not None)
        pages = [part.page for part in parts]
        if encoded is None:
            colors = page_pictures(mesh.texture, mesh.pages)
            files = [encoded_texture(colors[page], texture_format, quality) for page in pages]
        else:
            files = [encoded[page] for page in pages]
        pictures = {_COLOR: files}
        for kind, picture, wanted in (
            (_NORMAL, normal_map, _NORMALS[texture_format]),
            (_OCCLUSION, occlusion, quality),
        ):
            if picture is not None:
                parts_of = page_pictures(picture, mesh.pages)
                pictures[kind] = [encoded_texture(parts_of[page], texture_format, wanted) for page in pages]
        materials = _textured_materials(writer, document, pictures, texture_format)
    else:
        parts, materials = [_plain_part(mesh, lit=material == "pbr")], [_ROUGH]
    corners = np.array([bound(part.vertices, axis=0) for part in parts for bound in (np.min, np.max)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    center = (low + high) / 2
    node: dict[str, Any] = {"mesh": 0, "name": "model"}
    rotation = np.array([0.0, 0.0, 0.0, 1.0]) if up is None else quaternion_to_y(up)
    if abs(rotation[3]) < 1.0:
        node["rotation"] = rotation.tolist()
    if np.abs(center).max() > _FAR * (high - low).max():
        node["translation"] = (matrix_of(rotation) @ center).tolist()
    else:
        center = np.zeros(3)
    unlit: dict[str, Any] = {"extensions": {_UNLIT: {}}} if material == "unlit" else {}
    document |= {
        "asset": {"version": "2.0", "generator": _GENERATOR},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [node],
        "meshes": [{"primitives": [_primitive(writer, part, n, center) for n, part in enumerate(parts)]}],
        "materials": [
            {
                "name": numbered("photos", number),
                "doubleSided": True,
                "pbrMetallicRoughness": surface,
                **more,
                **unlit,
            }
            for number, (surface, more) in enumerate(materials)
        ],
    }
    writer.write(path, document)


@dataclass(frozen=True, eq=False)
class _Part:
    """A primitive's vertices, their attributes beside the position, and faces."""

    vertices: Floats
    attributes: dict[str, NDArray[Any]]
    faces: NDArray[np.int64]
    page: int = 0

    def of(self, faces: NDArray[np.int64], page: int, grid: tuple[int, int]) -> _Part:
        """Some of the faces: those of a page."""
        used, numbers = np.unique(faces, return_inverse=True)
        held = {name: values[used] for name, values in self.attributes.items()}
        held["TEXCOORD_0"] = within_page(held["TEXCOORD_0"], page, grid)
        return _Part(self.vertices[used], held, numbers.reshape(-1, 3), page)


def _textured_parts(mesh: TexturedMesh, *, lit: bool, tangents: bool) -> list[_Part]:
    held: dict[str, NDArray[Any]]
    if lit:
        from recon3d.texture.tangents import split_for_shading

        split = split_for_shading(mesh)
        vertices, uv, faces = split.vertices, split.uv, split.faces
        held = {"TEXCOORD_0": uv, "NORMAL": split.normals.astype(np.float32)}
        if tangents:
            held["TANGENT"] = split.tangents
    else:
        vertices, uv, faces = split_at_seams(mesh)
        held = {"TEXCOORD_0": uv}
    whole = _Part(vertices, held, faces)
    if mesh.pages == (1, 1):
        parts = [whole]
    else:
        page = face_pages(mesh)
        parts = [whole.of(faces[page == number], int(number), mesh.pages) for number in np.unique(page)]
    for part in parts:
        # v counts down in glTF.
        part.attributes["TEXCOORD_0"][:, 1] = 1.0 - part.attributes["TEXCOORD_0"][:, 1]
    return parts


def _plain_part(mesh: Mesh, *, lit: bool) -> _Part:
    normals, held = mesh.normals, {}
    if lit and normals is None:
        from recon3d.texture.tangents import shading_normals

        normals = shading_normals(mesh)
    if mesh.colors is not None:
        held["COLOR_0"] = _linear(mesh.colors)
    if normals is not None:
        held["NORMAL"] = normals.astype(np.float32)
    return _Part(mesh.vertices, held, mesh.faces.astype(np.int64))


def _primitive(writer: _Writer, part: _Part, material: int, center: Floats) -> dict[str, Any]:
    positions = (part.vertices - center).astype(np.float32)
    attributes = {
        name: writer.accessor(values, _VERTICES, normalized=name == "COLOR_0")
        for name, values in part.attributes.items()
    }
    return {
        "attributes": {"POSITION": writer.accessor(positions, _VERTICES, bounds=True), **attributes},
        "indices": writer.accessor(part.faces.astype(np.uint32).reshape(-1), _INDICES),
        "material": material,
        "mode": 4,
    }


def _textured_materials(
    writer: _Writer,
    document: dict[str, Any],
    pictures: dict[str, list[bytes]],
    texture_format: TextureFormat,
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Put pictures of each kind and page into the file. Returns each page's material."""
    files = [file for page in zip(*pictures.values(), strict=True) for file in page]
    document["images"] = [
        {"bufferView": writer.view(file), "mimeType": f"image/{texture_format}"} for file in files
    ]
    document["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
    sources: list[dict[str, Any]] = [{"source": number} for number in range(len(files))]
    if texture_format == "webp":
        # No second picture for programs without WebP: it would cost more than WebP saves.
        sources = [{"extensions": {_WEBP: source}} for source in sources]
        document.setdefault("extensionsUsed", []).append(_WEBP)
        document["extensionsRequired"] = [_WEBP]
    document["textures"] = [{"sampler": 0, **source} for source in sources]
    materials = []
    for number in range(0, len(files), len(pictures)):
        index = {kind: {"index": number + place} for place, kind in enumerate(pictures)}
        materials.append(({**_ROUGH[0], _COLOR: index.pop(_COLOR)}, index))
    return materials


def read_glb(path: Path) -> Mesh | TexturedMesh:
    """Read a GLB with one mesh, as `write_glb` writes it and most photogrammetry programs do.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Mesh or TexturedMesh
        A `TexturedMesh` where the file has a texture; vertices split at its seams are welded. They
        are in the world that was written: a rotation that `write_glb` put into the node is undone.

    Raises
    ------
    InputError
        The file cannot be read, is damaged, or uses what is not supported (sparse or compressed data, files
        beside it, nodes that another program rotated).
    """
    try:
        document, binary = _chunks(Path(path).read_bytes())
        return _mesh(document, binary)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}.", "Check the path.") from error
    except DAMAGE as error:
        raise InputError(
            f"{path} is not a GLB with one mesh that recon3d can read: {error!r}.",
            "Re-export it as a single uncompressed GLB.",
        ) from error


def read_textured_mesh(path: Path) -> TexturedMesh:
    """Read a GLB file that has a texture.

    Parameters
    ----------
    path : Path

    Returns
    -------
    TexturedMesh

    Raises
    ------
    InputError
        As `read_glb`, or the file has no texture.
    """
    mesh = read_glb(path)
    if isinstance(mesh, Mesh):
        raise InputError(f"{path} has no texture.", "Run the texturing stage, or read it with read_glb.")
    return mesh


def read_texture_files(path: Path) -> tuple[str, list[bytes]]:
    """Read the pages of the texture of a GLB as they are encoded there.

    Parameters
    ----------
    path : Path
        A file that `read_textured_mesh` reads.

    Returns
    -------
    texture_format : str
        ``jpeg``, ``png`` or ``webp``; empty where there are several.
    encoded : list of bytes
        In the order of the pages.
    """
    document, binary = _chunks(Path(path).read_bytes())
    (mesh,) = document["meshes"]
    numbers = list(dict.fromkeys(_texture_of(document, primitive) for primitive in mesh["primitives"]))
    files = [_picture(document, binary, number) for number in numbers if number is not None]
    formats = {kind for kind, _ in files}
    return formats.pop() if len(formats) == 1 else "", [encoded for _, encoded in files]


def quaternion_to_y(up: Floats) -> Floats:
    """Compute the smallest rotation that takes a direction to +y.

    Parameters
    ----------
    up : ndarray of float64, shape (3,)

    Returns
    -------
    ndarray of float64, shape (4,)
        Quaternion (x, y, z, w).
    """
    x, y, z = up / np.linalg.norm(up)
    if y < -1 + 1e-9:
        return np.array([1.0, 0.0, 0.0, 0.0])
    turn = np.array([-z, 0.0, x, 1.0 + y])
    quaternion: Floats = turn / np.linalg.norm(turn)
    return quaternion


def matrix_of(quaternion: Floats) -> Floats:
    """Compute the matrix of a rotation.

    Parameters
    ----------
    quaternion : ndarray of float64, shape (4,)
        (x, y, z, w).

    Returns
    -------
    ndarray of float64, shape (3, 3)
    """
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


class _Writer:
    """Collects the binary chunk, and the accessors into it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []

    def view(self, data: bytes, target: int | None = None) -> int:
        view = {"buffer": 0, "byteOffset": self._length, "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        padded = data + b"\0" * (-len(data) % 4)
        self._parts.append(padded)
        self._length += len(padded)
        self._views.append(view)
        return len(self._views) - 1

    def accessor(
        self, array: NDArray[Any], target: int, *, bounds: bool = False, normalized: bool = False
    ) -> int:
        accessor: dict[str, Any] = {
            "bufferView": self.view(np.ascontiguousarray(array).tobytes(), target),
            "componentType": _CODES[array.dtype],
            "count": len(array),
            "type": "SCALAR" if array.ndim == 1 else f"VEC{array.shape[1]}",
        }
        if normalized:
            accessor["normalized"] = True
        if bounds:
            accessor["min"] = array.min(axis=0).tolist()
            accessor["max"] = array.max(axis=0).tolist()
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def write(self, path: Path, document: dict[str, Any]) -> None:
        document["buffers"] = [{"byteLength": self._length}]
        document["bufferViews"] = self._views
        document["accessors"] = self._accessors
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + self._length
        if total >= 2**32:
            raise InputError(
                f"{path} would have {total / 2**30:.1f} GiB; GLB allows 4.",
                "Lower mesh_generation.max_faces or texturing.texture_size, or write OBJ.",
            )
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            file.write(struct.pack("<III", _MAGIC, 2, total))
            file.write(struct.pack("<II", len(text), _JSON) + text)
            file.write(struct.pack("<II", self._length, _BIN))
            file.writelines(self._parts)


def encoded_texture(texture: Bytes, texture_format: TextureFormat, quality: int) -> bytes:
    """Encode a texture, or a page of one, as `write_glb` does.

    Parameters
    ----------
    texture : ndarray of uint8, shape (H, W, 3)
    texture_format : {"jpeg", "png", "webp"}
    quality : int
        JPEG's or WebP's, 1 to 100.

    Returns
    -------
    bytes

    Raises
    ------
    OptionError
        It is too large for WebP.
    """
    options = []
    if texture_format == "jpeg":
        # Chroma of half the resolution would run over the borders of the charts.
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    elif texture_format == "webp":
        if max(texture.shape) > _WEBP_SIDE:
            raise OptionError(
                f"A texture of {texture.shape[1]} x {texture.shape[0]} texels is too large for WebP.",
                "Use JPEG, or a lower texturing.texture_size.",
            )
        options = [cv2.IMWRITE_WEBP_QUALITY, quality]
    suffix = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}[texture_format]
    return bytes(cv2.imencode(suffix, cv2.cvtColor(texture, cv2.COLOR_RGB2BGR), options)[1])


def _linear(colors: Bytes) -> NDArray[np.uint16]:
    """Vertex colours as glTF wants them: linear, with alpha, which also aligns them to 4 bytes."""
    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    out = np.full((len(colors), 4), 65535, np.uint16)
    out[:, :3] = np.rint(linear * 65535).astype(np.uint16)[colors]
    return out


def _gamma(colors: NDArray[Any]) -> Bytes:
    """The inverse of `_linear`, from normalized integers or floats."""
    scale = np.iinfo(colors.dtype).max if colors.dtype.kind == "u" else 1.0
    linear = np.clip(colors[:, :3] / scale, 0, 1)
    value = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    gamma: Bytes = np.rint(value * 255).astype(np.uint8)
    return gamma


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    magic, version, total = struct.unpack_from("<III", data)
    if magic != _MAGIC or version != 2:
        raise ValueError("no GLB 2 header")
    if total > len(data):
        raise ValueError(f"{len(data)} of {total} bytes")
    length, kind = struct.unpack_from("<II", data, 12)
    if kind != _JSON:
        raise ValueError("the first chunk is not JSON")
    document = json.loads(data[20 : 20 + length])
    start = 20 + length
    length, kind = struct.unpack_from("<II", data, start)
    if kind != _BIN:
        raise ValueError("the second chunk is not binary")
    return document, data[start + 8 : start + 8 + length]


def _picture(document: dict[str, Any], binary: bytes, index: int) -> tuple[str, bytes]:
    """Format and file of a texture."""
    texture = document["textures"][index]
    source = texture.get("extensions", {}).get(_WEBP, texture)["source"]
    image = document["images"][source]
    view = document["bufferViews"][image["bufferView"]]
    start = view.get("byteOffset", 0)
    return str(image["mimeType"]).removeprefix("image/"), binary[start : start + view["byteLength"]]


def _array(document: dict[str, Any], binary: bytes, index: int) -> NDArray[Any]:
    accessor = document["accessors"][index]
    if "sparse" in accessor:
        raise ValueError("sparse accessors are not supported")
    view = document["bufferViews"][accessor["bufferView"]]
    dtype = np.dtype(_DTYPES[accessor["componentType"]])
    width = _WIDTHS[accessor["type"]]
    stride = view.get("byteStride", width * dtype.itemsize)
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    shape, strides = (accessor["count"], width), (stride, dtype.itemsize)
    array = np.ndarray(shape, dtype, binary, start, strides).copy()
    return array[:, 0] if width == 1 else array


def _texture_of(document: dict[str, Any], primitive: dict[str, Any]) -> int | None:
    """Number of the texture of a primitive."""
    # Without a material there is glTF's own, which has no texture.
    material = document["materials"][primitive["material"]] if "material" in primitive else {}
    texture = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
    return None if texture is None or "TEXCOORD_0" not in primitive["attributes"] else int(texture["index"])


def _mesh(document: dict[str, Any], binary: bytes) -> Mesh | TexturedMesh:
    needed = set(document.get("extensionsRequired", [])) - {_WEBP}
    if needed:
        raise ValueError(f"needs {', '.join(sorted(needed))}")
    (mesh,) = document["meshes"]
    primitives = mesh["primitives"]
    if any(primitive.get("mode", 4) != 4 for primitive in primitives):
        raise ValueError("not triangles")
    node = next(node for node in document["nodes"] if "mesh" in node)
    own = document.get("asset", {}).get("generator") == _GENERATOR
    if {"matrix", "scale"} & node.keys() or len(document["nodes"]) > 1 or ("rotation" in node and not own):
        raise ValueError("its nodes are transformed")
    to_y = matrix_of(np.array(node.get("rotation", [0.0, 0.0, 0.0, 1.0])))
    moved = np.array(node.get("translation", [0.0, 0.0, 0.0])) @ to_y
    parts = [_read_part(document, binary, primitive) for primitive in primitives]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = np.concatenate([part.vertices for part in parts]) + moved
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)]).astype(
        np.int32
    )
    textures = [_texture_of(document, primitive) for primitive in primitives]
    if textures == [None] * len(parts):
        return Mesh(vertices, faces, _all_of(parts, "COLOR_0"), _all_of(parts, "NORMAL"))
    numbers = list(dict.fromkeys(number for number in textures if number is not None))
    if None in textures:
        raise ValueError("some of it has a texture, and some has none")
    grid = grid_of(len(numbers))
    uv = []
    for part, number in zip(parts, textures, strict=True):
        place = part.attributes["TEXCOORD_0"].astype(np.float32)
        place[:, 1] = 1.0 - place[:, 1]
        if len(numbers) > 1:
            used = place[np.unique(part.faces)]
            if not (used >= -_ROUNDING).all() or not (used <= 1 + _ROUNDING).all():
                raise ValueError("one of its several textures repeats")
            place = within_grid(np.clip(np.nan_to_num(place), 0, 1), numbers.index(int(number or 0)), grid)
        uv.append(place)
    texture = in_grid(_of_one_size([_pixels(document, binary, number) for number in numbers]), grid)
    welded, vertex_of = np.unique(vertices, axis=0, return_inverse=True)
    corners = vertex_of.reshape(-1)[faces].astype(np.int32)
    return TexturedMesh(welded, corners, np.concatenate(uv), faces, texture, grid)


def _all_of(parts: list[_Part], name: str) -> Any:
    """An attribute of all parts together, where all have it."""
    if not all(name in part.attributes for part in parts):
        return None
    return np.concatenate([part.attributes[name] for part in parts])


def _read_part(document: dict[str, Any], binary: bytes, primitive: dict[str, Any]) -> _Part:
    attributes = primitive["attributes"]
    vertices = _array(document, binary, attributes["POSITION"]).astype(np.float64)
    if "indices" in primitive:
        faces = _array(document, binary, primitive["indices"]).reshape(-1, 3).astype(np.int64)
    else:
        faces = np.arange(len(vertices), dtype=np.int64).reshape(-1, 3)
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise ValueError("indices beyond the last vertex")
    wanted = [name for name in ("TEXCOORD_0", "COLOR_0", "NORMAL") if name in attributes]
    held = {name: _array(document, binary, attributes[name]) for name in wanted}
    for name, values in held.items():
        if len(values) != len(vertices):
            raise ValueError(f"{len(values)} values of {name} for {len(vertices)} vertices")
    if "COLOR_0" in held:
        held["COLOR_0"] = _gamma(held["COLOR_0"])
    if "TEXCOORD_0" in held and held["TEXCOORD_0"].dtype.kind == "u":
        held["TEXCOORD_0"] = held["TEXCOORD_0"] / np.float32(np.iinfo(held["TEXCOORD_0"].dtype).max)
    return _Part(vertices, held, faces)


def _pixels(document: dict[str, Any], binary: bytes, number: int) -> Bytes:
    _, encoded = _picture(document, binary, number)
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise ValueError("its texture is neither JPEG, PNG nor WebP, or is damaged")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _of_one_size(pages: list[Bytes]) -> list[Bytes]:
    """Pages of other programs may differ: all take the largest size, or what can stand side by side."""
    height, width = (max(page.shape[axis] for page in pages) for axis in range(2))
    side = max(height, width)
    if len(pages) > most_pages(side):
        shorter = longest_side(len(pages)) / side
        height, width = (max(1, int(length * shorter)) for length in (height, width))
    return [
        page
        if page.shape[:2] == (height, width)
        else np.asarray(cv2.resize(page, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        for page in pages
    ]

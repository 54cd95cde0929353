"""glTF 2.0 in its one-file form, GLB.

What is written opens in three.js, Blender, trimesh, Open3D and the validators alike: one mesh, one
primitive, one material. Photos carry the light they were taken in, so the material asks for
``KHR_materials_unlit``; viewers that do not know the extension fall back on a fully rough
dielectric. On request it is one, with normals, and lit; then it may have a normal map, with tangents. The
material is double-sided, since the
inside of an open scan is part of it. glTF is y-up: in another world the node turns the model, its
vertices keep the world's axes. WebP textures need ``EXT_texture_webp``.
"""

from __future__ import annotations

import json
import struct
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
from recon3d.types import Bytes, Floats, Mesh, TexturedMesh

#: What a file of another structure raises while it is read.
DAMAGE = (LookupError, ValueError, TypeError, AttributeError, StopIteration, struct.error, cv2.error)

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
#: WebP's largest picture.
_WEBP_SIDE = 16383
#: Quality of a normal map by its format: above 100 WebP is without loss.
_NORMALS = {"jpeg": 98, "png": 0, "webp": 101}


def write_glb(
    path: Path,
    mesh: Mesh | TexturedMesh,
    *,
    texture_format: TextureFormat = "jpeg",
    quality: int = 92,
    encoded: bytes | None = None,
    material: Material = "unlit",
    normal_map: Bytes | None = None,
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
    encoded : bytes, optional
        The texture as a file in `texture_format`, where there is one: it is not encoded again.
    material : {"unlit", "pbr"}
        As the photos show it; or rough and not metallic, lit by the viewer, with normals.
    normal_map : ndarray of uint8, shape (h, w, 3), optional
        As `recon3d.texture.normal_map` makes it; for a `TexturedMesh` of the material ``pbr``. WebP keeps
        it without loss.
    up : ndarray of float64, shape (3,), optional
        Direction of up; +y by default. The node's rotation takes it to +y.

    Raises
    ------
    InputError
        The mesh has no faces, or the file would exceed the 4 GiB that GLB allows.
    OptionError
        The texture is too large for WebP; or a normal map is given where nothing is lit or textured.
    """
    require_faces(mesh, path)
    if normal_map is not None and (material == "unlit" or not isinstance(mesh, TexturedMesh)):
        raise OptionError("Only a textured mesh that is lit can have a normal map.", "Use the material pbr.")
    writer = _Writer()
    surface: dict[str, Any] = {
        "name": "photos",
        "doubleSided": True,
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
    }
    document: dict[str, Any] = {}
    extensions: list[str] = []
    if material == "unlit":
        surface["extensions"] = {_UNLIT: {}}
        extensions.append(_UNLIT)
    if isinstance(mesh, TexturedMesh):
        normals = None
        if material == "unlit":
            vertices, uv, faces = split_at_seams(mesh)
        else:
            from recon3d.texture.tangents import split_for_shading

            split = split_for_shading(mesh)
            vertices, normals, uv, faces = split.vertices, split.normals, split.uv, split.faces
        # v counts down in glTF.
        uv[:, 1] = 1.0 - uv[:, 1]
        attributes = {"TEXCOORD_0": writer.accessor(uv, _VERTICES)}
        surface["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
        pictures = [_encode(mesh.texture, texture_format, quality) if encoded is None else encoded]
        if normal_map is not None:
            attributes["TANGENT"] = writer.accessor(split.tangents, _VERTICES)
            surface["normalTexture"] = {"index": 1}
            pictures.append(_encode(normal_map, texture_format, _NORMALS[texture_format]))
        document["images"] = [
            {"bufferView": writer.view(picture), "mimeType": f"image/{texture_format}"}
            for picture in pictures
        ]
        document["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
        sources: list[dict[str, Any]] = [{"source": number} for number in range(len(pictures))]
        if texture_format == "webp":
            # No second picture for programs without WebP: it would cost more than WebP saves.
            sources = [{"extensions": {_WEBP: source}} for source in sources]
            extensions.append(_WEBP)
            document["extensionsRequired"] = [_WEBP]
        document["textures"] = [{"sampler": 0, **source} for source in sources]
    else:
        vertices, faces, attributes = mesh.vertices, mesh.faces.astype(np.int64), {}
        normals = mesh.normals
        if material == "pbr" and normals is None:
            from recon3d.texture.tangents import shading_normals

            normals = shading_normals(mesh)
        if mesh.colors is not None:
            attributes["COLOR_0"] = writer.accessor(_linear(mesh.colors), _VERTICES, normalized=True)
    if normals is not None:
        attributes["NORMAL"] = writer.accessor(normals.astype(np.float32), _VERTICES)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    center = (low + high) / 2
    node: dict[str, Any] = {"mesh": 0, "name": "model"}
    rotation = np.array([0.0, 0.0, 0.0, 1.0]) if up is None else quaternion_to_y(up)
    if abs(rotation[3]) < 1.0:
        node["rotation"] = rotation.tolist()
    if np.abs(center).max() > _FAR * (high - low).max():
        node["translation"] = (matrix_of(rotation) @ center).tolist()
        vertices = vertices - center
    positions = writer.accessor(vertices.astype(np.float32), _VERTICES, bounds=True)
    primitive = {
        "attributes": {"POSITION": positions, **attributes},
        "indices": writer.accessor(faces.astype(np.uint32).reshape(-1), _INDICES),
        "material": 0,
        "mode": 4,
    }
    document |= {
        "asset": {"version": "2.0", "generator": _GENERATOR},
        # An empty list is not allowed.
        **({"extensionsUsed": extensions} if extensions else {}),
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [node],
        "meshes": [{"primitives": [primitive]}],
        "materials": [surface],
    }
    writer.write(path, document)


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
        The file cannot be read, is damaged, or uses what is not supported (several primitives,
        sparse or compressed data, files beside it, nodes that another program rotated).
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


def read_texture_file(path: Path) -> tuple[str, bytes]:
    """Read the texture of a GLB as it is encoded there.

    Parameters
    ----------
    path : Path
        A file that `read_textured_mesh` reads.

    Returns
    -------
    texture_format : str
        ``jpeg``, ``png`` or ``webp``.
    encoded : bytes
    """
    document, binary = _chunks(Path(path).read_bytes())
    texture = document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    return _picture(document, binary, texture["index"])


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


def _encode(texture: Bytes, texture_format: TextureFormat, quality: int) -> bytes:
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


def _mesh(document: dict[str, Any], binary: bytes) -> Mesh | TexturedMesh:
    needed = set(document.get("extensionsRequired", [])) - {_WEBP}
    if needed:
        raise ValueError(f"needs {', '.join(sorted(needed))}")
    (mesh,) = document["meshes"]
    (primitive,) = mesh["primitives"]
    if primitive.get("mode", 4) != 4:
        raise ValueError("not triangles")
    attributes = primitive["attributes"]
    vertices = _array(document, binary, attributes["POSITION"]).astype(np.float64)
    node = next(node for node in document["nodes"] if "mesh" in node)
    own = document.get("asset", {}).get("generator") == _GENERATOR
    if {"matrix", "scale"} & node.keys() or len(document["nodes"]) > 1 or ("rotation" in node and not own):
        raise ValueError("its nodes are transformed")
    to_y = matrix_of(np.array(node.get("rotation", [0.0, 0.0, 0.0, 1.0])))
    vertices += np.array(node.get("translation", [0.0, 0.0, 0.0])) @ to_y
    if "indices" in primitive:
        faces = _array(document, binary, primitive["indices"]).reshape(-1, 3).astype(np.int32)
    else:
        faces = np.arange(len(vertices), dtype=np.int32).reshape(-1, 3)
    if len(faces) and faces.max() >= len(vertices):
        raise ValueError("indices beyond the last vertex")
    material = document.get("materials", [{}])[primitive.get("material", 0)]
    texture = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
    if texture is None or "TEXCOORD_0" not in attributes:
        colors = _gamma(_array(document, binary, attributes["COLOR_0"])) if "COLOR_0" in attributes else None
        normals = _array(document, binary, attributes["NORMAL"]) if "NORMAL" in attributes else None
        return Mesh(vertices, faces, colors, normals)
    uv = _array(document, binary, attributes["TEXCOORD_0"]).astype(np.float32)
    uv[:, 1] = 1.0 - uv[:, 1]
    _, encoded = _picture(document, binary, texture["index"])
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise ValueError("its texture is neither JPEG, PNG nor WebP, or is damaged")
    pixels = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
    welded, vertex_of = np.unique(vertices, axis=0, return_inverse=True)
    return TexturedMesh(welded, vertex_of.reshape(-1)[faces].astype(np.int32), uv, faces, pixels)

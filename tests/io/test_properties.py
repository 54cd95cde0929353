"""For any mesh, any photo's metadata and any damage to a file: what is written is read, or refused."""

from __future__ import annotations

import json
import math
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from recon3d.errors import InputError
from recon3d.io.exif import read_exif
from recon3d.io.gltf import read_glb, write_glb
from recon3d.io.gltf_scale import scale_glb
from recon3d.io.ply import read_mesh, read_point_cloud, write_mesh, write_point_cloud
from recon3d.types import Mesh, PointCloud, TexturedMesh

QUICK = settings(max_examples=40)
EXIF = 0x8769
coordinate = st.floats(-1e6, 1e6, width=32)


def rows(count: int, element: st.SearchStrategy, kind: type = np.float64) -> st.SearchStrategy:
    return arrays.arrays(kind, (count, 3), elements=element)


@st.composite
def clouds(draw: st.DrawFn) -> PointCloud:
    count = draw(st.integers(0, 12))
    normals = draw(st.none() | rows(count, st.floats(-1, 1, width=32), np.float32))
    colors = draw(st.none() | rows(count, st.integers(0, 255), np.uint8))
    return PointCloud(draw(rows(count, coordinate)), normals, colors)


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    count = draw(st.integers(1, 12))
    faces = draw(st.lists(st.tuples(*[st.integers(0, count - 1)] * 3), min_size=1, max_size=12))
    colors = draw(st.none() | rows(count, st.integers(0, 255), np.uint8))
    return Mesh(draw(rows(count, coordinate)), np.array(faces, np.int32), colors)


def same(first: np.ndarray | None, second: np.ndarray | None) -> None:
    assert (first is None) == (second is None)
    if first is not None:
        np.testing.assert_array_equal(first, second)


@given(clouds())
@QUICK
def test_a_cloud_in_ply_is_read_as_it_was(cloud: PointCloud) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cloud.ply"
        write_point_cloud(path, cloud)
        read = read_point_cloud(path)
    same(cloud.points.astype(np.float32), read.points)
    same(cloud.normals, read.normals)
    same(cloud.colors, read.colors)


@given(meshes())
@QUICK
def test_a_mesh_in_ply_is_read_as_it_was(mesh: Mesh) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mesh.ply"
        write_mesh(path, mesh)
        read = read_mesh(path)
    same(mesh.vertices.astype(np.float32), read.vertices)
    same(mesh.faces, read.faces)
    same(mesh.colors, read.colors)


@given(meshes())
@QUICK
def test_a_mesh_in_glb_keeps_its_triangles_and_colours(mesh: Mesh) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mesh.glb"
        write_glb(path, mesh)
        read = read_glb(path)
    assert isinstance(read, Mesh)
    size = max(float(np.ptp(mesh.vertices, axis=0).max()), 1e-6)
    corners = read.vertices[read.faces]
    far = float(np.abs(mesh.vertices).max())
    np.testing.assert_allclose(
        corners, mesh.vertices[mesh.faces], rtol=0, atol=1e-6 * size + 1e-6 * far + 1e-30
    )
    if mesh.colors is not None:
        assert read.colors is not None
        np.testing.assert_array_equal(read.colors[read.faces], mesh.colors[mesh.faces])


def sample_files(folder: Path) -> dict[str, bytes]:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]])
    faces = np.array([[0, 1, 2], [1, 3, 2]], np.int32)
    write_mesh(folder / "a.ply", Mesh(vertices, faces, np.full((4, 3), 9, np.uint8)))
    uv = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    textured = TexturedMesh(vertices, faces, uv, faces, np.full((8, 8, 3), 99, np.uint8))
    write_glb(folder / "a.glb", textured)
    return {name: (folder / name).read_bytes() for name in ("a.ply", "a.glb")}


def refusal(read: Callable[[Path], object], path: Path) -> str:
    """The file that an error names; empty when the file can be read."""
    try:
        read(path)
    except InputError as error:
        return str(path) if str(path) in error.message else error.message
    return ""


@given(st.data())
@settings(max_examples=150)
def test_a_damaged_file_is_read_or_refused_by_name(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = sample_files(Path(folder))
        name = data.draw(st.sampled_from(sorted(files)))
        content = bytearray(files[name])
        for _ in range(data.draw(st.integers(0, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path = Path(folder) / name
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        for read in (read_glb,) if name == "a.glb" else (read_mesh, read_point_cloud):
            assert refusal(read, path) in ("", str(path))


def glb(document: object, binary: bytes = b"") -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942)
    return struct.pack("<III", 0x46546C67, 2, 12 + len(body) + len(binary)) + body + binary


@pytest.mark.parametrize(
    "change",
    [
        [],
        {"meshes": []},
        {"nodes": []},
        {"nodes": [{"mesh": 0, "translation": "far"}]},
        {"meshes": [{"primitives": [{"attributes": []}]}]},
        {"accessors": [{"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 10**12}]},
        {"accessors": [{"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": -1}]},
        {"bufferViews": [{"byteOffset": -8, "byteLength": 4}]},
        {"materials": [[]]},
        {"materials": [None]},
    ],
    ids=str,
)
def test_a_glb_of_another_structure_is_refused_by_name(tmp_path: Path, change: object) -> None:
    whole = {
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "material": 0}]}],
        "materials": [{}],
        "nodes": [{"mesh": 0}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 3}],
        "bufferViews": [{"byteLength": 36}],
    }
    path = tmp_path / "other.glb"
    path.write_bytes(glb(whole, bytes(36)))
    assert len(read_glb(path)) == 1
    path.write_bytes(glb({**whole, **change} if isinstance(change, dict) else change, bytes(36)))
    with pytest.raises(InputError, match=r"other\.glb is not a GLB with one mesh"):
        read_glb(path)


@pytest.mark.parametrize("document", [[], {"meshes": [None]}, {"meshes": [], "nodes": 1}], ids=str)
def test_a_glb_of_another_structure_is_not_scaled(tmp_path: Path, document: object) -> None:
    path = tmp_path / "other.glb"
    path.write_bytes(glb(document, bytes(36)))
    with pytest.raises(InputError, match=r"other\.glb cannot be scaled"):
        scale_glb(path, tmp_path / "scaled.glb", 2.0)


def photo(details: dict[int, object], size: tuple[int, int]) -> float | None:
    exif = Image.Exif()
    exif.get_ifd(EXIF).update(details)
    return read_exif(exif, *size).focal_px


sizes = st.tuples(st.integers(64, 12_000), st.integers(64, 12_000))
value = st.one_of(
    st.none(), st.text(max_size=5), st.binary(max_size=5), st.integers(), st.floats(), st.just((1, 2, 3))
)


@given(
    st.dictionaries(st.sampled_from([0x920A, 0xA405, 0xA20E, 0xA20F, 0xA210, 0xA002, 0xA003]), value), sizes
)
@settings(max_examples=150)
def test_any_exif_gives_a_plausible_focal_length_or_none(
    details: dict[int, object], size: tuple[int, int]
) -> None:
    focal = photo(details, size)
    assert focal is None or (math.isfinite(focal) and 0.2 * max(size) < focal < 50 * max(size))


@given(st.floats(10, 300), st.integers(600, 8000), st.floats(1, 1.9), st.integers(1, 8))
@QUICK
def test_a_focal_length_follows_the_size_and_ignores_the_side(
    film: float, longer: int, shape: float, factor: int
) -> None:
    size = (longer, round(longer / shape))
    focal = photo({0xA405: film}, size)
    assert focal is not None
    assert focal == pytest.approx(film / math.hypot(36, 24) * math.hypot(*size))
    assert photo({0xA405: film}, size[::-1]) == pytest.approx(focal)
    assert photo({0xA405: film}, (size[0] * factor, size[1] * factor)) == pytest.approx(factor * focal)

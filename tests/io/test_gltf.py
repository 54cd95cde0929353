from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open3d as o3d
import pytest
import trimesh

from recon3d.errors import InputError, OptionError
from recon3d.io.gltf import read_glb, read_texture_files, read_textured_mesh, write_glb
from recon3d.io.gltf_scale import scale_glb
from recon3d.texture.grid import grid_of, within_grid
from recon3d.types import Mesh, TexturedMesh

COLORS = {"top left": (200, 30, 20), "top right": (20, 180, 40), "bottom left": (30, 40, 210)}


def quad() -> TexturedMesh:
    """Two triangles with a texture of four colours; upper left red, upper right green, lower left blue."""
    texture = np.full((64, 64, 3), 240, np.uint8)
    texture[:32, :32], texture[:32, 32:], texture[32:, :32] = COLORS.values()
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.02, 0.01]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    # Vertex 0 has another texture coordinate in the second face: a seam.
    return TexturedMesh(vertices, faces, uv, np.array([[0, 1, 2], [4, 2, 3]], np.int32), texture)


def paged(pages: int = 3) -> TexturedMesh:
    """Squares in a row, each with a page of its own, in a colour that no other has."""
    rows, columns = grid = grid_of(pages)
    texture = np.zeros((32 * rows, 32 * columns, 3), np.uint8)
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    corner = np.array([[0.1, 0.2], [0.9, 0.2], [0.9, 0.7], [0.1, 0.7]], np.float32)
    vertices, uv, faces = [], [], []
    for page in range(pages):
        row, column = divmod(page, columns)
        texture[32 * row : 32 * row + 32, 32 * column : 32 * column + 32] = page_color(page)
        vertices.append(square + np.array([1.5 * page, 0, 0]))
        uv.append(within_grid(corner, page, grid))
        faces += [[4 * page, 4 * page + 1, 4 * page + 2], [4 * page, 4 * page + 2, 4 * page + 3]]
    corners = np.array(faces, np.int32)
    return TexturedMesh(np.concatenate(vertices), corners, np.concatenate(uv), corners, texture, grid)


def page_color(page: int) -> tuple[int, int, int]:
    return (200 - 12 * page, 30 + 14 * page, 60)


def document(path: Path) -> dict[str, object]:
    data = path.read_bytes()
    assert struct.unpack_from("<III", data) == (0x46546C67, 2, len(data))
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length])  # type: ignore[no-any-return]


@pytest.mark.parametrize("texture_format", ["jpeg", "png", "webp"])
def test_a_textured_mesh_survives(tmp_path: Path, texture_format: str) -> None:
    mesh = quad()
    write_glb(tmp_path / "a.glb", mesh, texture_format=texture_format)  # type: ignore[arg-type]
    back = read_textured_mesh(tmp_path / "a.glb")
    np.testing.assert_allclose(back.vertices[back.faces], mesh.vertices[mesh.faces])
    np.testing.assert_allclose(back.uv[back.face_uv], mesh.uv[mesh.face_uv], atol=1e-6)
    assert len(back.vertices) == 4
    difference = np.abs(back.texture.astype(int) - mesh.texture)
    if texture_format == "webp":
        # Chroma has half the resolution: the fields' borders are soft.
        difference[28:36] = difference[:, 28:36] = 0
    assert difference.max() <= {"png": 0, "jpeg": 6, "webp": 9}[texture_format]
    present, encoded = read_texture_files(tmp_path / "a.glb")
    assert present == texture_format
    write_glb(tmp_path / "b.glb", back, texture_format=texture_format, encoded=encoded)  # type: ignore[arg-type]
    assert read_texture_files(tmp_path / "b.glb") == (present, encoded)


@pytest.mark.parametrize("pages", [2, 3, 5])
def test_each_page_is_a_picture_with_a_primitive(tmp_path: Path, pages: int) -> None:
    mesh = paged(pages)
    path = tmp_path / "a.glb"
    normals = np.full((mesh.texture.shape[0] // 2, mesh.texture.shape[1] // 2, 3), (128, 128, 255), np.uint8)
    for lit in ({}, {"material": "pbr"}, {"material": "pbr", "normal_map": normals}):
        write_glb(path, mesh, **lit)  # type: ignore[arg-type]
        gltf = document(path)
        primitives = gltf["meshes"][0]["primitives"]  # type: ignore[index]
        assert [primitive["material"] for primitive in primitives] == list(range(pages))
        assert len(gltf["images"]) == pages * (2 if "normal_map" in lit else 1)  # type: ignore[arg-type]
        counts = [gltf["accessors"][p["attributes"]["POSITION"]]["count"] for p in primitives]  # type: ignore[index]
        assert counts == [4] * pages
        back = read_textured_mesh(path)
        assert back.pages == mesh.pages
        np.testing.assert_allclose(back.vertices[back.faces], mesh.vertices[mesh.faces])
        np.testing.assert_allclose(back.uv[back.face_uv], mesh.uv[mesh.face_uv], atol=1e-6)
        written = mesh.texture.any(axis=2)
        assert np.abs(back.texture.astype(int) - mesh.texture)[written].max() <= 3
    present, encoded = read_texture_files(path)
    assert (present, len(encoded)) == ("jpeg", pages)
    write_glb(tmp_path / "b.glb", back, encoded=encoded)
    assert read_texture_files(tmp_path / "b.glb") == (present, encoded)
    loaded = trimesh.load(path, process=False)
    assert len(loaded.geometry) == pages
    for part in loaded.geometry.values():
        page = round(part.vertices[:, 0].min() / 1.5)
        image = np.asarray(part.visual.material.baseColorTexture.convert("RGB")).astype(int)
        assert np.abs(image - page_color(page)).max() <= 3
        assert np.ptp(part.visual.uv, axis=0) == pytest.approx([0.8, 0.5], abs=1e-6)


def test_textures_of_another_program_become_pages_of_one_size(tmp_path: Path) -> None:
    pictures = [
        cv2.imencode(".png", np.full((side, side, 3), 90, np.uint8))[1].tobytes() for side in (32, 64)
    ]
    write_glb(tmp_path / "a.glb", paged(2), texture_format="png", encoded=pictures)
    back = read_textured_mesh(tmp_path / "a.glb")
    assert back.texture.shape == (64, 128, 3)
    assert back.pages == (1, 2)
    assert (back.texture == 90).all()


def changed(path: Path, change: Callable[[dict[str, Any], bytearray], None]) -> None:
    """Rewrite a GLB with another JSON chunk, and maybe other binary data."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    gltf, binary = json.loads(data[20 : 20 + length]), bytearray(data[28 + length :])
    change(gltf, binary)
    text = json.dumps(gltf).encode()
    text += b" " * (-len(text) % 4)
    total = 28 + len(text) + len(binary)
    head = struct.pack("<IIIII", 0x46546C67, 2, total, len(text), 0x4E4F534A)
    path.write_bytes(head + text + struct.pack("<II", len(binary), 0x004E4942) + binary)


def coordinates(gltf: dict[str, Any], primitive: int) -> dict[str, Any]:
    accessor: dict[str, Any] = gltf["accessors"][
        gltf["meshes"][0]["primitives"][primitive]["attributes"]["TEXCOORD_0"]
    ]
    return accessor


def test_coordinates_a_little_outside_are_rounding(tmp_path: Path) -> None:
    path = tmp_path / "a.glb"
    for outside, readable in ((1.00001, True), (1.5, False), (np.nan, False)):
        write_glb(path, paged(2))

        def move(gltf: dict[str, Any], binary: bytearray, outside: float = outside) -> None:
            start = gltf["bufferViews"][coordinates(gltf, 1)["bufferView"]]["byteOffset"]
            binary[start : start + 4] = struct.pack("<f", outside)

        changed(path, move)
        if readable:
            assert read_textured_mesh(path).uv.max() <= 1
        else:
            with pytest.raises(InputError, match="one of its several textures repeats"):
                read_glb(path)


def test_coordinates_may_be_normalized_integers(tmp_path: Path) -> None:
    path = tmp_path / "a.glb"
    mesh = paged(2)
    write_glb(path, mesh)

    def pack(gltf: dict[str, Any], binary: bytearray) -> None:
        for primitive in range(2):
            accessor = coordinates(gltf, primitive)
            view = gltf["bufferViews"][accessor["bufferView"]]
            start = view["byteOffset"]
            uv = np.frombuffer(bytes(binary[start : start + 32]), "<f4")
            binary[start : start + 16] = np.rint(uv * 65535).astype("<u2").tobytes()
            view["byteLength"] = 16
            accessor.update(componentType=5123, normalized=True)

    changed(path, pack)
    back = read_textured_mesh(path)
    np.testing.assert_allclose(back.uv[back.face_uv], mesh.uv[mesh.face_uv], atol=2e-5)


def test_parts_whose_attributes_do_not_match_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.glb"

    def fewer(gltf: dict[str, Any], binary: bytearray) -> None:
        coordinates(gltf, 0)["count"] -= 1

    def negative(gltf: dict[str, Any], binary: bytearray) -> None:
        accessor = gltf["accessors"][gltf["meshes"][0]["primitives"][1]["indices"]]
        accessor["componentType"] = 5120
        accessor["count"] = 6
        start = gltf["bufferViews"][accessor["bufferView"]]["byteOffset"]
        binary[start : start + 6] = struct.pack("<6b", -1, 0, 1, 1, 2, 3)

    def beyond(gltf: dict[str, Any], binary: bytearray) -> None:
        gltf["bufferViews"][0]["byteOffset"] = 1e20

    for change in (fewer, negative, beyond):
        write_glb(path, paged(2))
        changed(path, change)
        with pytest.raises(InputError, match=r"a\.glb"):
            read_glb(path)


def test_colours_of_parts_may_have_other_types(tmp_path: Path) -> None:
    path = tmp_path / "a.glb"
    square = paged(1)
    colors = np.full((4, 3), (200, 90, 30), np.uint8)
    write_glb(path, Mesh(square.vertices, square.faces, colors))

    def twice(gltf: dict[str, Any], binary: bytearray) -> None:
        (primitive,) = gltf["meshes"][0]["primitives"]
        accessor = gltf["accessors"][primitive["attributes"]["COLOR_0"]]
        start = gltf["bufferViews"][accessor["bufferView"]]["byteOffset"]
        linear = np.frombuffer(bytes(binary[start : start + 32]), "<u2").reshape(4, 4)
        floats = (linear[:, :3] / 65535).astype("<f4").tobytes()
        gltf["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(floats)})
        gltf["accessors"].append(
            {"bufferView": len(gltf["bufferViews"]) - 1, "componentType": 5126, "count": 4, "type": "VEC3"}
        )
        binary += floats
        gltf["buffers"][0]["byteLength"] = len(binary)
        other = {**primitive["attributes"], "COLOR_0": len(gltf["accessors"]) - 1}
        gltf["meshes"][0]["primitives"].append({**primitive, "attributes": other})

    changed(path, twice)
    back = read_glb(path)
    assert isinstance(back, Mesh)
    assert np.abs(back.colors.astype(int) - (200, 90, 30)).max() <= 1  # type: ignore[union-attr]
    assert len(back.faces) == 4


def test_many_large_textures_shrink_until_they_can_stand_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon3d.texture.grid._LONGEST", 100)
    write_glb(tmp_path / "a.glb", paged(16))
    back = read_textured_mesh(tmp_path / "a.glb")
    assert back.pages == (4, 4)
    assert back.texture.shape == (100, 100, 3)


def test_a_part_without_a_texture_beside_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.glb"
    write_glb(path, paged(2))
    changed(path, lambda gltf, _: gltf["materials"][1]["pbrMetallicRoughness"].pop("baseColorTexture"))
    with pytest.raises(InputError, match="some of it has a texture, and some has none"):
        read_glb(path)
    # glTF's own material has no texture either.
    write_glb(path, paged(2))
    changed(path, lambda gltf, _: gltf["meshes"][0]["primitives"][1].pop("material"))
    with pytest.raises(InputError, match="some of it has a texture, and some has none"):
        read_glb(path)


def test_the_file_is_valid_gltf(tmp_path: Path) -> None:
    write_glb(tmp_path / "a.glb", quad())
    gltf = document(tmp_path / "a.glb")
    assert gltf["asset"]["version"] == "2.0"
    assert gltf["extensionsUsed"] == ["KHR_materials_unlit"]
    assert "extensionsRequired" not in gltf
    (primitive,) = gltf["meshes"][0]["primitives"]
    positions = gltf["accessors"][primitive["attributes"]["POSITION"]]
    assert positions["min"] == [0, 0, 0]
    assert positions["max"] == [1, 1, 0]
    assert positions["count"] == 5
    indices = gltf["accessors"][primitive["indices"]]
    assert (indices["componentType"], indices["type"], indices["count"]) == (5125, "SCALAR", 6)
    for view in gltf["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= gltf["buffers"][0]["byteLength"]
    material = gltf["materials"][0]
    assert material["doubleSided"] is True
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert material["pbrMetallicRoughness"]["roughnessFactor"] == 1
    assert gltf["images"][0]["mimeType"] == "image/jpeg"


def test_a_lit_material_has_normals_and_says_nothing_of_unlit(tmp_path: Path) -> None:
    """Of a roof with a seam of the texture along its ridge, which is no edge of the surface."""
    vertices = np.array([[0.0, 0, 0], [1, 0, 1], [1, 1, 1], [0, 1, 0], [2, 0, 0], [2, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5], [1, 5, 2]], np.int32)
    uv = np.array(
        [[0, 0], [1, 0], [1, 1], [0, 1], [0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]], np.float32
    )
    face_uv = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    roof = TexturedMesh(vertices, faces, uv, face_uv, quad().texture)
    write_glb(tmp_path / "a.glb", roof, material="pbr")
    gltf = document(tmp_path / "a.glb")
    assert "extensionsUsed" not in gltf
    (material,) = gltf["materials"]
    assert "extensions" not in material
    assert material["pbrMetallicRoughness"] == {
        "metallicFactor": 0.0,
        "roughnessFactor": 1.0,
        "baseColorTexture": {"index": 0},
    }
    (loaded,) = trimesh.load(tmp_path / "a.glb", process=False).geometry.values()
    normals = np.asarray(loaded.vertex_normals)
    assert len(normals) == 8
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    ridge = loaded.vertices[:, 0] == 1
    assert np.count_nonzero(ridge) == 4
    # Both sides of the ridge count, by the angles that they have there: 135 degrees together.
    ends = np.abs(normals[ridge, 0])
    assert ends.max() < 0.3
    for y in (0, 1):
        twins = normals[ridge & (loaded.vertices[:, 1] == y)]
        np.testing.assert_array_equal(twins[0], twins[1])
    np.testing.assert_allclose(
        normals[loaded.vertices[:, 0] == 0], [[-(0.5**0.5), 0, 0.5**0.5]] * 2, atol=1e-6
    )
    back = read_textured_mesh(tmp_path / "a.glb")
    np.testing.assert_allclose(back.vertices[back.faces], vertices[faces])


def tilted_map(side: int = 16) -> np.ndarray:
    """Of normals that all lean to the right by 30 degrees."""
    value = np.array([0.5, 0.0, 0.75**0.5])
    return np.tile(np.floor(127.5 * (value + 1) + 0.5).astype(np.uint8), (side, side, 1))


def _picture(path: Path, texture: int) -> np.ndarray:
    """A picture of a GLB, found as the format's text says."""
    data, gltf = path.read_bytes(), document(path)
    start = 28 + int.from_bytes(data[12:16], "little")
    source = gltf["textures"][texture]
    image = gltf["images"][source.get("extensions", {}).get("EXT_texture_webp", source)["source"]]
    view = gltf["bufferViews"][image["bufferView"]]
    encoded = data[start + view["byteOffset"] :][: view["byteLength"]]
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize("texture_format", ["jpeg", "png", "webp"])
def test_a_lit_material_has_the_normal_map_and_tangents(tmp_path: Path, texture_format: Any) -> None:
    made = tilted_map()
    write_glb(tmp_path / "a.glb", quad(), material="pbr", normal_map=made, texture_format=texture_format)
    gltf = document(tmp_path / "a.glb")
    (material,) = gltf["materials"]
    assert material["normalTexture"] == {"index": 1}
    assert len(gltf["textures"]) == len(gltf["images"]) == 2
    away = np.abs(_picture(tmp_path / "a.glb", 1).astype(int) - made).max()
    assert away <= (1 if texture_format == "jpeg" else 0)
    assert _picture(tmp_path / "a.glb", 0).shape == quad().texture.shape
    (loaded,) = trimesh.load(tmp_path / "a.glb", process=False).geometry.values()
    found = np.asarray(loaded.visual.material.normalTexture.convert("RGB")).astype(int)
    assert np.abs(found - made).max() <= 1
    # The quad's texture is not turned: u grows along +x, v along +y, and its normal is +z.
    accessor = gltf["meshes"][0]["primitives"][0]["attributes"]["TANGENT"]
    view = gltf["bufferViews"][gltf["accessors"][accessor]["bufferView"]]
    data = (tmp_path / "a.glb").read_bytes()
    start = 28 + int.from_bytes(data[12:16], "little") + view["byteOffset"]
    tangents = np.frombuffer(data[start : start + view["byteLength"]], np.float32).reshape(-1, 4)
    np.testing.assert_allclose(tangents, [[1, 0, 0, 1]] * len(tangents), atol=1e-6)
    back = read_textured_mesh(tmp_path / "a.glb")
    np.testing.assert_allclose(back.uv[back.face_uv], quad().uv[quad().face_uv], atol=1e-6)


def test_a_normal_map_is_for_what_is_lit_and_textured(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Only a textured mesh that is lit"):
        write_glb(tmp_path / "a.glb", quad(), normal_map=tilted_map())
    plain = Mesh(quad().vertices, quad().faces)
    with pytest.raises(OptionError, match="Only a textured mesh that is lit"):
        write_glb(tmp_path / "a.glb", plain, material="pbr", normal_map=tilted_map())
    assert not list(tmp_path.iterdir())


def test_a_lit_mesh_without_texture_gets_normals(tmp_path: Path) -> None:
    # A vertex without faces has no normal of its own; glTF wants unit vectors.
    vertices = np.vstack([quad().vertices, [[3.0, 3.0, 3.0]]])
    write_glb(tmp_path / "a.glb", Mesh(vertices, quad().faces), material="pbr")
    back = read_glb(tmp_path / "a.glb")
    np.testing.assert_allclose(np.abs(back.normals[:4]), [[0, 0, 1]] * 4)
    np.testing.assert_allclose(np.linalg.norm(back.normals, axis=1), 1)


def test_webp_is_told_to_be_needed(tmp_path: Path) -> None:
    write_glb(tmp_path / "a.glb", quad(), texture_format="webp")
    gltf = document(tmp_path / "a.glb")
    assert gltf["extensionsRequired"] == ["EXT_texture_webp"]
    assert gltf["extensionsUsed"] == ["KHR_materials_unlit", "EXT_texture_webp"]
    assert gltf["textures"] == [{"sampler": 0, "extensions": {"EXT_texture_webp": {"source": 0}}}]
    assert gltf["images"][0]["mimeType"] == "image/webp"
    wide = replace(quad(), texture=np.zeros((8, 16384, 3), np.uint8))
    with pytest.raises(OptionError, match="16384 x 8 texels is too large for WebP"):
        write_glb(tmp_path / "b.glb", wide, texture_format="webp")


@pytest.mark.parametrize("texture_format", ["jpeg", "webp"])
def test_trimesh_finds_the_right_colours(tmp_path: Path, texture_format: str) -> None:
    write_glb(tmp_path / "a.glb", quad(), texture_format=texture_format)  # type: ignore[arg-type]
    (loaded,) = trimesh.load(tmp_path / "a.glb").geometry.values()
    assert len(loaded.faces) == 2
    image = np.asarray(loaded.visual.material.baseColorTexture.convert("RGB"))
    for position, expected in (([0, 1, 0], "top left"), ([1, 1, 0], "top right"), ([0, 0, 0], "bottom left")):
        corner = int(np.argmin(np.linalg.norm(loaded.vertices - position, axis=1)))
        # trimesh flips v: (0, 0) is the lower left corner, as for OBJ.
        u, v = loaded.visual.uv[corner]
        pixel = image[min(int((1 - v) * 64), 63), min(int(u * 64), 63)]
        np.testing.assert_allclose(pixel, COLORS[expected], atol=9)


def test_open3d_finds_the_right_colours(tmp_path: Path) -> None:
    write_glb(tmp_path / "a.glb", quad())
    loaded = o3d.io.read_triangle_mesh(str(tmp_path / "a.glb"), True)
    corners = np.asarray(loaded.vertices)[np.asarray(loaded.triangles)].reshape(-1, 3)
    uv, image = np.asarray(loaded.triangle_uvs), np.asarray(loaded.textures[0])
    for position, expected in (([0, 1, 0], "top left"), ([1, 1, 0], "top right"), ([0, 0, 0], "bottom left")):
        corner = int(np.argmin(np.linalg.norm(corners - position, axis=1)))
        # Open3D keeps v as glTF has it on import, or flips image and v alike; rows decide.
        u, v = uv[corner]
        pixel = image[min(int(v * 64), 63), min(int(u * 64), 63), :3]
        np.testing.assert_allclose(pixel, COLORS[expected], atol=6)


def test_vertex_colours_and_normals_survive(tmp_path: Path) -> None:
    colors = np.array([[0, 1, 255], [128, 64, 32], [5, 200, 90], [255, 255, 255]], np.uint8)
    normals = np.tile(np.array([0, 0, 1], np.float32), (4, 1))
    mesh = Mesh(quad().vertices, quad().faces, colors, normals)
    write_glb(tmp_path / "a.glb", mesh)
    back = read_glb(tmp_path / "a.glb")
    assert isinstance(back, Mesh)
    np.testing.assert_array_equal(back.colors, colors)
    np.testing.assert_array_equal(back.normals, normals)
    np.testing.assert_array_equal(back.faces, mesh.faces)
    (loaded,) = trimesh.load(tmp_path / "a.glb").geometry.values()
    assert len(loaded.vertices) == 4


def test_far_worlds_keep_their_precision(tmp_path: Path) -> None:
    mesh = quad()
    far = np.array([455_000.125, 5_410_000.5, 310.25])
    moved = TexturedMesh(mesh.vertices * 0.01 + far, mesh.faces, mesh.uv, mesh.face_uv, mesh.texture)
    write_glb(tmp_path / "a.glb", moved)
    back = read_textured_mesh(tmp_path / "a.glb")
    np.testing.assert_allclose(back.vertices[back.faces], moved.vertices[moved.faces], atol=1e-8)


def test_no_faces_and_no_texture_are_input_errors(tmp_path: Path) -> None:
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    with pytest.raises(InputError, match="without faces"):
        write_glb(tmp_path / "a.glb", empty)
    assert not list(tmp_path.iterdir())
    write_glb(tmp_path / "b.glb", Mesh(quad().vertices, quad().faces))
    with pytest.raises(InputError, match="no texture"):
        read_textured_mesh(tmp_path / "b.glb")
    with pytest.raises(InputError, match="cannot be read"):
        read_glb(tmp_path / "missing.glb")


@pytest.mark.parametrize("keep", [0, 10, 30, 200, -100])
def test_damaged_files_are_input_errors(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.glb"
    write_glb(path, quad())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"a\.glb"):
        read_glb(path)


def test_other_gltf_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "box.glb"
    path.write_bytes(
        trimesh.Scene([trimesh.creation.box(), trimesh.creation.icosphere()]).export(file_type="glb")
    )
    with pytest.raises(InputError, match="one mesh") as error:
        read_glb(path)
    assert error.value.hint


@pytest.mark.parametrize("up", [[0, 0, 1], [0, -1, 0], [-1, 0, 0], [0, 1, 0]])
@pytest.mark.parametrize("far", [0.0, 5e6])
def test_the_node_turns_another_up_to_y_and_reading_undoes_it(tmp_path: Path, up: list, far: float) -> None:
    mesh = quad()
    mesh = replace(mesh, vertices=mesh.vertices + far)
    write_glb(tmp_path / "a.glb", mesh, up=np.array(up, float))
    gltf = document(tmp_path / "a.glb")
    (node,) = gltf["nodes"]
    assert ("rotation" in node) == (up != [0, 1, 0])
    x, y, z, w = node.get("rotation", [0, 0, 0, 1])
    # What a viewer does: v + 2 w (q x v) + 2 q x (q x v).
    q, v = np.array([x, y, z]), np.array(up, float)
    turned = v + 2 * w * np.cross(q, v) + 2 * np.cross(q, np.cross(q, v))
    np.testing.assert_allclose(turned, [0, 1, 0], atol=1e-12)
    first = np.array(gltf["accessors"][gltf["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]["min"])
    low = mesh.vertices.min(axis=0)
    shown = first + 2 * w * np.cross(q, first) + 2 * np.cross(q, np.cross(q, first))
    wanted = low + 2 * w * np.cross(q, low) + 2 * np.cross(q, np.cross(q, low))
    np.testing.assert_allclose(shown + node.get("translation", [0, 0, 0]), wanted, atol=1e-6)
    back = read_textured_mesh(tmp_path / "a.glb")
    np.testing.assert_allclose(back.vertices, np.unique(mesh.vertices, axis=0), atol=1e-6)
    scale_glb(tmp_path / "a.glb", tmp_path / "b.glb", 2.0)
    larger = read_textured_mesh(tmp_path / "b.glb")
    np.testing.assert_allclose(larger.vertices, 2 * back.vertices, atol=1e-6)

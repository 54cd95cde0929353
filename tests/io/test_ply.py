"""PLY files: our own, those of other tools, damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open3d as o3d
import pytest
import trimesh

from recon3d.errors import InputError
from recon3d.io.ply import read_mesh, read_point_cloud, write_mesh, write_point_cloud, write_point_clouds
from recon3d.types import Mesh
from tests.synthetic.shapes import grid_mesh, sphere_cloud


def test_a_cloud_comes_back_and_opens_elsewhere(tmp_path: Path) -> None:
    cloud = sphere_cloud(500)
    write_point_cloud(tmp_path / "a.ply", cloud)
    again = read_point_cloud(tmp_path / "a.ply")
    assert np.allclose(again.points, cloud.points, atol=1e-6)
    assert again.normals is not None
    assert np.array_equal(again.normals, cloud.normals)
    assert np.array_equal(again.colors, cloud.colors)
    theirs = o3d.io.read_point_cloud(str(tmp_path / "a.ply"))
    assert np.allclose(np.asarray(theirs.points), again.points)
    assert np.allclose(np.asarray(theirs.colors) * 255, again.colors, atol=0.01)
    assert len(trimesh.load(tmp_path / "a.ply").vertices) == 500


def test_a_mesh_comes_back_and_opens_elsewhere(tmp_path: Path) -> None:
    mesh = grid_mesh()
    colored = Mesh(mesh.vertices, mesh.faces, np.full((len(mesh.vertices), 3), 77, np.uint8))
    write_mesh(tmp_path / "a.ply", colored)
    again = read_mesh(tmp_path / "a.ply")
    assert np.array_equal(again.faces, mesh.faces)
    assert np.array_equal(again.colors, colored.colors)
    assert again.normals is None
    theirs = trimesh.load(tmp_path / "a.ply", process=False)
    assert np.array_equal(theirs.faces, mesh.faces)


def test_guessed_vertices_come_back_and_other_readers_pass_over_them(tmp_path: Path) -> None:
    mesh = grid_mesh()
    guessed = mesh.vertices[:, 0] > 0.5
    normals = np.tile(np.float32([[0, 1, 0]]), (len(mesh.vertices), 1))
    write_mesh(tmp_path / "a.ply", Mesh(mesh.vertices, mesh.faces, None, normals, guessed))
    assert b"property uchar guessed" in (tmp_path / "a.ply").read_bytes()
    assert np.array_equal(read_mesh(tmp_path / "a.ply").guessed, guessed)
    theirs = o3d.io.read_triangle_mesh(str(tmp_path / "a.ply"))
    assert np.array_equal(np.asarray(theirs.triangles), mesh.faces)
    assert np.allclose(np.asarray(theirs.vertex_normals), normals)
    assert np.array_equal(trimesh.load(tmp_path / "a.ply", process=False).faces, mesh.faces)
    write_mesh(tmp_path / "b.ply", mesh)
    assert read_mesh(tmp_path / "b.ply").guessed is None


@pytest.mark.parametrize("text", [True, False])
def test_open3ds_files_are_read(tmp_path: Path, text: bool) -> None:
    box = o3d.geometry.TriangleMesh.create_box()
    box.compute_vertex_normals()
    box.paint_uniform_color([1, 0.5, 0])
    o3d.io.write_triangle_mesh(str(tmp_path / "b.ply"), box, write_ascii=text)
    mesh = read_mesh(tmp_path / "b.ply")
    assert np.array_equal(mesh.faces, np.asarray(box.triangles))
    assert np.allclose(mesh.vertices, np.asarray(box.vertices))
    assert mesh.colors is not None
    assert mesh.colors[0].tolist() == [255, 128, 0]


def test_big_endian_polygons_in_any_order(tmp_path: Path) -> None:
    header = (
        "ply\nformat binary_big_endian 1.0\nelement face 1\nproperty list uchar uint vertex_index\n"
        "element vertex 4\nproperty double y\nproperty double x\nproperty double z\nend_header\n"
    )
    face = np.uint8(4).tobytes() + np.array([0, 1, 2, 3], ">u4").tobytes()
    vertices = np.array([[0, 1, 5], [0, 2, 5], [1, 2, 5], [1, 1, 5]], ">f8").tobytes()
    (tmp_path / "c.ply").write_bytes(header.encode() + face + vertices)
    mesh = read_mesh(tmp_path / "c.ply")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.vertices[1].tolist() == [2, 0, 5]


_TRIANGLE = (
    "element vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    "element face 1\nproperty uchar flags\nproperty list uchar float texcoord\n"
    "property list uchar int vertex_indices\nend_header\n"
)
_CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4")


def test_faces_with_other_properties_before_their_vertices(tmp_path: Path) -> None:
    uv, indices = np.zeros(6, "<f4").tobytes(), np.array([0, 1, 2], "<i4").tobytes()
    face = b"\x07" + b"\x06" + uv + b"\x03" + indices
    binary = f"ply\nformat binary_little_endian 1.0\n{_TRIANGLE}".encode() + _CORNERS.tobytes() + face
    text = f"ply\nformat ascii 1.0\n{_TRIANGLE}0 0 0\n1 0 0\n0 1 0\n7 6 0 0 1 0 0 1 3 0 1 2\n".encode()
    for content in (binary, text, text.replace(b"\n", b"\r\n")):
        (tmp_path / "d.ply").write_bytes(content)
        mesh = read_mesh(tmp_path / "d.ply")
        assert mesh.faces.tolist() == [[0, 1, 2]]
        assert np.array_equal(mesh.vertices, _CORNERS)
    (tmp_path / "e.ply").write_bytes(text.replace(b"3 0 1 2", b"3 0 1"))
    with pytest.raises(InputError, match="truncated"):
        read_mesh(tmp_path / "e.ply")


def test_a_cloud_with_an_empty_face_element_is_no_mesh(tmp_path: Path) -> None:
    head = _TRIANGLE.replace("face 1", "face 0")
    content = f"ply\nformat binary_little_endian 1.0\n{head}".encode() + _CORNERS.tobytes()
    (tmp_path / "f.ply").write_bytes(content)
    assert np.array_equal(read_point_cloud(tmp_path / "f.ply").points, _CORNERS)
    with pytest.raises(InputError, match="no faces"):
        read_mesh(tmp_path / "f.ply")
    (tmp_path / "g.ply").write_bytes(content.replace(b"vertex 3", b"vertex -1"))
    with pytest.raises(InputError, match="vertex -1"):
        read_point_cloud(tmp_path / "g.ply")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    write_mesh(tmp_path / "whole.ply", grid_mesh())
    data = (tmp_path / "whole.ply").read_bytes()
    for name, content in (
        ("short.ply", data[:-300]),
        ("text.ply", b"not a ply"),
        ("cut.ply", data[: data.index(b"end_header") + len(b"end_header")]),
        ("header.ply", data.replace(b"float", b"flaot")),
        ("index.ply", data[:-4] + b"\x7f\x7f\x7f\x7f"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read_mesh(tmp_path / name)
    with pytest.raises(InputError, match=r"none\.ply"):
        read_mesh(tmp_path / "none.ply")
    write_point_cloud(tmp_path / "cloud.ply", sphere_cloud(10))
    with pytest.raises(InputError, match="no faces"):
        read_mesh(tmp_path / "cloud.ply")


def test_a_cloud_in_parts_is_the_same_file(tmp_path: Path) -> None:
    cloud = sphere_cloud(100)
    first = np.arange(100) < 37
    write_point_cloud(tmp_path / "whole.ply", cloud)
    parts = (cloud.subset(keep) for keep in (first, np.zeros(100, bool), ~first))
    write_point_clouds(tmp_path / "parts.ply", parts, 100)
    assert (tmp_path / "parts.ply").read_bytes() == (tmp_path / "whole.ply").read_bytes()

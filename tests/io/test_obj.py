from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from recon3d.errors import InputError
from recon3d.io.obj import write_obj
from recon3d.types import TexturedMesh
from tests.io.test_gltf import COLORS, page_color, paged, quad, tilted_map


def test_the_three_files_hold_together(tmp_path: Path) -> None:
    written = write_obj(tmp_path / "my model.obj", quad())
    assert [p.name for p in written] == ["my model.obj", "my_model.mtl", "my_model.jpg"]
    text = written[0].read_text()
    assert "mtllib my_model.mtl" in text
    assert "map_Kd my_model.jpg" in written[1].read_text()
    assert [line for line in text.splitlines() if line.startswith("f ")] == ["f 1/1 2/2 3/3", "f 1/5 3/3 4/4"]
    assert sum(line.startswith("v ") for line in text.splitlines()) == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in written)


def test_a_normal_map_comes_with_normals(tmp_path: Path) -> None:
    written = write_obj(tmp_path / "my model.obj", quad(), normal_map=tilted_map())
    assert [p.name for p in written][3:] == ["my_model_normal.png"]
    assert (
        written[1]
        .read_text()
        .endswith("map_Kd my_model.jpg\nnorm my_model_normal.png\nmap_Bump my_model_normal.png\n")
    )
    np.testing.assert_array_equal(cv2.imread(str(written[3]))[..., ::-1], tilted_map())
    lines = written[0].read_text().splitlines()
    assert [line for line in lines if line.startswith("f ")] == ["f 1/1/1 2/2/2 3/3/3", "f 1/5/1 3/3/3 4/4/4"]
    assert [line for line in lines if line.startswith("vn ")] == 4 * ["vn 0.000000 0.000000 1.000000"]
    loaded = trimesh.load(written[0], process=False, force="mesh")
    np.testing.assert_allclose(loaded.vertex_normals, [[0, 0, 1]] * len(loaded.vertices))


def test_each_page_has_a_picture_and_a_material(tmp_path: Path) -> None:
    mesh = paged(3)
    normals = np.full((32, 32, 3), (128, 128, 255), np.uint8)
    written = write_obj(tmp_path / "my model.obj", mesh, normal_map=normals)
    pictures = ["my_model.jpg", "my_model_normal.png", "my_model_page2.jpg", "my_model_page2_normal.png"]
    assert [path.name for path in written[2:]] == [
        *pictures,
        "my_model_page3.jpg",
        "my_model_page3_normal.png",
    ]
    lines = written[0].read_text().splitlines()
    assert [line for line in lines if line.startswith("usemtl")] == [
        "usemtl photos",
        "usemtl photos_page2",
        "usemtl photos_page3",
    ]
    loaded = trimesh.load(write_obj(tmp_path / "plain.obj", mesh)[0], process=False)
    assert len(loaded.geometry) == 3
    for part in loaded.geometry.values():
        page = round(part.vertices[:, 0].min() / 1.5)
        image = np.asarray(part.visual.material.image.convert("RGB")).astype(int)
        assert np.abs(image - page_color(page)).max() <= 3
        assert part.visual.uv.min(axis=0) == pytest.approx([0.1, 0.2], abs=1e-6)
        assert part.visual.uv.max(axis=0) == pytest.approx([0.9, 0.7], abs=1e-6)


def test_trimesh_finds_the_right_colours(tmp_path: Path) -> None:
    path = write_obj(tmp_path / "a.obj", quad())[0]
    loaded = trimesh.load(path, process=False, force="mesh")
    image = np.asarray(loaded.visual.material.image.convert("RGB"))
    corner = int(np.argmin(np.linalg.norm(loaded.vertices - [0, 1, 0], axis=1)))
    u, v = loaded.visual.uv[corner]
    pixel = image[min(int((1 - v) * 64), 63), min(int(u * 64), 63)]
    np.testing.assert_allclose(pixel, COLORS["top left"], atol=6)


def test_coordinates_keep_nine_digits(tmp_path: Path) -> None:
    mesh = quad()
    mesh.vertices[0] = [123456.789, -1e-7, 1 / 3]
    line = next(
        line for line in write_obj(tmp_path / "a.obj", mesh)[0].read_text().splitlines() if line[:2] == "v "
    )
    np.testing.assert_allclose([float(x) for x in line.split()[1:]], mesh.vertices[0], rtol=1e-8)


def test_no_faces_is_an_input_error(tmp_path: Path) -> None:
    q = quad()
    none = np.zeros((0, 3), np.int32)
    with pytest.raises(InputError, match="without faces"):
        write_obj(tmp_path / "a.obj", TexturedMesh(q.vertices, none, q.uv, none, q.texture))

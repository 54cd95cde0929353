"""A workspace of COLMAP's dense stage: what COLMAP itself reads from it, and its lists and maps."""

from __future__ import annotations

import shutil
import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest

from recon3d.colmap import write_model
from recon3d.errors import InputError
from recon3d.io.colmap_dense import DenseWorkspace, is_whole_map, read_problem_list
from recon3d.io.depth import read_colmap_map, write_colmap_map
from recon3d.types import Camera
from tests.synthetic.scenes import Plane, Sphere, arc, render, scene_of

WALL = Plane(np.array([0.0, 0.0, -1.0]), -0.6)


@pytest.fixture(scope="module")
def pictures():
    return [render([Sphere(np.zeros(3), 0.55), WALL], view) for view in arc(4)]


@pytest.fixture(scope="module")
def workspace(pictures, tmp_path_factory):
    made = DenseWorkspace(tmp_path_factory.mktemp("workspace"))
    made.prepare({i: [j for j in range(4) if j != i] for i in range(4)})
    for i, picture in enumerate(pictures):
        cv2.imwrite(str(made.image(i)), picture.rgb[..., ::-1])
    write_model(made.model, scene_of(pictures), [made.name(i) for i in range(4)])
    return made


def test_colmap_reads_the_model_as_it_was(workspace, pictures):
    scene = scene_of(pictures)
    model = pycolmap.Reconstruction(str(workspace.model))
    assert model.num_reg_images() == 4
    assert model.num_points3D() == len(scene.points)
    assert model.compute_num_observations() == len(scene.points.track_views)
    for index, view in enumerate(scene):
        image = model.image(index + 1)
        assert image.name == workspace.name(index)
        assert image.cam_from_world().matrix() == pytest.approx(view.cam_from_world[:3], abs=1e-12)
        assert image.camera.calibration_matrix() == pytest.approx(view.camera.K)
        for point in image.points2D:
            xyz = model.point3D(point.point3D_id).xyz
            assert image.project_point(xyz) == pytest.approx(point.xy, abs=1e-6)
    seen = {
        tuple(np.round(p.xyz, 9)): {e.image_id - 1 for e in p.track.elements} for p in model.points3D.values()
    }
    starts, tracks = scene.points.track_starts, scene.points.track_views
    for i, xyz in enumerate(scene.points.xyz):
        assert seen[tuple(np.round(xyz, 9))] == set(tracks[starts[i] : starts[i + 1]])


def test_the_layout_is_that_of_colmaps_undistorter(workspace, tmp_path):
    pycolmap.undistort_images(str(tmp_path), str(workspace.model), str(workspace.folder / "images"))

    def layout(folder: Path) -> set[str]:
        names = {p.relative_to(folder).as_posix() for p in folder.rglob("*")}
        return {name for name in names if not name.endswith(".sh")}

    assert layout(workspace.folder) == layout(tmp_path)
    # Without distortion it leaves cameras and pixels as they are.
    theirs = pycolmap.Reconstruction(str(tmp_path / "sparse"))
    ours = pycolmap.Reconstruction(str(workspace.model))
    assert theirs.image(2).camera.params == pytest.approx(ours.image(2).camera.params)
    assert read_problem_list(tmp_path / "stereo" / "patch-match.cfg") == {
        workspace.name(i): ["__auto__", "20"] for i in range(4)
    }
    fusion = (tmp_path / "stereo" / "fusion.cfg").read_text().split()
    assert (workspace.folder / "stereo" / "fusion.cfg").read_text().split() == fusion


def test_the_list_of_sources_is_read_back(workspace, tmp_path):
    assert read_problem_list(workspace.config)[workspace.name(2)] == [workspace.name(j) for j in (0, 1, 3)]
    (tmp_path / "a.cfg").write_text("# made by hand\n\na.png\n__all__\nb.png\nc.png;a.png\n")
    assert read_problem_list(tmp_path / "a.cfg") == {"a.png": ["__all__"], "b.png": ["c.png", "a.png"]}
    (tmp_path / "b.cfg").write_text("a.png\n")
    with pytest.raises(InputError, match=r"lacks the sources of a\.png"):
        read_problem_list(tmp_path / "b.cfg")
    with pytest.raises(InputError, match=r"c\.cfg cannot be read"):
        read_problem_list(tmp_path / "c.cfg")


def test_maps_have_the_bytes_of_colmaps_format(tmp_path):
    # Width, height and channels in ASCII, then little-endian floats, x fastest, channels slowest.
    depth = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)
    write_colmap_map(tmp_path / "depth.bin", depth)
    expected = b"3&2&1&" + struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    assert (tmp_path / "depth.bin").read_bytes() == expected
    theirs = pycolmap.DepthMap()
    theirs.read(str(tmp_path / "depth.bin"))
    assert np.array_equal(theirs.to_array(), depth)
    normal = np.stack([depth, depth + 10, depth + 20], axis=-1)
    write_colmap_map(tmp_path / "normal.bin", normal)
    values = [1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16, 21, 22, 23, 24, 25, 26]
    assert (tmp_path / "normal.bin").read_bytes() == b"3&2&3&" + struct.pack("<18f", *values)
    assert np.array_equal(read_colmap_map(tmp_path / "normal.bin"), normal)
    (tmp_path / "theirs.bin").write_bytes(expected)
    assert np.array_equal(read_colmap_map(tmp_path / "theirs.bin"), depth)


def test_a_cut_off_map_is_not_whole(tmp_path):
    path = tmp_path / "map.bin"
    assert not is_whole_map(path, 1)
    write_colmap_map(path, np.ones((4, 5), np.float32))
    assert is_whole_map(path, 1)
    assert not is_whole_map(path, 3)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_whole_map(path, 1)
    path.write_bytes(b"")
    assert not is_whole_map(path, 1)


def test_colmap_fuses_true_maps_in_the_workspace(workspace, pictures, tmp_path):
    shutil.copytree(workspace.folder, tmp_path, dirs_exist_ok=True)
    workspace = DenseWorkspace(tmp_path)
    for i, picture in enumerate(pictures):
        write_colmap_map(workspace.depth_map(i, "geometric"), picture.depth.astype(np.float32))
        write_colmap_map(workspace.normal_map(i, "geometric"), picture.normal.astype(np.float32))
    assert all(workspace.has_maps(i, "geometric") for i in range(4))
    options = pycolmap.StereoFusionOptions()
    options.min_num_pixels = 2
    options.num_threads = 1
    (workspace.folder / "fused").mkdir()
    fused = pycolmap.stereo_fusion(str(workspace.folder / "fused"), str(workspace.folder), options=options)
    points = np.array([p.xyz for p in fused.points3D.values()])
    assert len(points) > 1000
    off = np.minimum(np.abs(np.linalg.norm(points, axis=1) - 0.55), np.abs(points[:, 2] - 0.6))
    assert np.median(off) < 0.005


def test_a_distorted_camera_is_refused(pictures, tmp_path):
    scene = scene_of(pictures)
    bent = Camera("SIMPLE_RADIAL", 160, 120, (180.0, 80.0, 60.0, 0.1))
    scene = replace(scene, views=(replace(scene.views[0], camera=bent), *scene.views[1:]))
    with pytest.raises(InputError, match=r"view0\.png is distorted"):
        write_model(tmp_path, scene, ["a", "b", "c", "d"])

"""What is given away: films, prints, models for phones, and objects of other libraries."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import trimesh
from av.video.reformatter import Colorspace
from PIL import Image

from recon3d.errors import InputError, OptionError, StageError
from recon3d.export.project_export import export_project
from recon3d.export.turntable import Turn, write_turntable
from recon3d.io.depth import write_depth_map
from recon3d.io.gltf import read_texture_files, read_textured_mesh
from recon3d.io.masks import write_mask
from recon3d.io.nerfstudio import write_transforms
from recon3d.io.obj import write_obj
from recon3d.io.ply import write_mesh
from recon3d.io.usdz import write_usdz
from recon3d.layout import MESH, NORMAL_MAP, depth_map_file, mask_file
from recon3d.project import Project
from recon3d.texture.grid import face_pages, page_coordinates
from recon3d.types import Camera, DepthMap, Mesh, PointCloud, Scene
from recon3d.viewer.html_export import export_html
from tests.io.test_gltf import paged, tilted_map
from tests.synthetic.made_project import HALF, box, cloud, made_project

#: Colours of the box's chequered texture.
_BROWN, _CREAM = (190, 120, 60), (240, 225, 200)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = made_project(tmp_path_factory.mktemp("giving") / "box")
    write_mesh(made.results.folder / MESH, Mesh(box().vertices, box().faces))
    camera = Camera("PINHOLE", 6, 4, (5.0, 5.0, 3.0, 2.0))
    for number in (0, 1):
        depth = np.full((4, 6), 1.0 + number, np.float32)
        normal = np.zeros((4, 6, 3), np.float32)
        name = f"photo_{number}.jpg"
        path = depth_map_file(made.artifacts["dense_reconstruction"].path, name)
        write_depth_map(path, DepthMap(name, camera, depth, normal, np.ones((4, 6), np.float32)))
    return made


def _share(picture: np.ndarray[Any, Any], color: tuple[int, int, int], off: int = 12) -> float:
    return float((np.abs(picture.astype(int) - color).max(axis=2) <= off).mean())


def test_a_film_turns_once_and_keeps_the_model_s_colours(project: Project, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = project.turntable(
        tmp_path / "turn.mp4", size=(161, 120), seconds=1.0, fps=12, progress=lambda *done: told.append(done)
    )
    assert told == [(i, 12) for i in range(1, 13)]
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.average_rate) == (160, 120, 12)
        # BT.709 with limited range, and told: players need not guess.
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (
            *(1, 1, 1, 1),
        )
        pictures = [
            frame.to_ndarray(format="rgb24", src_colorspace=Colorspace.ITU709)
            for frame in film.decode(video=0)
        ]
    assert len(pictures) == 12
    # Another matrix than the one that is told would shift brown by ten levels.
    for picture in pictures:
        for color in (_BROWN, _CREAM):
            assert _share(picture, color, 20) > 0.05
            near = picture[np.abs(picture.astype(int) - color).max(axis=2) <= 20]
            np.testing.assert_allclose(np.median(near, axis=0), color, atol=6)
    # The box fills the picture and stays in it.
    for picture in pictures:
        model = np.abs(picture.astype(int) - picture[:, :1]).max(axis=2) > 24
        rows, columns = np.flatnonzero(model.any(axis=1)), np.flatnonzero(model.any(axis=0))
        assert rows[0] > 0
        assert rows[-1] < 119
        assert columns[0] > 0
        assert columns[-1] < 159
    # It ends where it began: the step from the last picture to the first is one of them.
    steps = [float(np.abs(pictures[k].astype(int) - pictures[k - 1]).mean()) for k in range(len(pictures))]
    assert min(steps) > 2
    assert steps[0] < 1.5 * max(steps[1:])
    assert steps[0] > 0.5 * min(steps[1:])


def test_a_gif_loops_with_one_palette(project: Project, tmp_path: Path) -> None:
    path = write_turntable(project, tmp_path / "turn.gif", Turn(size=(96, 96), seconds=0.5, fps=10))
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"], gif.info["duration"]) == (5, (96, 96), 0, 100)
        for number in range(gif.n_frames):
            gif.seek(number)
            picture = np.asarray(gif.convert("RGB"))
            assert _share(picture, _BROWN) > 0.05
            assert _share(picture, _CREAM) > 0.05


@pytest.mark.parametrize("fps", [7, 15, 30, 45])
def test_a_gif_takes_as_long_as_the_turn(project: Project, tmp_path: Path, fps: int) -> None:
    path = project.turntable(tmp_path / "turn.gif", size=(16, 16), seconds=1.0, fps=fps)
    length = 0
    with Image.open(path) as gif:
        for number in range(gif.n_frames):
            gif.seek(number)
            length += gif.info["duration"]
    assert length == 1000


def test_a_turntable_that_cannot_be_made_says_why(project: Project, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="neither a film nor a GIF"):
        project.turntable(tmp_path / "turn.avi")
    for wrong in ({"size": (8, 90)}, {"seconds": 0.0}, {"fps": -1.0}, {"elevation": 90.0}, {"seconds": 1e9}):
        with pytest.raises(OptionError):
            project.turntable(tmp_path / "turn.mp4", **wrong)
    with pytest.raises(OptionError, match=r"^0 pictures a second") as refused:
        project.turntable(tmp_path / "turn.mp4", fps=0)
    assert "above 0 and up to 120" in refused.value.hint
    with pytest.raises(OptionError, match="A GIF cannot show 60 pictures a second") as refused:
        project.turntable(tmp_path / "turn.gif", fps=60)
    assert "up to 50" in refused.value.hint
    # 3630 pictures at a film's own 30 a second.
    with pytest.raises(OptionError, match="A turn of 121 s at 30 pictures"):
        project.turntable(tmp_path / "turn.mp4", seconds=121)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StageError, match=str(tmp_path / "file")):
        project.turntable(tmp_path / "file" / "turn.gif", size=(32, 32), seconds=0.2)
    with pytest.raises(InputError):
        Project.create(tmp_path / "empty").turntable(tmp_path / "turn.mp4")
    assert not list(tmp_path.glob("turn*"))


def test_a_glb_is_lit_and_has_webp_when_asked(tmp_path: Path) -> None:
    project = made_project(tmp_path / "box", size=2.0)
    project.set_scale(measured=4.0, known=2.0)
    plain = read_textured_mesh(project.export("glb"))
    before, jpeg = read_texture_files(project.export("glb"))
    assert before == "jpeg"
    lit = project.export("glb", tmp_path / "lit.glb", material="pbr")
    assert b"KHR_materials_unlit" not in lit.read_bytes()
    assert b'"NORMAL"' in lit.read_bytes()
    # Not encoded a second time.
    assert read_texture_files(lit) == ("jpeg", jpeg)
    webp = project.export("glb", tmp_path / "webp.glb", texture_format="webp")
    assert b"KHR_materials_unlit" in webp.read_bytes()
    assert read_texture_files(webp)[0] == "webp"
    png = project.export("glb", tmp_path / "png.glb", material="pbr", texture_format="png")
    np.testing.assert_array_equal(read_textured_mesh(png).texture, plain.texture)
    assert np.abs(read_textured_mesh(webp).texture.astype(int) - plain.texture).mean() < 3
    dark = project.export("glb", tmp_path / "dark.glb", material="pbr", occlusion=True)
    assert b'"occlusionTexture":{"index":1}' in dark.read_bytes()
    assert read_texture_files(dark) == ("jpeg", jpeg)
    for path in (lit, webp, png, dark):
        again = read_textured_mesh(path)
        np.testing.assert_allclose(again.vertices[again.faces], plain.vertices[plain.faces], atol=1e-6)
        np.testing.assert_allclose(again.uv[again.face_uv], plain.uv[plain.face_uv], atol=1e-6)


def test_exports_that_are_lit_take_the_normal_map(tmp_path: Path) -> None:
    project = made_project(tmp_path / "box")
    normals = tilted_map(32)
    cv2.imwrite(str(project.results.folder / NORMAL_MAP), normals[..., ::-1])
    # Of a texturing whose model is not among the results: a run was killed before it published.
    cv2.imwrite(str(project.artifacts["texturing"].path / NORMAL_MAP), 255 - normals)
    unlit = project.export("glb")
    assert b"normalTexture" not in unlit.read_bytes()
    assert b"TANGENT" not in unlit.read_bytes()
    lit = trimesh.load(project.export("glb", tmp_path / "a.glb", material="pbr", texture_format="png"))
    (shape,) = lit.geometry.values()
    np.testing.assert_array_equal(np.asarray(shape.visual.material.normalTexture.convert("RGB")), normals)
    project.export("obj", tmp_path / "a.obj")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a_normal.png"))[..., ::-1], normals)
    (project.results.folder / NORMAL_MAP).write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"normal_map\.png is damaged"):
        project.export("obj", tmp_path / "b.obj")


def test_photos_keep_their_masks(tmp_path: Path) -> None:
    project = made_project(tmp_path / "box")
    extracted = project.artifacts["frame_extraction"].path
    scene = Scene.load(project.artifacts["sparse_reconstruction"].path)
    write_transforms(project.results.folder / "transforms.json", scene, "images")
    shutil.copytree(extracted / "images", project.results.folder / "sparse")
    project.export("nerfstudio")
    visible = np.arange(640)[None] > np.arange(480)[:, None]
    mask = mask_file(extracted / "images", "photo_3.jpg")
    write_mask(mask, visible)
    colmap, nerfstudio = project.export("colmap"), project.export("nerfstudio")
    assert [path.name for path in (colmap / "masks").iterdir()] == ["photo_3.jpg.png"]
    assert (colmap / "masks" / mask.name).read_bytes() == mask.read_bytes()
    for frame in json.loads((nerfstudio / "transforms.json").read_text())["frames"]:
        name = frame["file_path"].removeprefix("images/")
        assert frame["mask_path"] == f"masks/{name}.png"
        read = cv2.imread(str(nerfstudio / frame["mask_path"]), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(read > 0, visible if name == "photo_3.jpg" else np.ones_like(visible))
    # The photo has come anew, without transparent pixels.
    shutil.rmtree(mask.parent)
    project.export("colmap")
    assert not list((colmap / "masks").iterdir())
    assert "mask_path" not in project.export("nerfstudio").joinpath("transforms.json").read_text()


def test_looks_that_there_are_not_are_refused(project: Project, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="material pbr is for GLB, not for obj"):
        project.export("obj", material="pbr")
    with pytest.raises(OptionError, match="texture format webp is for GLB, not for usdz"):
        project.export("usdz", texture_format="webp")
    with pytest.raises(OptionError, match="Unknown texture format 'ktx2'") as refused:
        project.export("glb", tmp_path / "a.glb", texture_format="ktx2")  # type: ignore[arg-type]
    assert "jpeg, png, webp" in refused.value.hint
    with pytest.raises(OptionError, match="Unknown material 'gold'"):
        project.export("glb", tmp_path / "a.glb", material="gold")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="Ambient occlusion is for programs that light the model"):
        project.export("glb", tmp_path / "a.glb", occlusion=True)
    assert not list(tmp_path.iterdir())


def test_a_print_is_in_millimetres_with_z_up_where_the_scale_is_known(tmp_path: Path) -> None:
    project = made_project(tmp_path / "box", size=2.0)
    write_mesh(project.results.folder / MESH, Mesh(2 * box().vertices, box().faces))
    solid = trimesh.load(project.export("stl"))
    assert solid.is_watertight
    assert solid.volume > 0  # normals outward
    np.testing.assert_allclose(np.ptp(solid.vertices, axis=0), 4 * HALF[[0, 2, 1]], rtol=1e-5)
    assert b"unit: unknown" in project.export("stl").read_bytes()[:80]
    project.set_scale(measured=4.0, known=0.1)
    printed = project.export("stl", tmp_path / "print.stl")
    np.testing.assert_allclose(
        np.ptp(trimesh.load(printed).vertices, axis=0), 100 * HALF[[0, 2, 1]], rtol=1e-5
    )
    header = printed.read_bytes()[:80]
    assert b"unit: mm" in header
    assert not header.startswith(b"solid")


@pytest.mark.parametrize("kind", ["textured", "normals", "pages", "coloured", "plain"])
def test_pixar_s_validators_find_nothing_wrong_with_a_usdz(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("pxr", reason="needs recon3d[usd]")
    from pxr import Usd, UsdGeom, UsdValidation

    textured = box()
    colors = np.full((len(textured.vertices), 3), 200, np.uint8) if kind == "coloured" else None
    with_texture = kind in ("textured", "normals", "pages")
    if kind == "pages":
        textured = paged(3)
    mesh = textured if with_texture else Mesh(textured.vertices, textured.faces, colors)
    write_usdz(tmp_path / "box.usdz", mesh, normal_map=tilted_map() if kind == "normals" else None)
    stage = Usd.Stage.Open(str(tmp_path / "box.usdz"))
    registry = UsdValidation.ValidationRegistry()
    context = UsdValidation.ValidationContext(registry.GetOrLoadAllValidators())
    assert [(e.GetName(), e.GetMessage()) for e in context.Validate(stage)] == []
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    surface = UsdGeom.Mesh(stage.GetPrimAtPath("/model/surface"))
    np.testing.assert_allclose(surface.GetPointsAttr().Get(), mesh.vertices, atol=1e-6)
    shader = stage.GetPrimAtPath("/model/photos/surface")
    assert shader.HasAttribute("inputs:normal") == (kind == "normals")
    if with_texture:
        st = UsdGeom.PrimvarsAPI(surface).GetPrimvar("st").ComputeFlattened()
        expected = page_coordinates(textured, face_pages(textured))
        np.testing.assert_allclose(st, expected[textured.face_uv.ravel()])
        parts = UsdGeom.Subset.GetAllGeomSubsets(surface)
        assert [list(part.GetIndicesAttr().Get()) for part in parts] == (
            [[0, 1], [2, 3], [4, 5]] if kind == "pages" else []
        )


def test_a_usdz_of_a_project_is_in_metres(project: Project, tmp_path: Path) -> None:
    pytest.importorskip("pxr", reason="needs recon3d[usd]")
    from pxr import Usd, UsdGeom

    scaled = made_project(tmp_path / "p", size=2.0)
    scaled.set_scale(measured=4.0, known=0.1)
    stage = Usd.Stage.Open(str(scaled.export("usdz")))
    points = np.array(UsdGeom.Mesh(stage.GetPrimAtPath("/model/surface")).GetPointsAttr().Get())
    np.testing.assert_allclose(np.ptp(points, axis=0), 0.1 * HALF, rtol=1e-4)


def test_trimesh_has_the_colour_of_each_place() -> None:
    made = box().to_trimesh()
    assert len(made.faces) == 12
    np.testing.assert_allclose(made.bounds, [-HALF, HALF])
    corners = np.array([0, 5, 9])
    textured = box()
    colors = made.visual.material.image
    assert colors.size == (128, 128)
    # Each corner looks up what it looked up before.
    np.testing.assert_allclose(made.visual.uv[made.faces[corners]], textured.uv[textured.face_uv[corners]])
    painted = Mesh(textured.vertices, textured.faces, np.full((len(textured.vertices), 3), 7, np.uint8))
    assert (painted.to_trimesh().visual.vertex_colors[:, :3] == 7).all()


def test_open3d_has_what_it_reads_from_our_obj(tmp_path: Path) -> None:
    import open3d as o3d

    textured = box()
    textured.texture[:40, :40] = (200, 0, 0)  # not the same upside down
    write_obj(tmp_path / "box.obj", textured, quality=100)
    read = o3d.io.read_triangle_mesh(str(tmp_path / "box.obj"), enable_post_processing=False)
    made = textured.to_open3d()
    np.testing.assert_allclose(np.asarray(made.triangle_uvs), np.asarray(read.triangle_uvs), atol=1e-6)
    np.testing.assert_allclose(
        np.asarray(made.textures[0]).astype(int), np.asarray(read.textures[-1]).astype(int), atol=12
    )
    points = cloud(50)
    normals = np.tile(np.float32([0, 0, 1]), (50, 1))
    pc = PointCloud(points.points, normals, points.colors).to_open3d()
    np.testing.assert_allclose(np.asarray(pc.points), points.points)
    np.testing.assert_allclose(255 * np.asarray(pc.colors), points.colors)
    np.testing.assert_allclose(np.asarray(pc.normals), normals)
    mesh = Mesh(textured.vertices, textured.faces, np.full((24, 3), 51, np.uint8)).to_open3d()
    np.testing.assert_allclose(np.asarray(mesh.vertex_colors), 0.2)


def test_frames_and_depth_maps_are_read_when_they_are_asked_for(project: Project) -> None:
    assert project.name == "box"
    assert repr(project.frames) == "<Frames: 8 pictures, photo_0.jpg … photo_7.jpg>"
    assert [path.name for path in project.frames[1:3]] == ["photo_1.jpg", "photo_2.jpg"]
    maps = project.depth_maps
    assert repr(maps) == "<DepthMaps: 2 maps, photo_0.jpg … photo_1.jpg>"
    assert repr(maps[:1]) == "<DepthMaps: 1 map, photo_0.jpg>"
    assert repr(maps["photo_1.jpg"]).startswith("<DepthMap: photo_1.jpg, 6 x 4 pixels")
    assert [float(depth_map.depth.max()) for depth_map in maps] == [1.0, 2.0]
    with pytest.raises(InputError, match=r"'lost\.jpg'"):
        maps["lost.jpg"]
    with pytest.raises(IndexError):
        maps[2]


def test_a_new_project_has_neither(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    assert not project.frames
    assert repr(project.depth_maps) == "<DepthMaps: 0 maps>"


@pytest.mark.parametrize("format", ["html", "stl", "ply"])
def test_a_folder_in_a_files_place_is_named(project: Project, tmp_path: Path, format: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(StageError, match=re.escape(f"{folder} ")) as failed:
        export_html(project, folder) if format == "html" else export_project(project, format, folder)
    assert ".tmp-" not in failed.value.message
    assert folder.is_dir()

"""The viewer on the side of Python: what the browser's messages do, and what is sent."""

from __future__ import annotations

import io
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from recon3d.errors import InputError, OptionError
from recon3d.project.scale import scale_of
from recon3d.types import Camera, Mesh, PointCloud, Scene, SparsePoints, View
from tests.synthetic.made_project import made_project, start_anew
from tests.viewer.models import globe

pytest.importorskip("ipywidgets", reason="needs recon3d[notebook]")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of pythreejs' dependencies, at import
    pytest.importorskip("pythreejs", reason="needs recon3d[notebook]")

from recon3d.notebook.viewer import Viewer, compare
from recon3d.viewer.grid import Grid
from recon3d.viewer.still import quick_picture
from recon3d.viewer.thinning import Budget
from recon3d.viewer.view_content import content_of
from tests.synthetic.made_project import box


def _cloud(count: int = 3000) -> PointCloud:
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 255, (count, 3), dtype=np.uint8)
    return PointCloud(rng.uniform(-1, 1, size=(count, 3)), colors=colors)


def _scene(rotation: np.ndarray | None = None, scale: float = 1.0) -> Scene:
    """Six cameras on a ring about a few points, the world turned and scaled."""
    rng = np.random.default_rng(1)
    turn = np.eye(3) if rotation is None else rotation
    xyz = scale * 0.6 * rng.normal(size=(300, 3)) @ turn.T
    rgb = np.full((300, 3), 99, np.uint8)
    points = SparsePoints(xyz, rgb, np.zeros(300), np.zeros(301, np.int64), np.zeros(0, np.int32))
    camera = Camera("PINHOLE", 64, 48, (50.0, 50.0, 32.0, 24.0))
    views = []
    for i in range(6):
        center = scale * turn @ (1.2 * np.array([np.cos(i), 0.2 * i, np.sin(i)]))
        pose = np.eye(4)
        pose[:3, 3] = -center
        views.append(View(f"{i}.jpg", camera, pose))
    return Scene(tuple(views), points)


def _seen(viewer: Viewer) -> Viewer:
    """The viewer, after the page has told that it has drawn the first picture."""
    viewer._ear._field.value = '{"drawn": true, "at": 0}'  # type: ignore[union-attr]
    return viewer


def _click(viewer: Viewer, thing: Any, point: Any, face: int | None = None) -> None:
    """What the browser sends when a click hits something."""
    viewer.canvas.picker.set_state(
        {"object": f"IPY_MODEL_{thing.model_id}", "point": [float(v) for v in point], "faceIndex": face}
    )


def test_what_is_too_large_is_thinned_told_and_sent_in_slices() -> None:
    viewer = _seen(Viewer(_cloud(), budget=Budget(points=1000)))
    assert viewer.layers["points"].first.geometry.attributes["position"].array.shape == (1000, 3)
    viewer.detail.wait()
    assert "1,000 of 3,000 points, 0.0 MB sent" in viewer.toolbar._told.value
    viewer.close()
    large = _seen(Viewer(_cloud(500_000)))
    large.detail.wait()
    slices = [large.layers["points"].first, *large.layers["points"]._rest.children]
    sizes = [len(part.geometry.attributes["position"].array) for part in slices]
    assert sizes == [150_000, 300_000, 50_000]
    assert large.bytes_sent == 500_000 * 9
    large.close()


def test_the_texture_follows_the_bare_surface() -> None:
    viewer = Viewer(box())
    layer = viewer.layers["mesh"]
    assert layer.styles == ("textured", "shaded", "wireframe")
    assert viewer.style == "textured"
    assert layer.object.material.map is None  # grey until then
    assert viewer.bytes_sent == layer.first_bytes
    assert "sent" not in viewer.toolbar._told.value
    _seen(viewer).detail.wait()
    assert layer.object.material.map.imageUri.startswith("data:image/jpeg;base64,")
    uri = len(layer.object.material.map.imageUri) - len("data:image/jpeg;base64,")
    assert viewer.bytes_sent == layer.first_bytes + uri
    assert "MB sent" in viewer.toolbar._told.value
    viewer.close()
    # What was chosen while it was on its way stays.
    viewer = Viewer(box())
    viewer.style = "wireframe"
    _seen(viewer).detail.wait()
    assert viewer.layers["mesh"].object.material.wireframe
    viewer.style = "textured"
    assert viewer.layers["mesh"].object.material.map is not None
    viewer.close()
    # Closing does not wait for it.
    viewer = Viewer(box())
    started = time.monotonic()
    viewer.close()
    assert time.monotonic() - started < 0.4


def test_the_whole_surface_follows_its_draft_when_the_page_shows_it() -> None:
    model = globe()
    viewer = Viewer(model)
    layer = viewer.layers["mesh"]
    draft = viewer.content.draft
    assert draft is not None
    assert draft.faces is not None
    assert len(layer.object.geometry.attributes["index"].array) == 3 * len(draft.faces)
    assert layer.object.material.vertexColors == "VertexColors"
    assert layer.drafted
    first = viewer.bytes_sent
    assert first == layer.first_bytes < 2e6
    assert not viewer.detail.complete
    # Until the page has drawn the draft, there is nothing else that it must unpack.
    viewer._ear._field.value = '{"size": [1000, 0], "at": 1}'  # type: ignore[union-attr]
    viewer.style, viewer.measuring = "textured", False
    assert viewer._surround._above.children == ()
    time.sleep(1)
    assert layer.drafted
    started = time.monotonic()
    _seen(viewer).detail.wait()
    assert time.monotonic() - started < 1.5
    assert len(viewer._surround._above.children) == 1
    assert not layer.drafted
    assert len(layer.object.geometry.attributes["index"].array) == 3 * len(model.faces)
    assert layer.object.material.map is not None
    step = layer.object.scale[0]
    positions = layer.object.geometry.attributes["position"].array * step + layer.object.position
    np.testing.assert_allclose(positions, viewer.content.vertices, atol=step)
    assert viewer.bytes_sent > first + layer.first_bytes
    viewer.close()
    # A page that tells nothing does not keep it back.
    silent = Viewer(model, fill=False)
    silent.style = "wireframe"
    silent.detail.wait()
    assert silent.layers["mesh"].object.material.wireframe
    silent.style = "textured"
    assert silent.layers["mesh"].object.material.map is not None
    silent.close()
    # Closing does not wait.
    viewer = Viewer(model)
    started = time.monotonic()
    viewer.close()
    assert time.monotonic() - started < 0.4


def test_points_on_the_grid_are_where_they_were() -> None:
    positions = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    grid = Grid.of(positions)
    assert grid.values.dtype == np.uint16
    np.testing.assert_allclose(grid.low + grid.step * grid.values, positions, atol=grid.step)
    positions[0] = 1e6  # one far point must not cost the others their precision
    assert Grid.of(positions).values.dtype == np.float32


def test_layers_style_size_and_background_reach_the_scene() -> None:
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32), np.full((3, 3), 200, np.uint8))
    viewer = Viewer(mesh)
    assert viewer.layers["mesh"].styles == ("textured", "shaded", "wireframe")
    viewer.toolbar.style.value = "wireframe"
    assert viewer.layers["mesh"].object.material.wireframe
    viewer.toolbar.layer_boxes["mesh"].value = False
    assert viewer.visible == {"mesh": False}
    viewer.toolbar.back.value = "#ffffff"
    assert viewer.canvas.scene.background == "#ffffff"
    with pytest.raises(OptionError, match="Unknown style"):
        viewer.style = "glass"
    with pytest.raises(OptionError, match="Unknown layer"):
        viewer.show(points=True)
    viewer.close()


def test_a_clicked_camera_is_told_with_its_photo(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "4.jpg"), np.full((900, 1200, 3), (10, 20, 200), np.uint8))
    viewer = Viewer(_scene(), images=tmp_path)
    told: list[str] = []
    viewer.on_select(told.append)
    targets = viewer.layers["cameras"].targets
    _click(viewer, targets, (0, 0, 0), face=4 * 6 + 1)
    assert viewer.selected_camera == "4.jpg"
    assert told == ["4.jpg"]
    photo = np.asarray(Image.open(io.BytesIO(viewer.toolbar._photo.value)))
    assert max(photo.shape) == 360
    assert photo[100, 100, 0] > 180
    # The end of a drag is no click.
    viewer.navigation.camera.position = (1.0, 2.0, 3.0)
    _click(viewer, targets, (0, 0, 0), face=0)
    assert viewer.selected_camera == "4.jpg"
    _click(viewer, targets, (0, 0, 1), face=0)
    assert viewer.selected_camera == "0.jpg"
    viewer.close()


def test_two_clicks_measure_and_a_true_length_sets_the_scale() -> None:
    viewer = Viewer(_cloud())
    thing = viewer.layers["points"].first
    viewer.toolbar.measure.value = True
    _click(viewer, thing, (0, 0, 0))
    assert viewer.measured is None
    assert "second point" in viewer.toolbar._length.value
    _click(viewer, thing, (0.3, 0.4, 0))
    assert viewer.measured == pytest.approx(0.5)
    assert viewer.ruler._text.string == "0.5"
    # The label takes a twentieth of the picture's height, from wherever it is seen.
    for factor in (1.0, 5.0, 0.1):
        viewer.navigation.look(factor * viewer.navigation.position, viewer.navigation.target)
        assert viewer.ruler._label.scale[1] == pytest.approx(0.04 * viewer.navigation.distance, rel=0.4)
    viewer.toolbar.true_length.value = 2.0
    viewer.toolbar.set_scale.click()
    assert viewer.scale == pytest.approx(4.0)
    assert viewer.measured == pytest.approx(2.0)
    assert "2 m" in viewer.toolbar._length.value
    viewer.toolbar.true_length.value = -1.0
    viewer.toolbar.set_scale.click()
    assert "cannot set the scale" in viewer.toolbar._message.value
    assert viewer.scale == pytest.approx(4.0)
    viewer.close()


def test_what_the_clip_box_cuts_away_is_neither_drawn_nor_hit() -> None:
    viewer = Viewer(_cloud(), width=200, height=150)
    thing = viewer.layers["points"].first
    whole = viewer.screenshot()
    viewer.toolbar.clip.value = True
    viewer.toolbar.clip_ranges[0].value = (viewer.toolbar.clip_ranges[0].min, -0.5)
    assert len(viewer.canvas.renderer.clippingPlanes) == 6
    _, high = viewer.clip or (None, None)
    assert high is not None
    assert high[0] == pytest.approx(-0.5, abs=0.1)
    background = np.array([0x15, 0x18, 0x1C])
    drawn = [np.any(picture != background, axis=2).sum() for picture in (whole, viewer.screenshot())]
    assert 0 < drawn[1] < 0.7 * drawn[0]
    viewer.measuring = True
    rows = [
        {"object": f"IPY_MODEL_{thing.model_id}", "point": [x, 0.0, 0.0], "faceIndex": None, "index": 1}
        for x in (0.9, -0.9)
    ]
    viewer.canvas.picker.set_state({"picked": rows})
    np.testing.assert_allclose(viewer.ruler.points[0], (-0.9, 0, 0))
    viewer.clip = None
    assert viewer.toolbar.clip.value is False
    with pytest.raises(InputError, match="empty"):
        viewer.clip = (np.ones(3), np.zeros(3))
    viewer.close()


def test_the_camera_fits_flies_and_knows_up() -> None:
    viewer = Viewer(_cloud())
    navigation = viewer.navigation
    start = navigation.distance
    np.testing.assert_allclose(navigation.cam_from_scene()[:3, :3] @ navigation.up, (0, -1, 0), atol=0.6)
    viewer.toolbar.mode.value = "fly"
    viewer.toolbar.steps["forward"].click()
    assert navigation.distance == pytest.approx(start - 0.1 * navigation.radius, rel=1e-3)
    viewer.toolbar.mode.value = "orbit"
    viewer.fit()
    assert navigation.distance == pytest.approx(start)
    old = navigation.controls
    viewer.toolbar.up.value = "+z"
    assert tuple(navigation.camera.up) == (0, 0, 1)
    assert viewer.canvas.renderer.controls[0] is navigation.controls is not old
    assert navigation.position[2] > 0
    viewer.close()


def test_keys_turn_zoom_and_fly() -> None:
    viewer = Viewer(_cloud())
    navigation = viewer.navigation
    start, distance = navigation.position, navigation.distance

    def away() -> np.ndarray:
        return navigation.position - navigation.target

    viewer.navigation.press("ArrowRight")
    turned = away()
    assert navigation.distance == pytest.approx(distance)
    # To its right, at its height, by as many degrees as a key turns.
    right = np.cross(navigation.target - start, navigation.up)
    assert (navigation.position - start) @ right > 0
    assert turned @ navigation.up == pytest.approx((start - navigation.target) @ navigation.up)
    viewer.navigation.press("ArrowLeft")
    np.testing.assert_allclose(navigation.position, start, atol=1e-9)
    viewer.navigation.press("+")
    assert navigation.distance == pytest.approx(distance / 1.15)
    viewer.navigation.press("-")
    for _ in range(40):
        viewer.navigation.press("ArrowUp")
    assert away() @ navigation.up / navigation.distance == pytest.approx(np.sin(np.radians(89)))
    viewer.navigation.press("w")  # only in flight
    assert navigation.distance == pytest.approx(distance)
    viewer.fit()
    navigation.mode = "fly"
    ahead = navigation.target - navigation.position
    viewer.navigation.press("w")
    assert (navigation.position - start) @ ahead > 0
    eye = navigation.position
    viewer.navigation.press("ArrowRight")
    np.testing.assert_allclose(navigation.position, eye)
    assert (navigation.target - eye) @ right > 0
    viewer.close()


def test_the_page_tells_its_size_and_nothing_else_is_heard() -> None:
    viewer = Viewer(_cloud())
    field = viewer._ear._field
    field.value = '{"size": [1000, 0], "at": 1}'
    assert (viewer.canvas.renderer.width, viewer.canvas.renderer.height) == viewer.canvas.size == (1000, 580)
    assert viewer.navigation.camera.aspect == pytest.approx(1000 / 580)
    field.value = '{"size": [1300, 900], "at": 2}'
    assert viewer.screenshot().shape == (900, 1300, 3)
    for nonsense in ("{", '{"size": "large"}', '{"key": "Delete"}', '{"size": [1e9]}', "[]"):
        field.value = nonsense
    assert viewer.canvas.size == (1300, 900)
    viewer.close()


def test_points_that_are_shown_later_are_all_sent() -> None:
    surface = content_of(box())
    content = replace(content_of(_cloud(400_000)), vertices=surface.vertices, faces=surface.faces)
    viewer = _seen(Viewer(box(), content=content))
    points = viewer.layers["points"]
    viewer.detail.wait()
    assert points.bytes_sent == 0
    assert not points.thinnable
    viewer.toolbar.layer_boxes["points"].value = True
    viewer.detail.wait()
    assert viewer.visible["points"]
    assert points.bytes_sent == 400_000 * 9
    assert points.thinnable
    viewer.close()


def test_fewer_points_are_drawn_while_a_hand_moves_the_camera() -> None:
    viewer = Viewer(_cloud(400_000))
    points = viewer.layers["points"]
    viewer.fit()
    assert not points.thinned
    viewer.navigation.camera.position = (3.0, 2.0, 1.0)  # as from the browser
    assert points.thinned
    end = time.monotonic() + 5
    while points.thinned and time.monotonic() < end:
        time.sleep(0.05)
    assert not points.thinned
    viewer.close()


def test_without_widgets_a_picture_is_seen(tmp_path: Path) -> None:
    viewer = Viewer(_scene(), width=320, height=240)
    picture = quick_picture(viewer.content)
    orange = (picture[..., 0] > 150) & (picture[..., 2] < 60)
    assert orange.sum() > 50  # frusta
    assert (picture == 99).all(axis=2).sum() > 50  # points
    shot = viewer.screenshot(tmp_path / "shot.png")
    assert shot.shape == (240, 320, 3)
    assert repr(shot) == "<Picture: 320 x 240 pixels>"
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "shot.png")), shot)
    viewer.close()


def test_two_runs_are_laid_on_each_other_and_share_the_camera() -> None:
    turn = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    both = compare(_scene(), _scene(turn, 3.0))
    assert both.aligned
    assert repr(both).endswith(" sent>, aligned>")
    offered = [name for name in dir(both.left) if not name.startswith("_")]
    assert {"clip", "measured", "screenshot", "selected_camera", "show", "style"} < set(offered)
    assert not {"clipping", "ruler", "scene", "toolbar"} & set(offered)
    a, b = both.left.content, both.right.content
    np.testing.assert_allclose(a.points, b.points, atol=1e-4)
    np.testing.assert_allclose(a.frusta[:, 0, 0], b.frusta[:, 0, 0], atol=1e-4)
    both.left.navigation.camera.position = (1.0, 2.0, 9.0)
    np.testing.assert_allclose(both.right.navigation.position, (1, 2, 9))
    both.right.navigation.camera.position = (-4.0, 2.0, 9.0)
    np.testing.assert_allclose(both.left.navigation.position, (-4, 2, 9))
    both.close()
    assert not compare(_cloud(), _cloud()).aligned


def test_two_thousand_cameras_are_a_handful_of_objects() -> None:
    scene = _scene()
    many = Scene(tuple(View(f"{i}", v.camera, v.cam_from_world) for i, v in enumerate(scene.views * 334)))
    content = content_of(many)
    viewer = Viewer(many, content=content)
    assert len(viewer.content.names) == 2004
    assert len(viewer.canvas.scene.children) <= 6
    _click(viewer, viewer.layers["cameras"].targets, (0, 0, 0), face=6 * 2000 + 5)
    assert viewer.selected_camera == "2000"
    viewer.close()


def test_panning_and_turning_up_take_the_other_half_along() -> None:
    both = compare(_scene(), _scene(), titles=("a", "b"))
    navigation = both.left.navigation
    # As the browser tells it: first the camera, then what it turns about.
    navigation.camera.position = (3.0, 2.0, 9.0)
    navigation.controls.target = (3.0, 2.0, 0.0)
    np.testing.assert_allclose(both.right.navigation.target, (3, 2, 0))
    turned = both.right.navigation.cam_from_scene()[:3, :3]
    np.testing.assert_allclose(turned, np.diag([1.0, -1, -1]), atol=1e-9)
    both.left.set_up("+z")
    np.testing.assert_allclose(both.right.navigation.up, (0, 0, 1))
    assert both.right.canvas.renderer.controls[0] is both.right.navigation.controls
    both.close()


def test_models_that_are_not_aligned_keep_their_places() -> None:
    near, far = (PointCloud(_cloud().points + shift) for shift in (0.0, 5.0))
    both = compare(near, far)
    assert not both.aligned
    apart = both.right.content.points.mean(axis=0) - both.left.content.points.mean(axis=0)
    np.testing.assert_allclose(apart, 5.0, atol=0.1)
    both.close()


def test_one_can_look_straight_down() -> None:
    viewer = Viewer(_cloud())
    viewer.navigation.look((0, 7, 0), (0, 0, 0))
    pose = viewer.navigation.cam_from_scene()
    np.testing.assert_allclose(pose[2], (0, -1, 0, 7), atol=1e-9)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    viewer.close()


def test_lengths_in_an_aligned_model_are_those_of_its_own_project(tmp_path: Path) -> None:
    small, large = made_project(tmp_path / "a"), made_project(tmp_path / "b", size=4.0)
    both = compare(small, large)
    assert both.aligned
    for viewer in (both.left, both.right):
        viewer.measuring = True
        for x in (-0.5, 0.5):
            viewer.ruler.add(np.array([x, 0.0, 0.0]))
    assert both.left.measured == pytest.approx(1.0)
    assert both.right.measured == pytest.approx(4.0, rel=1e-4)
    assert both.right.set_true_length(2.0) == pytest.approx(0.5, rel=1e-4)
    assert both.right.measured == pytest.approx(2.0)
    stored = scale_of(large)
    assert stored is not None
    assert stored.factor == pytest.approx(0.5, rel=1e-4)
    assert scale_of(small) is None
    both.close()


def test_a_surface_is_shown_with_the_cameras_that_it_was_made_from(tmp_path: Path) -> None:
    project = made_project(tmp_path / "p")
    viewer = project.view()
    # What would hide the surface is off until it is wanted.
    assert viewer.visible == {"mesh": True, "points": False, "cameras": False}
    # Nor is it sent.
    assert viewer.layers["points"].first is viewer.layers["cameras"].targets is None
    _seen(viewer).detail.wait()
    sent = viewer.bytes_sent
    viewer.select(viewer.content.names[0])
    assert not viewer.layers["cameras"].targets.visible
    viewer.show(points=True, cameras=True)
    viewer.detail.wait()
    assert viewer.layers["cameras"].targets.visible
    cameras = len(viewer.content.names) * (16 * 12 + 5 * 12 + 18 * 4)
    assert viewer.bytes_sent == sent + viewer.layers["points"].first_bytes + cameras
    assert f"{viewer.bytes_sent / 1e6:.1f} MB sent" in viewer.toolbar._told.value
    assert viewer.content.reconstruction == "1" * 16
    start_anew(project)
    later = project.view()
    assert later.content.reconstruction == "1" * 16
    assert later.content.texture is not None
    assert "an earlier run's model" in later.content.notes[0]
    for x in (0.0, 1.0):
        later.ruler.add(np.array([x, 0.0, 0.0]))
    with pytest.raises(InputError, match="earlier reconstruction"):
        later.set_true_length(3.0)
    assert scale_of(project) is None
    for shown in (viewer, later):
        shown.close()

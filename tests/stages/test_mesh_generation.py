"""The surface stage, from a cloud on disk to a mesh on disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from recon3d.compute import InlineContext
from recon3d.errors import OptionError, OutOfMemory, ReconstructionError
from recon3d.io.depth import write_depth_map
from recon3d.io.ply import read_mesh, write_point_cloud
from recon3d.io.point_visibility import write_visibility
from recon3d.layout import depth_map_file
from recon3d.options import MeshGenerationOptions, resolve_options
from recon3d.stages import mesh_generation
from recon3d.stages.cloud_reading import spans_of
from recon3d.stages.mesh_generation import sequence, sharing_steps, stage
from recon3d.surface.connectivity import border_vertices
from recon3d.surface.refinement import SIZES
from recon3d.types import DepthMap, PointCloud, Scene
from tests.synthetic.box import HALF, box_mesh, cast, ring, true_color
from tests.synthetic.layouts import courtyard, orbit
from tests.synthetic.shapes import orbit_scene, sphere_cloud

Y = np.array([0.0, 1.0, 0.0])


def _dense(folder: Path, cloud: PointCloud, scene: Scene | None = None) -> dict[str, Path]:
    """The dense stage's folder; by default an orbit of which every view sees every point."""
    scene = scene or orbit_scene(12, sphere_cloud(50).points, Y)
    scene.save(folder)
    write_point_cloud(folder / "point_cloud.ply", cloud)
    count, views = len(cloud), len(scene)
    if cloud.view_starts is None or cloud.view_indices is None:
        cloud = replace(
            cloud,
            view_starts=np.arange(count + 1, dtype=np.int64) * views,
            view_indices=np.tile(np.arange(views, dtype=np.int32), count),
        )
    assert cloud.view_starts is not None
    assert cloud.view_indices is not None
    seen = cloud.view_indices
    write_visibility(folder / "visibility.npz", [np.diff(cloud.view_starts)], [seen], count, len(seen))
    return {"dense_reconstruction": folder}


def test_what_the_cameras_go_round_becomes_a_coloured_mesh(tmp_path: Path) -> None:
    layout = orbit()
    inputs = _dense(tmp_path / "dense", layout.cloud, layout.scene)
    (tmp_path / "out").mkdir()
    context = InlineContext()
    mesh_generation.run(inputs, MeshGenerationOptions(max_faces=5000), tmp_path / "out", context)
    mesh = read_mesh(tmp_path / "out" / "mesh.ply")
    assert np.linalg.norm(mesh.vertices, axis=1).max() < 4
    assert mesh.colors is not None
    assert mesh.normals is not None
    assert 2000 < len(mesh.faces) <= 5000
    outside = np.count_nonzero(~layout.subject)
    assert context.counts["faces"] == len(mesh.faces)
    assert context.counts["points"] == np.count_nonzero(layout.subject)
    assert context.counts["points_outside"] == outside
    assert context.fallbacks == [
        f"{100 * outside / len(layout.cloud):.1f} % of the point cloud ({outside} of {len(layout.cloud)} "
        "points) is outside the ring of cameras and not meshed. "
        "To mesh it too: --set mesh_generation.region=all"
    ]
    picture = np.asarray(Image.open(tmp_path / "out" / "preview.png"))
    assert np.ptp(picture[picture.shape[0] // 2].astype(int)) > 20


def test_what_is_guessed_and_what_is_torn_off_is_told(tmp_path: Path) -> None:
    """A disc of ground with a gap in it, and a strip that leads away."""
    grid = np.linspace(-1.5, 1.5, 151)
    x, z = (part.ravel() for part in np.meshgrid(grid, grid))
    disc = (np.hypot(x, z) < 1) & (np.hypot(x - 0.3, z) > 0.22)
    strip = (x > 0.9) & (np.abs(z) < 0.06)
    points = np.stack([x, np.zeros_like(x), z], axis=1)[disc | strip]
    normals = np.tile(Y.astype(np.float32), (len(points), 1))
    inputs = _dense(tmp_path / "dense", PointCloud(points, normals))
    for region in ("auto", "all"):
        out, context = tmp_path / region, InlineContext()
        out.mkdir()
        options = MeshGenerationOptions(max_faces=5000, region=region)
        mesh_generation.run(inputs, options, out, context)
        mesh = read_mesh(out / "mesh.ply")
        reach = mesh.vertices[:, 0].max()
        assert mesh.guessed is not None
        x, z = mesh.vertices[mesh.guessed][:, [0, 2]].T
        assert len(x) > 10
        assert np.hypot(x - 0.3, z).max() < 0.3
        told = ["closes gaps that no photo measured"]
        if region == "auto":
            told.insert(0, "the torn fringe of the ground around the object, is not part of the mesh")
        assert len(context.fallbacks) == len(told)
        assert all(part in line for part, line in zip(told, context.fallbacks, strict=True))
        assert (reach > 1.4) == (region == "all")


def test_all_is_meshed_when_asked_for(tmp_path: Path) -> None:
    layout = orbit()
    inputs = _dense(tmp_path / "dense", layout.cloud, layout.scene)
    (tmp_path / "out").mkdir()
    context = InlineContext()
    options = MeshGenerationOptions(max_faces=5000, region="all", min_component=0)
    mesh_generation.run(inputs, options, tmp_path / "out", context)
    mesh = read_mesh(tmp_path / "out" / "mesh.ply")
    assert np.linalg.norm(mesh.vertices, axis=1).max() > 14
    assert context.counts["points_outside"] == 0
    assert not any("not meshed" in line for line in context.fallbacks)


def test_a_box_is_all_that_is_meshed(tmp_path: Path) -> None:
    cloud = sphere_cloud(4000)
    inputs = _dense(tmp_path / "dense", cloud)
    (tmp_path / "out").mkdir()
    context = InlineContext()
    # As the page's clip box gives it, here with its corners mixed up.
    text = "[[0.2, -9, 9], [9, 9, -9]]"
    options = resolve_options("medium", {"mesh_generation": {"region": text, "max_faces": 1000}})
    mesh_generation.run(inputs, options["mesh_generation"], tmp_path / "out", context)
    vertices = read_mesh(tmp_path / "out" / "mesh.ply").vertices
    assert 0.2 <= vertices[:, 0].min() < 0.35
    assert vertices[:, 0].max() > 0.9
    assert context.counts["points"] == np.count_nonzero(cloud.points[:, 0] >= 0.2)
    assert "is outside the box and not meshed" in context.fallbacks[0]


@pytest.mark.parametrize("value", ["box", "[1, 2", "[[0, 0, 0]]", '[[0, 0, "a"], [1, 1, 1]]', 3, [[0, 0]]])
def test_another_region_is_an_error_that_names_all_choices(value: object) -> None:
    with pytest.raises(OptionError, match=r"mesh_generation\.region cannot be") as told:
        resolve_options("medium", {"mesh_generation": {"region": value}})
    choices = "'auto', 'all', or two corners of a box, such as [[-1, -1, 0], [1, 1, 2]]"
    assert told.value.message.endswith(f"{value!r}: Input should be {choices}.")


@pytest.mark.parametrize(("corner", "held"), [(50, "none"), (0.99, "only")])
def test_a_box_that_misses_the_cloud_tells_where_the_cloud_is(
    tmp_path: Path, corner: float, held: str
) -> None:
    inputs = _dense(tmp_path / "dense", sphere_cloud(4000))
    options = MeshGenerationOptions(region=((corner, -9, -9), (99, 9, 9)))
    with pytest.raises(ReconstructionError, match=f"holds {held}") as told:
        mesh_generation.run(inputs, options, tmp_path, InlineContext())
    assert f"The box of mesh_generation.region, [{corner}, -9, -9] to [99, 9, 9], " in told.value.message
    low, high = (", ".join([f"{sign}0.999."] * 3) for sign in ("-", ""))
    bounds = rf"of the cloud's 4000 points, which lie in \[{low}\] to \[{high}\]\.$"
    assert re.search(bounds, told.value.message)
    assert "recon3d view PROJECT" in told.value.hint
    assert "overlap" not in told.value.hint


def test_facades_around_the_cameras_are_meshed(tmp_path: Path) -> None:
    layout = courtyard()
    inputs = _dense(tmp_path / "dense", layout.cloud, layout.scene)
    (tmp_path / "out").mkdir()
    context = InlineContext()
    options = MeshGenerationOptions(max_faces=5000, min_component=0)
    mesh_generation.run(inputs, options, tmp_path / "out", context)
    vertices = read_mesh(tmp_path / "out" / "mesh.ply").vertices
    for axis in (0, 2):
        for side in (-1, 1):
            assert np.count_nonzero(np.abs(vertices[:, axis] - 15 * side) < 0.3) > 100
    assert context.counts["points_outside"] == 0
    assert not context.fallbacks


def test_too_few_points_are_named(tmp_path: Path) -> None:
    inputs = _dense(tmp_path / "dense", sphere_cloud(30))
    with pytest.raises(ReconstructionError, match="30 points are too few"):
        mesh_generation.run(inputs, MeshGenerationOptions(), tmp_path, InlineContext())


class _SmallMachine(InlineContext):
    """Runs out of memory in the first calls."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        # Shared with the contexts of the stage's parts.
        self.left = [OutOfMemory("A worker ran out of memory.", "Use a lower quality.")] * failures
        self.parts: list[int] = []

    def _execute(self, fn: Callable[..., Any], calls: Any, **how: Any) -> list[Any]:
        if self.left:
            raise self.left.pop()
        if fn.__name__ == "read_part":
            self.parts.append(len(calls))
        return super()._execute(fn, calls, **how)


def test_out_of_memory_gives_a_coarser_mesh_and_says_so(tmp_path: Path) -> None:
    inputs = _dense(tmp_path / "dense", sphere_cloud(8000))
    (tmp_path / "out").mkdir()
    context = _SmallMachine(1)
    mesh_generation.run(inputs, MeshGenerationOptions(max_faces=8000), tmp_path / "out", context)
    assert len(read_mesh(tmp_path / "out" / "mesh.ply").faces) <= 2000
    assert any("2000" in message for message in context.fallbacks)
    with pytest.raises(OutOfMemory):
        mesh_generation.run(
            inputs, MeshGenerationOptions(max_faces=8000), tmp_path / "out", _SmallMachine(100)
        )


def test_out_of_memory_first_makes_parts(tmp_path: Path) -> None:
    inputs = _dense(tmp_path / "dense", sphere_cloud(8000))
    (tmp_path / "out").mkdir()
    context = _SmallMachine(1)
    mesh_generation.run(inputs, MeshGenerationOptions(max_faces=100_000), tmp_path / "out", context)
    assert context.fallbacks == [
        "A mesh of 100000 triangles needs too much memory; it is made in 2 parts, which are joined."
    ]
    mesh = read_mesh(tmp_path / "out" / "mesh.ply")
    assert not len(border_vertices(mesh.faces))
    context = _SmallMachine(2)
    mesh_generation.run(inputs, MeshGenerationOptions(max_faces=100_000), tmp_path / "out", context)
    assert context.fallbacks[1:] == ["A mesh of 100000 triangles needs too much memory; 25000 instead."]
    assert len(read_mesh(tmp_path / "out" / "mesh.ply").faces) <= 25_000


def test_parts_have_the_colours_of_their_own_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which an overview has few."""
    cloud = sphere_cloud(30_000)
    colors = np.where(np.sin(40 * cloud.points[:, :1]) > 0, 250, 5) + np.zeros((1, 3), int)
    inputs = _dense(tmp_path / "dense", replace(cloud, colors=colors.astype(np.uint8)))
    monkeypatch.setattr(stage, "_OVERVIEW", 3000)
    options = MeshGenerationOptions(max_faces=8000, part_faces=2000, region="all")
    mesh_generation.run(inputs, options, tmp_path, InlineContext())
    mesh = read_mesh(tmp_path / "mesh.ply")
    assert mesh.colors is not None
    wave = np.sin(40 * mesh.vertices[:, 0])
    clear = np.abs(wave) > 0.7
    assert ((mesh.colors[clear, 0] > 127) == (wave[clear] > 0)).mean() > 0.97


def test_large_clouds_are_read_in_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each part of the surface reads those spans only that reach into it."""
    cloud = sphere_cloud(30_000)
    order = np.argsort(cloud.points[:, 0])
    cloud = PointCloud(cloud.points[order], None if cloud.normals is None else cloud.normals[order])
    inputs = _dense(tmp_path / "dense", cloud)
    for name in ("_READ", "_POINTS", "_OVERVIEW", "_PART_POINTS"):
        monkeypatch.setattr(stage, name, 8000)
    monkeypatch.setattr(sequence, "spans_of", lambda total: spans_of(total, 4000))
    read: list[Any] = []
    by_hand = sharing_steps.read_at_most
    monkeypatch.setattr(
        sharing_steps, "read_at_most", lambda *a, **k: read.append(k["spans"]) or by_hand(*a, **k)
    )
    for part_faces in (100_000, 1000):
        out, context = tmp_path / str(part_faces), InlineContext()
        out.mkdir()
        options = MeshGenerationOptions(max_faces=2000, part_faces=part_faces, region="all")
        mesh_generation.run(inputs, options, out, context)
        mesh = read_mesh(out / "mesh.ply")
        assert np.linalg.norm(mesh.vertices, axis=1) == pytest.approx(1, abs=0.05)
        assert context.counts["points"] == 30_000
    assert len(read) == 2
    assert all(spans and set(spans) <= set(spans_of(30_000, 4000)) for spans in read)


def test_out_of_memory_keeps_parts_small(tmp_path: Path) -> None:
    inputs = _dense(tmp_path / "dense", sphere_cloud(8000))
    (tmp_path / "out").mkdir()
    context, options = _SmallMachine(1), MeshGenerationOptions(max_faces=16_000, part_faces=2000)
    mesh_generation.run(inputs, options, tmp_path / "out", context)
    assert context.fallbacks == ["A mesh of 16000 triangles needs too much memory; 4000 instead."]
    assert context.parts == [2]


def test_a_closed_surface_in_many_parts_is_closed(tmp_path: Path) -> None:
    inputs = _dense(tmp_path / "dense", sphere_cloud(30_000, noise=0.003))
    (tmp_path / "out").mkdir()
    options = MeshGenerationOptions(max_faces=10_000, part_faces=1000)
    context, shown = InlineContext(), list[float]()
    context.emit = lambda done, total, *_: shown.append(done / total) if total > 0 else None
    mesh_generation.run(inputs, options, tmp_path / "out", context)
    assert not len(border_vertices(read_mesh(tmp_path / "out" / "mesh.ply").faces))
    assert shown == sorted(shown)


@pytest.mark.parametrize("count", [0, 1, 30])
def test_too_few_points_for_parts_is_an_error(tmp_path: Path, count: int) -> None:
    inputs, options = _dense(tmp_path, sphere_cloud(count)), MeshGenerationOptions(part_faces=50_000)
    with pytest.raises(ReconstructionError, match=f"{count} points are too few"):
        mesh_generation.run(inputs, options, tmp_path, InlineContext())


def test_a_part_of_next_to_no_points_has_no_surface(tmp_path: Path) -> None:
    """Far from a sphere lie as many points, so close to each other that few are left when they are read."""
    clouds = sphere_cloud(8000), sphere_cloud(8000, 1e-4)
    points = np.concatenate([clouds[0].points, clouds[1].points + np.array([50, 0, 0])])
    normals = np.concatenate([cloud.normals for cloud in clouds])
    inputs = _dense(tmp_path / "dense", PointCloud(points, normals))
    made = []
    for part_faces in (2000, 1000):
        out = tmp_path / str(part_faces)
        out.mkdir()
        options = MeshGenerationOptions(max_faces=2000, part_faces=part_faces, region="all")
        mesh_generation.run(inputs, options, out, InlineContext())
        made.append(read_mesh(out / "mesh.ply"))
    assert not any(len(border_vertices(mesh.faces)) for mesh in made)
    assert np.ptp(made[1].vertices, axis=0) == pytest.approx(np.ptp(made[0].vertices, axis=0), rel=0.05)


@pytest.mark.parametrize("region", ["auto", "all", "box"])
def test_parts_are_as_good_as_the_whole(tmp_path: Path, region: str) -> None:
    layout = orbit()
    # The hills far away have their points further apart than parts are large.
    cloud = layout.cloud.subset(layout.subject) if region == "all" else layout.cloud
    inputs = _dense(tmp_path / "dense", cloud, layout.scene)
    inside = layout.cloud.points[layout.subject]
    box = (tuple(inside.min(axis=0) - 0.1), tuple(inside.max(axis=0) + 0.1))
    made, counts = {}, {}
    for part_faces in (5000, 1500):
        out, context = tmp_path / str(part_faces), InlineContext()
        out.mkdir()
        options = MeshGenerationOptions(
            max_faces=5000, part_faces=part_faces, region=box if region == "box" else region
        )
        mesh_generation.run(inputs, options, out, context)
        made[part_faces], counts[part_faces] = read_mesh(out / "mesh.ply"), context.counts
        assert not (out / "steps").exists()
    whole, parts = made[5000], made[1500]
    assert counts[1500]["points"] == counts[5000]["points"]
    assert counts[1500]["points_outside"] == counts[5000]["points_outside"]
    assert len(parts.faces) <= 5000
    assert parts.colors is not None
    assert parts.normals is not None
    extent = float(np.ptp(whole.vertices, axis=0).max())
    for one, other in ((whole, parts), (parts, whole)):
        away = cKDTree(one.vertices).query(other.vertices)[0]
        assert np.quantile(away, 0.99) < 0.03 * extent
    assert len(border_vertices(parts.faces)) <= len(border_vertices(whole.faces)) + 30


class _Interrupted(InlineContext):
    """Is interrupted after one task."""

    def __init__(self) -> None:
        super().__init__()
        # Shared with the contexts of the stage's parts.
        self.called: list[str] = []

    def _execute(self, fn: Callable[..., Any], calls: Any, **how: Any) -> list[Any]:
        if self.called:
            raise KeyboardInterrupt
        self.called.append(fn.__name__)
        made = super()._execute(fn, calls[:1], **how)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return made


def _striped(points: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(points, -1, 0)
    stripes = 40 * np.sin(30 * x + 4 * y) * np.sin(27 * y + 9 * z) * np.sin(31 * z - 7 * x)
    return np.rint(np.clip(true_color(points) + stripes[..., None], 0, 255)).astype(np.uint8)


@pytest.fixture(scope="module")
def photographed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A box with its depth maps, cloud and photos."""
    root = tmp_path_factory.mktemp("photographed")
    box, views = box_mesh(4), ring(8)
    corners = box.vertices[box.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    images, parts = root / "frames" / "images", []
    images.mkdir(parents=True)
    for index, view in enumerate(views):
        depth, points, face = cast(box, view)
        known = np.isfinite(depth)
        picture = np.where(known[..., None], _striped(points), np.uint8(90))
        Image.fromarray(picture).save(images / view.name)
        ahead = np.where(known[..., None], normals[face] @ view.cam_from_world[:3, :3].T, 0)
        packed = DepthMap(
            view.name,
            view.camera,
            np.where(known, depth, 0).astype(np.float32),
            ahead.astype(np.float32),
            known.astype(np.float32),
        )
        write_depth_map(depth_map_file(root / "dense", view.name), packed)
        rows = np.flatnonzero(known)[index::9]
        parts.append((points.reshape(-1, 3)[rows], normals[face].reshape(-1, 3)[rows]))
    places, directions = (np.concatenate(part) for part in zip(*parts, strict=True))
    scene = Scene(tuple(views))
    inputs = _dense(root / "dense", PointCloud(places, directions.astype(np.float32)), scene)
    scene.save(root / "sparse")
    return {**inputs, "frame_extraction": root / "frames", "sparse_reconstruction": root / "sparse"}


_OPTIONS = MeshGenerationOptions(max_faces=1500, region="all")


@pytest.fixture(scope="module")
def whole(
    photographed: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, InlineContext]:
    """Its mesh, made without a pause by one worker."""
    out, context = tmp_path_factory.mktemp("whole"), InlineContext()
    mesh_generation.run(photographed, _OPTIONS, out, context)
    return out, context


def test_an_interrupted_run_goes_on_after_the_last_whole_task(
    photographed: dict[str, Path], whole: tuple[Path, InlineContext], tmp_path: Path
) -> None:
    out, (folder, undisturbed) = tmp_path / "out", whole
    out.mkdir()
    called: list[str] = []
    while True:
        context = _Interrupted()
        try:
            mesh_generation.run(photographed, _OPTIONS, out, context)
            break
        except KeyboardInterrupt:
            called += context.called
        if called.count("smooth") == 1 and called[-1] == "smooth":
            (half,) = out.rglob("smooth.npz")
            half.write_bytes(half.read_bytes()[:-100])
        # Of the rounds' files, those of the last one stay at most.
        assert len(list(out.rglob("terms-*"))) <= 1
    rounds = ["compare", "compare", "move"] * len(SIZES)
    assert called == [
        *("read_points", "see_through", "thin_points", "start_surface", "make_surface"),
        *("cut_surface", "shape_guesses", "smooth", "smooth"),
        *(["choose_photos"] + ["scale_photo"] * 8 + ["pair_photos"] + rounds + ["thin_surface"]),
    ]
    assert context.called == ["finish"]
    assert sorted(path.name for path in out.iterdir()) == ["mesh.ply", "preview.png"]
    for path in folder.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert context.counts == undisturbed.counts
    assert context.fallbacks == undisturbed.fallbacks


class _Many(InlineContext):
    """Has many workers."""

    @property
    def workers(self) -> int:
        return 3


def test_photos_move_the_surface_by_the_same_whatever_the_number_of_workers(
    photographed: dict[str, Path], whole: tuple[Path, InlineContext], tmp_path: Path
) -> None:
    without = {"dense_reconstruction": photographed["dense_reconstruction"]}
    made = {"one": (whole[0] / "mesh.ply").read_bytes()}
    for name, inputs, context in (("three", photographed, _Many()), ("without", without, InlineContext())):
        out = tmp_path / name
        out.mkdir()
        mesh_generation.run(inputs, _OPTIONS, out, context)
        made[name] = (out / "mesh.ply").read_bytes()
    assert made["one"] == made["three"]
    assert made["one"] != made["without"]


def test_parts_are_fitted_to_photos_and_go_on_after_an_interruption(
    photographed: dict[str, Path], whole: tuple[Path, InlineContext], tmp_path: Path
) -> None:
    options = _OPTIONS.model_copy(update={"part_faces": 500})
    made, called = {}, list[str]()
    for name in ("one", "three", "interrupted"):
        out = tmp_path / name
        out.mkdir()
        while True:
            context: InlineContext = {"one": InlineContext, "three": _Many, "interrupted": _Interrupted}[
                name
            ]()
            try:
                mesh_generation.run(photographed, options, out, context)
                break
            except KeyboardInterrupt:
                called += getattr(context, "called", [])
        assert sorted(path.name for path in out.iterdir()) == ["mesh.ply", "preview.png"]
        made[name] = (out / "mesh.ply").read_bytes()
        assert context.fallbacks == whole[1].fallbacks
    assert made["one"] == made["three"] == made["interrupted"]
    assert [called.count(name) for name in ("read_part", "smooth", "join_parts")] == [3, 3, 1]
    # A box: its sides are as flat as those of the whole, and closed.
    parts, one = read_mesh(tmp_path / "one" / "mesh.ply"), read_mesh(whole[0] / "mesh.ply")
    assert len(border_vertices(parts.faces)) <= len(border_vertices(one.faces))
    away = [np.abs(np.abs(mesh.vertices / HALF).max(axis=1) - 1) for mesh in (parts, one)]
    assert np.quantile(away[0], 0.9) < 1.2 * np.quantile(away[1], 0.9) + 0.005

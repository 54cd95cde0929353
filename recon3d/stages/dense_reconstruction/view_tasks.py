"""What the workers do for dense_reconstruction: one task a view and pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from recon3d.compute import reads
from recon3d.io.atomic import atomic_path
from recon3d.io.depth import read_packed_map, write_packed_map
from recon3d.io.masks import load_view_mask, without_hidden
from recon3d.io.ply import write_point_clouds
from recon3d.io.point_visibility import write_visibility
from recon3d.io.undistort import load_view_image
from recon3d.layout import POINT_CLOUD, VISIBILITY, depth_map_file, mask_file
from recon3d.mvs.agreement import Tolerances
from recon3d.mvs.compilation import compile_kernels
from recon3d.mvs.filtering import filtered
from recon3d.mvs.fusion import fuse_view
from recon3d.mvs.maps import PackedMap
from recon3d.mvs.stereo import tone_mapped
from recon3d.stages.dense_reconstruction.still_parts import still_mask
from recon3d.stages.preview import write_preview
from recon3d.surface.region import every_nth, find_region
from recon3d.types import Bytes, DepthMap, Floats, Ints, PointCloud, Scene, View, scene_files

#: Pixels of the smallest island of a depth map, per megapixel.
_MIN_REGION = 30
#: A picture of a cloud shows one in so many points that about this many are left.
_PICTURE_POINTS = 600_000
#: Bytes that the picture's task needs for them and for one view's points.
PICTURE_MEMORY = 500 * 2**20


@dataclass(frozen=True)
class Folders:
    """Where the tasks find and put their files."""

    images: str
    work: str
    #: Masks that hide what stands still, if any.
    still: str = ""

    def gray(self, name: str) -> Path:
        """Locate the undistorted gray image that stereo reads.

        Parameters
        ----------
        name : str
            Name of the view.

        Returns
        -------
        Path
        """
        return Path(self.work) / "gray" / f"{name}.npy"

    def image(self, name: str) -> Path:
        """Locate the undistorted image; it is written after the gray one.

        Parameters
        ----------
        name : str
            Name of the view.

        Returns
        -------
        Path
        """
        return Path(self.work) / "undistorted" / f"{name}.npy"

    def mask(self, name: str) -> Path:
        """Locate what the undistorted image shows; written before it, for masked frames only.

        Parameters
        ----------
        name : str
            Name of the view.

        Returns
        -------
        Path
        """
        return Path(self.work) / "visible" / f"{name}.npy"

    def states(self, round_: int, name: str) -> Path:
        """Locate the planes after a round of matching, which this view's next round starts from.

        Parameters
        ----------
        round_ : int
            The round.
        name : str
            Name of the view.

        Returns
        -------
        Path
        """
        return Path(self.work) / f"states_{round_}" / f"{name}.npz"

    def planes(self, round_: int, name: str) -> Path:
        """Locate the inverse depths after a round, which other views read; written after the planes.

        Parameters
        ----------
        round_ : int
            The round.
        name : str
            Name of the view.

        Returns
        -------
        Path
        """
        return Path(self.work) / f"planes_{round_}" / f"{name}.npz"

    def raw_map(self, name: str) -> Path:
        """Locate the depth map before filtering.

        Parameters
        ----------
        name : str
            Name of the view.

        Returns
        -------
        Path
        """
        return Path(self.work) / "raw_maps" / f"{name}.npz"

    def depth_map(self, name: str) -> Path:
        """Locate the filtered depth map.

        Parameters
        ----------
        name : str
            Name of the view.

        Returns
        -------
        Path
        """
        return depth_map_file(Path(self.work), name)

    def seen(self, name: str) -> Path:
        """Locate the sparse points that a view sees, which all rounds read.

        Parameters
        ----------
        name : str
            Name of the view.

        Returns
        -------
        Path
        """
        return Path(self.work) / "seen" / f"{name}.npy"

    def points(self, name: str) -> Path:
        """Locate the points that a view contributes.

        Parameters
        ----------
        name : str
            Name of the view.

        Returns
        -------
        Path
        """
        return Path(self.work) / "points" / f"{name}.npz"


@dataclass(frozen=True, eq=False)
class LoadTask:
    """Undistort a view's frame."""

    folders: Folders
    view: View
    max_size: int


@dataclass(frozen=True)
class CompileTask:
    """Compile the kernels, which only one process may do; see `compile_kernels`."""


def _frame_files(task: LoadTask | CompileTask) -> list[Path]:
    if isinstance(task, CompileTask):
        return []
    images, name = Path(task.folders.images), task.view.name
    return [images / name, mask_file(images, name), still_mask(task.folders.still, name)]


@reads(_frame_files)
def prepare(task: LoadTask | CompileTask) -> float:
    """Write the undistorted image, or compile the kernels.

    Parameters
    ----------
    task : LoadTask or CompileTask

    Returns
    -------
    float
        Seconds of compilation.
    """
    if isinstance(task, CompileTask):
        return compile_kernels()
    images, name = Path(task.folders.images), task.view.name
    rgb, _ = load_view_image(images, task.view, task.max_size)
    products: dict[Path, NDArray[Any]] = {
        task.folders.gray(name): tone_mapped(rgb),
        task.folders.image(name): rgb,
    }
    visible = load_view_mask(mask_file(images, name), task.view, task.max_size)
    moving = load_view_mask(still_mask(task.folders.still, name), task.view, task.max_size)
    if visible is None or moving is None:
        visible = moving if visible is None else visible
    else:
        visible = visible & moving
    if visible is not None:
        products = {task.folders.mask(name): visible, **products}
    for path, array in products.items():
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, array)
    return 0.0


def write_raw_map(folders: Folders, depth_map: DepthMap) -> None:
    """Write a view's depth map before filtering; what its mask hides has no depth.

    Parameters
    ----------
    folders : Folders
    depth_map : DepthMap
    """
    mask = folders.mask(depth_map.name)
    visible = np.load(mask) if mask.exists() else None
    write_packed_map(folders.raw_map(depth_map.name), PackedMap.of(without_hidden(depth_map, visible)))


@dataclass(frozen=True, eq=False)
class FilterTask:
    """Filter one view's planes by its neighbours'."""

    folders: Folders
    view: View
    neighbors: tuple[View, ...]
    min_views: int
    tolerances: Tolerances
    close_pixels: float


def _filter_files(task: FilterTask) -> list[Path]:
    maps = [task.folders.raw_map(view.name) for view in (task.view, *task.neighbors)]
    return [task.folders.image(task.view.name), *maps]


@reads(_filter_files)
def filter_view(task: FilterTask) -> None:
    """Write the view's depth map.

    Parameters
    ----------
    task : FilterTask
    """
    own = read_packed_map(task.folders.raw_map(task.view.name))
    neighbors = [(read_packed_map(task.folders.raw_map(v.name)), v.cam_from_world) for v in task.neighbors]
    result = filtered(
        own,
        task.view.cam_from_world,
        neighbors,
        min_views=task.min_views,
        tolerances=task.tolerances,
        close_pixels=task.close_pixels,
        min_region=max(10, round(_MIN_REGION * own.depth.size / 1e6)),
        rgb=np.load(task.folders.image(task.view.name)),
    )
    write_packed_map(task.folders.depth_map(task.view.name), result)


@dataclass(frozen=True, eq=False)
class FuseTask:
    """Points of one view."""

    folders: Folders
    index: int
    view: View
    neighbors: tuple[View, ...]
    neighbor_indices: tuple[int, ...]
    min_views: int
    tolerances: Tolerances


def _fuse_files(task: FuseTask) -> list[Path]:
    maps = [task.folders.depth_map(view.name) for view in (task.view, *task.neighbors)]
    return [task.folders.image(task.view.name), *maps]


@reads(_fuse_files)
def fuse(task: FuseTask) -> tuple[int, float]:
    """Write the points that the view contributes.

    Parameters
    ----------
    task : FuseTask

    Returns
    -------
    (int, float)
        Number of points, and the share of pixels with a depth.
    """
    folders = task.folders
    own_map = read_packed_map(folders.depth_map(task.view.name))
    maps = [(read_packed_map(folders.depth_map(v.name)), v.cam_from_world) for v in task.neighbors]
    fused = fuse_view(
        own_map,
        task.view.cam_from_world,
        np.load(folders.image(task.view.name)),
        task.index,
        maps,
        task.neighbor_indices,
        min_views=task.min_views,
        tolerances=task.tolerances,
    )
    own = np.full((len(fused.points), 1), True)
    bits = (fused.seen[:, None] >> np.arange(len(maps), dtype=np.uint32)) & 1 > 0
    everyone = np.array([task.index, *task.neighbor_indices], np.int32)
    order = np.argsort(everyone, kind="stable")
    visible = np.hstack([own, bits])[:, order]
    with atomic_path(folders.points(task.view.name)) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            points=fused.points,
            normals=fused.normals,
            colors=fused.colors,
            view_counts=visible.sum(axis=1, dtype=np.int64),
            view_indices=np.broadcast_to(everyone[order], visible.shape)[visible],
        )
    return len(fused.points), float((own_map.depth > 0).mean())


Product = Literal["cloud", "visibility", "picture"]


@dataclass(frozen=True, eq=False)
class MergeTask:
    """One of the products of all views' points; the scene is in the same folder."""

    folders: Folders
    names: Sequence[str]
    counts: Sequence[int]
    out_dir: str
    product: Product


@reads(lambda task: [*map(task.folders.points, task.names), *scene_files(Path(task.out_dir))])
def merge(task: MergeTask) -> None:
    """Write ``point_cloud.ply``, ``visibility.npz`` or ``preview.png``, one view after another.

    Parameters
    ----------
    task : MergeTask
    """
    out_dir, total = Path(task.out_dir), sum(task.counts)
    if task.product == "picture":
        _write_picture(task, out_dir, total)
    elif task.product == "visibility":
        write_visibility(
            out_dir / VISIBILITY,
            (part["view_counts"] for part in _parts(task)),
            (part["view_indices"] for part in _parts(task)),
            total,
            sum(int(part["view_counts"].sum()) for part in _parts(task)),
        )
    else:
        parts = ((p["points"], p["normals"], p["colors"]) for p in _parts(task))
        write_point_clouds(out_dir / POINT_CLOUD, (PointCloud(*part) for part in parts), total)


def _write_picture(task: MergeTask, out_dir: Path, total: int) -> None:
    step = max(1, total // _PICTURE_POINTS)
    parts = [_thinned(part, step) for part in _parts(task)]
    points, colors, counts, views = (np.concatenate(column) for column in zip(*parts, strict=True))
    scene = Scene.load(out_dir)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    cloud = PointCloud(points, None, colors, starts, views)
    # The picture shows what the cameras were about, not the hills behind it.
    inside = find_region(scene, cloud).inside
    write_preview(out_dir, scene, cloud.subset(inside) if inside.any() else cloud, cloud)


def _thinned(part: NpzFile, step: int) -> tuple[Floats, Bytes, NDArray[np.int64], Ints]:
    """Points, colours, and the views that see them."""
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(part["view_counts"])])
    thin = every_nth(PointCloud(part["points"], None, None, starts, part["view_indices"]), step)
    assert thin.view_starts is not None
    assert thin.view_indices is not None
    # A copy: a slice would keep all of the view's colours in memory.
    return thin.points, part["colors"][::step].copy(), np.diff(thin.view_starts), thin.view_indices


def _parts(task: MergeTask) -> Iterator[NpzFile]:
    """The views' points, as `fuse` left them; what is asked for is read."""
    for name in task.names:
        with np.load(task.folders.points(name)) as data:
            yield data

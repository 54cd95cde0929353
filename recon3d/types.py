"""The geometry that stages hand to each other, in NumPy only.

Conventions (docs/explanation/conventions.md): OpenCV/COLMAP camera axes (x right, y down, z forward), pixel
centres at +0.5, ``cam_from_world`` maps homogeneous world points to the camera frame, arrays are
C-order, float32 for pixels and float64 for geometry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.rendering.formatting import Described, count, extent, points_picture
from recon3d.rendering.texels import nearest_texels

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

#: Where COLMAP's camera models keep (fx, fy, cx, cy) and OpenCV's (k1, k2, p1, p2, k3, k4, k5, k6).
_MODELS: dict[str, tuple[tuple[int, int, int, int], tuple[int | None, ...]]] = {
    "SIMPLE_PINHOLE": ((0, 0, 1, 2), ()),
    "PINHOLE": ((0, 1, 2, 3), ()),
    "SIMPLE_RADIAL": ((0, 0, 1, 2), (3,)),
    "RADIAL": ((0, 0, 1, 2), (3, 4)),
    "OPENCV": ((0, 1, 2, 3), (4, 5, 6, 7)),
    "FULL_OPENCV": ((0, 1, 2, 3), (4, 5, 6, 7, 8, 9, 10, 11)),
}


@dataclass(frozen=True, repr=False)
class Camera(Described):
    """Intrinsics of a camera.

    Parameters
    ----------
    model : str
        COLMAP's name of the model: SIMPLE_PINHOLE, PINHOLE, SIMPLE_RADIAL, RADIAL, OPENCV or
        FULL_OPENCV.
    width, height : int
        Size of the image in pixels.
    params : tuple of float
        The model's parameters in COLMAP's order.

    Raises
    ------
    InputError
        The model is not one of those above.
    """

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.model not in _MODELS:
            raise InputError(
                f"Camera model {self.model} is not supported.",
                f"Undistort the images first, or use one of {', '.join(_MODELS)}.",
            )

    @classmethod
    def pinhole(cls, width: int, height: int, K: Floats) -> Camera:
        """Make a camera without distortion from a calibration matrix.

        Parameters
        ----------
        width, height : int
            Size of the image in pixels.
        K : ndarray of float64, shape (3, 3)
            Calibration matrix in pixels.

        Returns
        -------
        Camera
            A camera of the model PINHOLE.
        """
        return cls("PINHOLE", width, height, (float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])))

    @property
    def K(self) -> Floats:
        """Calibration matrix, shape (3, 3)."""
        fx, fy, cx, cy = (self.params[i] for i in _MODELS[self.model][0])
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    @property
    def distortion(self) -> Floats:
        """OpenCV's distortion coefficients (k1, k2, p1, p2[, k3, k4, k5, k6]), shape (4,) or (8,)."""
        indices = _MODELS[self.model][1]
        values = [self.params[i] for i in indices if i is not None]
        return np.array(values + [0.0] * ((4 if len(values) <= 4 else 8) - len(values)))

    @property
    def is_pinhole(self) -> bool:
        """Whether the camera has no distortion."""
        return not np.any(self.distortion)

    def scaled(self, width: int, height: int) -> Camera:
        """Scale the camera with its image.

        Parameters
        ----------
        width, height : int
            New size of the image in pixels.

        Returns
        -------
        Camera
            The same camera for the resized image.
        """
        sx, sy = width / self.width, height / self.height
        (fx, fy, cx, cy), _ = _MODELS[self.model]
        if fx == fy and sx != sy:
            # Rounded sizes scale width and height a little differently; one focal length cannot say that.
            own = (self.params[fx], self.params[fy], self.params[cx], self.params[cy])
            two = replace(self, model="OPENCV", params=(*own, *self.distortion))
            return two.scaled(width, height)
        params = list(self.params)
        for index, scale in {fx: sx, fy: sy, cx: sx, cy: sy}.items():
            params[index] *= scale
        return replace(self, width=width, height=height, params=tuple(params))

    def fitted(self, max_size: int) -> Camera:
        """Scale the camera down so that its image fits a size.

        Parameters
        ----------
        max_size : int
            Longest side of the image in pixels; 0 keeps every pixel.

        Returns
        -------
        Camera
            The same camera, or itself when its image is small enough.
        """
        scale = max_size / max(self.width, self.height)
        if scale >= 1 or max_size == 0:
            return self
        return self.scaled(max(1, round(self.width * scale)), max(1, round(self.height * scale)))

    def undistorted(self) -> Camera:
        """Remove the distortion.

        Returns
        -------
        Camera
            The pinhole camera with the same calibration matrix and size.
        """
        return Camera.pinhole(self.width, self.height, self.K)

    def distort(self, xy: Floats) -> Floats:
        """Apply the lens distortion.

        Parameters
        ----------
        xy : ndarray of float64, shape (..., 2)
            Normalized coordinates: x / z and y / z in the camera frame.

        Returns
        -------
        ndarray of float64, shape (..., 2)
            Distorted normalized coordinates.
        """
        k1, k2, p1, p2, k3, k4, k5, k6 = np.pad(self.distortion, (0, 8 - len(self.distortion)))
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return np.stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            ],
            axis=-1,
        )

    def project(self, points_cam: Floats) -> Floats:
        """Project points to pixels.

        Parameters
        ----------
        points_cam : ndarray of float64, shape (..., 3)
            Points in the camera frame.

        Returns
        -------
        ndarray of float64, shape (..., 2)
            Pixel coordinates; pixel centres are at +0.5.
        """
        points = np.asarray(points_cam, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = self.distort(points[..., :2] / points[..., 2:3])
        K = self.K
        pixels: Floats = xy * np.array([K[0, 0], K[1, 1]]) + K[:2, 2]
        return pixels

    def _facts(self) -> list[str]:
        parameters = ", ".join(f"{value:.4g}" for value in self.params)
        return [self.model, f"{self.width} x {self.height} pixels", f"parameters ({parameters})"]


@dataclass(frozen=True)
class SharedCamera:
    """Images that are to share a camera.

    Parameters
    ----------
    images : tuple of str
        Their names.
    params : tuple of float, optional
        Known well, in COLMAP's order. By default the mapper starts from the camera that the database
        has, and does not trust it.
    """

    images: tuple[str, ...]
    params: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class View(Described):
    """A frame with its camera and pose.

    Parameters
    ----------
    name : str
        File name of the frame inside its images folder.
    camera : Camera
    cam_from_world : ndarray of float64, shape (4, 4)
        Maps homogeneous points of the world to the camera frame (x right, y down, z forward), both in
        the scene's unit.
    """

    name: str
    camera: Camera
    cam_from_world: Floats

    @property
    def center(self) -> Floats:
        """Camera centre in the world, shape (3,)."""
        R, t = self.cam_from_world[:3, :3], self.cam_from_world[:3, 3]
        center: Floats = -R.T @ t
        return center

    @property
    def projection(self) -> Floats:
        """Pinhole projection matrix K [R | t], shape (3, 4); it ignores distortion."""
        return self.camera.K @ self.cam_from_world[:3]

    def _facts(self) -> list[str]:
        center = ", ".join(f"{value:.3g}" for value in self.center)
        return [self.name, f"{self.camera.width} x {self.camera.height} pixels", f"at ({center})"]

    def _details(self) -> list[str]:
        return [", ".join(self.camera._facts())]


@dataclass(frozen=True, eq=False, repr=False)
class SparsePoints(Described):
    """Triangulated points and the views that see them.

    Parameters
    ----------
    xyz : ndarray of float64, shape (N, 3)
        Positions in the world, in the scene's unit.
    rgb : ndarray of uint8, shape (N, 3)
        sRGB, 0 to 255.
    error : ndarray of float64, shape (N,)
        Mean reprojection error in pixels.
    track_starts : ndarray of int64, shape (N + 1,)
        The views of point i are ``track_views[track_starts[i]:track_starts[i + 1]]``.
    track_views : ndarray of int32, shape (M,)
        Indices into the scene's views.
    """

    xyz: Floats
    rgb: Bytes
    error: Floats
    track_starts: NDArray[np.int64]
    track_views: Ints

    def __len__(self) -> int:
        return len(self.xyz)

    def _facts(self) -> list[str]:
        return [count(len(self), "point"), count(len(self.track_views), "observation")]

    def _details(self) -> list[str]:
        return [f"mean reprojection error {self.error.mean():.2f} px"] if len(self) else []

    def _picture(self) -> Bytes | None:
        return points_picture(self.xyz, self.rgb)

    @classmethod
    def empty(cls) -> SparsePoints:
        """Make an empty set of points.

        Returns
        -------
        SparsePoints
        """
        return cls(
            np.zeros((0, 3)),
            np.zeros((0, 3), np.uint8),
            np.zeros(0),
            np.zeros(1, np.int64),
            np.zeros(0, np.int32),
        )


def scene_files(folder: Path) -> tuple[Path, Path]:
    """Locate what `Scene.save` writes.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    (Path, Path)
        The cameras, and the points.
    """
    return folder / "scene.json", folder / "points.npz"


@dataclass(frozen=True, eq=False, repr=False)
class Scene(Described):
    """Views and sparse points in one world frame.

    Parameters
    ----------
    views : tuple of View
    points : SparsePoints
    unit : {"m", ""}
        Unit of all positions: "m", or "" for the reconstruction's own unit.
    up : ndarray of float64, shape (3,), optional
        Direction of up in the world; None when it is not known.
    scale : float, optional
        Metres per unit where `Project.set_scale` was used; the positions stay in units.
        `recon3d.similarity.scaled` turns them into metres. Not saved: it belongs to the project.
    """

    views: tuple[View, ...]
    points: SparsePoints = field(default_factory=SparsePoints.empty)
    unit: str = ""
    up: Floats | None = None
    scale: float | None = None

    def __len__(self) -> int:
        return len(self.views)

    def __iter__(self) -> Iterator[View]:
        return iter(self.views)

    def _facts(self) -> list[str]:
        known = self.unit or ("no scale" if self.scale is None else f"1 unit = {self.scale:.4g} m")
        return [count(len(self), "view"), count(len(self.points), "point"), known]

    def _details(self) -> list[str]:
        cameras = {view.camera for view in self}
        return [f"camera: {', '.join(camera._facts())}" for camera in list(cameras)[:3]]

    def _picture(self) -> Bytes | None:
        return points_picture(self.points.xyz, self.points.rgb, self.views, self.up)

    def save(self, folder: Path) -> None:
        """Write ``scene.json`` and ``points.npz``.

        Parameters
        ----------
        folder : Path
            Created when it does not exist.
        """
        folder.mkdir(parents=True, exist_ok=True)
        cameras: list[Camera] = []
        rows = []
        for view in self.views:
            if view.camera not in cameras:
                cameras.append(view.camera)
            rows.append(
                {
                    "name": view.name,
                    "camera": cameras.index(view.camera),
                    "cam_from_world": view.cam_from_world.tolist(),
                }
            )
        document = {
            "cameras": [
                {"model": c.model, "width": c.width, "height": c.height, "params": c.params} for c in cameras
            ],
            "views": rows,
            "unit": self.unit,
            "up": None if self.up is None else self.up.tolist(),
        }
        document_file, points_file = scene_files(folder)
        document_file.write_text(json.dumps(document, indent=1), encoding="utf-8")
        p = self.points
        np.savez(
            points_file,
            xyz=p.xyz,
            rgb=p.rgb,
            error=p.error,
            track_starts=p.track_starts,
            track_views=p.track_views,
        )

    @classmethod
    def load(cls, folder: Path) -> Scene:
        """Read the files that `save` wrote.

        Parameters
        ----------
        folder : Path
            Folder of ``scene.json`` and ``points.npz``.

        Returns
        -------
        Scene

        Raises
        ------
        InputError
            A file is missing or damaged.
        """
        folder = Path(folder)
        try:
            return cls._load(folder)
        except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, BadZipFile) as error:
            raise InputError(
                f"The scene in {folder} (scene.json, points.npz) is missing or damaged: {error}.",
                "Restore the folder from a backup, or remove it and run again to make it anew.",
            ) from error

    @classmethod
    def _load(cls, folder: Path) -> Scene:
        document_file, points_file = scene_files(folder)
        document = json.loads(document_file.read_text(encoding="utf-8"))
        cameras = [
            Camera(c["model"], c["width"], c["height"], tuple(c["params"])) for c in document["cameras"]
        ]
        views = tuple(
            View(row["name"], cameras[row["camera"]], np.array(row["cam_from_world"]))
            for row in document["views"]
        )
        with np.load(points_file) as data:
            points = SparsePoints(**{key: data[key] for key in data.files})
        up = None if document["up"] is None else np.array(document["up"])
        return cls(views, points, document["unit"], up)


@dataclass(frozen=True, eq=False, repr=False)
class DepthMap(Described):
    """Depth, normals and confidence of one view.

    Parameters
    ----------
    name : str
        Name of the view.
    camera : Camera
        Pinhole camera of the map's own resolution.
    depth : ndarray of float32, shape (H, W)
        Depth along the optical axis, in the scene's unit; 0 where unknown. Row 0 is the top.
    normal : ndarray of float32, shape (H, W, 3)
        Unit normals in the camera frame (x right, y down, z forward), facing the camera; 0 where
        unknown.
    confidence : ndarray of float32, shape (H, W)
        0 (none) to 1.
    """

    name: str
    camera: Camera
    depth: Floats32
    normal: Floats32
    confidence: Floats32

    def _facts(self) -> list[str]:
        height, width = self.depth.shape
        return [self.name, f"{width} x {height} pixels", f"{np.mean(self.depth > 0):.0%} with depth"]

    def _details(self) -> list[str]:
        known = self.depth[self.depth > 0]
        return [f"depth {known.min():.3g} to {known.max():.3g}"] if known.size else []

    def _picture(self) -> Bytes:
        known = self.depth > 0
        low, high = np.percentile(self.depth[known], [2, 98]) if known.any() else (0.0, 1.0)
        near = 1 - np.clip((self.depth - low) / max(high - low, 1e-12), 0, 1)
        # Near is warm and bright, far is cold and dark; black is unknown.
        ramp = np.stack([near, near**1.5, 0.35 + 0.4 * near * (1 - near)], axis=-1)
        picture: Bytes = (255 * ramp * known[..., None]).astype(np.uint8)
        return picture


@dataclass(frozen=True, eq=False, repr=False)
class PointCloud(Described):
    """Oriented, coloured points.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
        Positions in the world, in the scene's unit.
    normals : ndarray of float32, shape (N, 3), optional
        Unit normals in the world, outward.
    colors : ndarray of uint8, shape (N, 3), optional
        sRGB, 0 to 255.
    view_starts, view_indices : ndarray, shapes (N + 1,) and (M,), optional
        Views that see each point, as in `SparsePoints`.
    """

    points: Floats
    normals: Floats32 | None = None
    colors: Bytes | None = None
    view_starts: NDArray[np.int64] | None = None
    view_indices: Ints | None = None

    def __len__(self) -> int:
        return len(self.points)

    def subset(self, keep: NDArray[np.bool_]) -> PointCloud:
        """Select points.

        Parameters
        ----------
        keep : ndarray of bool, shape (N,)
            True for the points to keep.

        Returns
        -------
        PointCloud
            The selected points, without the lists of views.
        """
        return PointCloud(
            self.points[keep],
            None if self.normals is None else self.normals[keep],
            None if self.colors is None else self.colors[keep],
        )

    def to_open3d(self) -> Any:
        """Convert to Open3D, with colours and normals.

        Returns
        -------
        open3d.geometry.PointCloud
        """
        from recon3d.conversion import open3d_cloud_of

        return open3d_cloud_of(self)

    def _facts(self) -> list[str]:
        has = [name for name in ("normals", "colors") if getattr(self, name) is not None]
        return [count(len(self), "point"), *has]

    def _details(self) -> list[str]:
        return [f"size {extent(self.points)}"]

    def _picture(self) -> Bytes | None:
        return points_picture(self.points, self.colors)


@dataclass(frozen=True, eq=False, repr=False)
class Mesh(Described):
    """Triangles.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
        Positions in the world, in the scene's unit.
    faces : ndarray of int32, shape (F, 3)
        Indices into `vertices`; counter-clockwise seen from outside.
    colors : ndarray of uint8, shape (V, 3), optional
        sRGB of each vertex, 0 to 255.
    normals : ndarray of float32, shape (V, 3), optional
        Unit normals in the world, outward.
    guessed : ndarray of bool, shape (V,), optional
        Vertices of closed gaps, which no photo measured.
    """

    vertices: Floats
    faces: Ints
    colors: Bytes | None = None
    normals: Floats32 | None = None
    guessed: Mask | None = None

    def __len__(self) -> int:
        return len(self.faces)

    def to_trimesh(self) -> Any:
        """Convert to trimesh, with the vertices' colours and normals.

        Returns
        -------
        trimesh.Trimesh

        Raises
        ------
        EngineUnavailable
            trimesh is not installed.
        """
        from recon3d.conversion import trimesh_of

        return trimesh_of(self)

    def to_open3d(self) -> Any:
        """Convert to Open3D, with the vertices' colours and normals.

        Returns
        -------
        open3d.geometry.TriangleMesh
        """
        from recon3d.conversion import open3d_of

        return open3d_of(self)

    def _facts(self) -> list[str]:
        has = [name for name in ("colors", "normals") if getattr(self, name) is not None]
        return [count(len(self), "triangle"), count(len(self.vertices), "vertex"), *has]

    def _details(self) -> list[str]:
        return [f"size {extent(self.vertices)}"]

    def _picture(self) -> Bytes | None:
        return points_picture(self.vertices, self.colors)


@dataclass(frozen=True, eq=False, repr=False)
class TexturedMesh(Described):
    """Triangles with a texture atlas.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
        Positions in the world, in the scene's unit.
    faces : ndarray of int32, shape (F, 3)
        Indices into `vertices`; counter-clockwise seen from outside.
    uv : ndarray of float32, shape (T, 2)
        Texture coordinates; (0, 0) is the lower left corner of the atlas, as in OBJ.
    face_uv : ndarray of int32, shape (F, 3)
        Indices into `uv`, corner by corner.
    texture : ndarray of uint8, shape (H, W, 3)
        sRGB, 0 to 255; row 0 is the top.
    pages : tuple of int
        Rows and columns of equal parts of the texture, which are pictures of their own in files. No
        triangle lies in two.
    """

    vertices: Floats
    faces: Ints
    uv: Floats32
    face_uv: Ints
    texture: Bytes
    pages: tuple[int, int] = (1, 1)

    def __len__(self) -> int:
        return len(self.faces)

    def to_trimesh(self) -> Any:
        """Convert to trimesh, with the texture; vertices are split at its seams.

        Returns
        -------
        trimesh.Trimesh

        Raises
        ------
        EngineUnavailable
            trimesh is not installed.
        """
        from recon3d.conversion import textured_trimesh_of

        return textured_trimesh_of(self)

    def to_open3d(self) -> Any:
        """Convert to Open3D, with the texture.

        Returns
        -------
        open3d.geometry.TriangleMesh
        """
        from recon3d.conversion import textured_open3d_of

        return textured_open3d_of(self)

    def _facts(self) -> list[str]:
        height, width = self.texture.shape[:2]
        rows, columns = self.pages
        pages = f" in {rows} x {columns} pages" if rows * columns > 1 else ""
        return [
            count(len(self), "triangle"),
            count(len(self.vertices), "vertex"),
            f"texture {width} x {height}{pages}",
        ]

    def _details(self) -> list[str]:
        return [f"size {extent(self.vertices)}"]

    def _picture(self) -> Bytes | None:
        corners = self.vertices[self.faces.ravel()]
        return points_picture(corners, nearest_texels(self.texture, self.uv)[self.face_uv.ravel()])


def as_transform(rotation: Floats, translation: Sequence[float] | Floats, scale: float = 1.0) -> Floats:
    """Build the homogeneous matrix of x -> scale * rotation @ x + translation.

    Parameters
    ----------
    rotation : ndarray of float64, shape (3, 3)
    translation : sequence of float or ndarray of float64, shape (3,)
    scale : float

    Returns
    -------
    ndarray of float64, shape (4, 4)
    """
    transform: NDArray[Any] = np.eye(4)
    transform[:3, :3] = scale * np.asarray(rotation)
    transform[:3, 3] = translation
    return transform

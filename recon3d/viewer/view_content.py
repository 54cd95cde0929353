"""What is sent to a browser: points, a mesh and cameras.

Positions are relative to `Content.origin`, since float32 would round surveyed coordinates. Points
are in random order, so that the first n of them are a thinner picture of them all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.ply import read_point_cloud
from recon3d.layout import POINT_CLOUD, images_folder
from recon3d.project.loading import load_mesh, load_scene
from recon3d.project.one_world import ShownProject, belonging_together
from recon3d.project.runs import RunRecord
from recon3d.rendering.framing import Opening
from recon3d.rendering.opening import find_opening, opening_of
from recon3d.types import Bytes, Camera, Floats, Floats32, Mesh, PointCloud, Scene, TexturedMesh
from recon3d.viewer.camera_lines import frusta, photos_of
from recon3d.viewer.draft import coarsened, needs_draft, soft_colors
from recon3d.viewer.grid import sample
from recon3d.viewer.thinning import Budget, finite_mesh, finite_points, thin_mesh, thin_points

Shown = ShownProject | RunRecord | Scene | PointCloud | Mesh | TexturedMesh
Indices = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Content:
    """Arrays for a viewer; whatever there is none of is None.

    Parameters
    ----------
    origin : ndarray of float64, shape (3,)
        World position that the others are relative to.
    points : ndarray of float32, shape (N, 3), optional
    point_colors : ndarray of uint8, shape (N, 3), optional
    vertices : ndarray of float32, shape (V, 3), optional
    faces : ndarray of uint32, shape (F, 3), optional
    vertex_colors : ndarray of uint8, shape (V, 3), optional
    uv : ndarray of float32, shape (V, 2), optional
    texture : ndarray of uint8, shape (H, W, 3), optional
    frusta : ndarray of float32, shape (C, 8, 2, 3), optional
        Eight line segments a camera.
    names : tuple of str
        Names of the cameras.
    cameras : tuple of Camera
        Their intrinsics.
    up : ndarray of float64, shape (3,)
    unit : str
    notes : tuple of str
        What was thinned, in words.
    images : Path, optional
        Folder of the cameras' photos.
    dense : Path, optional
        Folder of the dense reconstruction, with the cameras' depth maps.
    enlarged : float
        Length here of what is 1 long in the reconstruction; see `placed`.
    reconstruction : str, optional
        Fingerprint of a project's sparse reconstruction that all parts belong to.
    first_view : Opening, optional
        The first view, where it is not found from the arrays.
    """

    origin: Floats
    points: Floats32 | None = None
    point_colors: Bytes | None = None
    vertices: Floats32 | None = None
    faces: Indices | None = None
    vertex_colors: Bytes | None = None
    uv: Floats32 | None = None
    texture: Bytes | None = None
    frusta: Floats32 | None = None
    names: tuple[str, ...] = ()
    cameras: tuple[Camera, ...] = ()
    up: Floats | None = None
    unit: str = ""
    notes: tuple[str, ...] = ()
    images: Path | None = None
    dense: Path | None = None
    enlarged: float = 1.0
    reconstruction: str | None = None
    first_view: Opening | None = None

    @cached_property
    def jpeg(self) -> bytes:
        """The texture as it is sent; empty where there is none."""
        if self.texture is None:
            return b""
        _, data = cv2.imencode(".jpg", self.texture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        return data.tobytes()

    @cached_property
    def opening(self) -> Opening:
        """The first view, in the coordinates of the arrays."""
        if self.first_view is not None:
            return self.first_view
        photos = None if self.frusta is None else photos_of(self.frusta)
        if self.vertices is not None and self.faces is not None and len(self.faces):
            return opening_of(self.surface(), photos, self.up)
        if self.points is not None:
            return find_opening(self.points, colors=self.point_colors, photos=photos, up=self.up)
        return find_opening(np.asarray(self.frusta)[:, :4].reshape(-1, 3), up=self.up)

    @cached_property
    def draft(self) -> Content | None:
        """The surface alone, coarse, with coloured vertices; None where the whole is there as soon."""
        if self.vertices is None or self.faces is None:
            return None
        if not needs_draft(len(self.faces), 0 if self.texture is None else self.texture[..., 0].size):
            return None
        colors = self.vertex_colors
        if self.texture is not None and self.uv is not None:
            colors = soft_colors(self.texture, self.uv)
        vertices, faces, colors = coarsened(self.vertices, self.faces, colors, self.opening.eye(1.0))
        return Content(
            self.origin,
            vertices=vertices,
            faces=faces,
            vertex_colors=colors,
            up=self.up,
            first_view=self.opening,
        )

    def surface(self, faces: Indices | None = None, *, colored: bool = True) -> Mesh | TexturedMesh:
        """Give the surface as a mesh.

        Parameters
        ----------
        faces : ndarray of uint32, shape (F, 3), optional
            Those to take; all by default.
        colored : bool
            With its texture or colours.

        Returns
        -------
        Mesh or TexturedMesh
            Relative to `origin`.
        """
        vertices = np.asarray(self.vertices, np.float64)
        corners = np.asarray(self.faces if faces is None else faces).astype(np.int32)
        if colored and self.texture is not None and self.uv is not None:
            return TexturedMesh(vertices, corners, self.uv, corners, self.texture)
        return Mesh(vertices, corners, self.vertex_colors if colored else None)

    @cached_property
    def extent(self) -> tuple[Floats, float]:
        """Middle, shape (3,), and radius of what there is, without its farthest two in a hundred."""
        positions = next(a for a in (self.vertices, self.points, self.frusta) if a is not None)
        low, high = np.percentile(sample(positions.reshape(-1, 3)), [2, 98], axis=0)
        return (low + high) / 2, float(np.linalg.norm(high - low)) / 2 or 1.0

    @cached_property
    def bounds(self) -> tuple[Floats, Floats]:
        """Lowest and highest corner of mesh and points, or of the cameras where there is neither."""
        parts = [a for a in (self.vertices, self.points) if a is not None]
        if not parts and self.frusta is not None:
            parts = [self.frusta.reshape(-1, 3)]
        low = np.min([part.min(axis=0) for part in parts], axis=0)
        return low.astype(np.float64), np.max([part.max(axis=0) for part in parts], axis=0).astype(np.float64)

    def placed(self, scale: float, rotation: Floats, translation: Floats, origin: Floats) -> Content:
        """Transform the content: x -> scale * rotation @ x + translation.

        Parameters
        ----------
        scale : float
        rotation : ndarray of float64, shape (3, 3)
        translation : ndarray of float64, shape (3,)
        origin : ndarray of float64, shape (3,)
            Origin of the result, in the new world.

        Returns
        -------
        Content
        """

        def move(positions: Floats32 | None) -> Floats32 | None:
            if positions is None:
                return None
            world = scale * (positions + self.origin) @ rotation.T + translation
            return (world - origin).astype(np.float32)

        up = None if self.up is None else rotation @ self.up
        points, vertices, frusta = move(self.points), move(self.vertices), move(self.frusta)
        return replace(
            self,
            origin=origin,
            up=up,
            points=points,
            vertices=vertices,
            frusta=frusta,
            enlarged=scale * self.enlarged,
            first_view=None,
        )


def project_of(shown: Shown) -> ShownProject | None:
    """Tell the project among what can be shown.

    Parameters
    ----------
    shown : Project, RunRecord, Scene, PointCloud, Mesh or TexturedMesh

    Returns
    -------
    Project or None
        None for anything else.
    """
    return None if isinstance(shown, RunRecord | Scene | PointCloud | Mesh | TexturedMesh) else shown


def content_of(shown: Shown, budget: Budget | None = None, *, images: Path | None = None) -> Content:
    """Turn an object of recon3d into what a viewer needs.

    Parameters
    ----------
    shown : Project, RunRecord, Scene, PointCloud, Mesh or TexturedMesh
        Of a project the newest model, of one of its runs the model that it made or used.
    budget : Budget, optional
    images : Path, optional
        Folder of the cameras' photos; a project knows its own.

    Returns
    -------
    Content

    Raises
    ------
    InputError
        There is nothing to show yet.
    """
    budget = budget or Budget()
    scene: Scene | None = None
    cloud: PointCloud | None = None
    mesh: Mesh | TexturedMesh | None = None
    notes: list[str] = []
    reconstruction: str | None = None
    dense: Path | None = None
    if isinstance(shown, Scene):
        scene = shown
    elif isinstance(shown, PointCloud):
        cloud = shown
    elif isinstance(shown, Mesh | TexturedMesh):
        mesh = shown
    else:
        made, note = (shown.artifacts, "") if isinstance(shown, RunRecord) else belonging_together(shown)
        notes += [note] if note else []
        if "sparse_reconstruction" in made:
            scene, reconstruction = load_scene(made), made["sparse_reconstruction"].manifest.fingerprint
        if "dense_reconstruction" in made:
            dense = made["dense_reconstruction"].path
            cloud = read_point_cloud(dense / POINT_CLOUD)
        if "texturing" in made or "mesh_generation" in made:
            mesh = load_mesh(made)
        if "frame_extraction" in made:
            images = images or images_folder(made["frame_extraction"].path)
    if cloud is None and scene is not None and len(scene.points):
        cloud = PointCloud(scene.points.xyz, colors=scene.points.rgb)
    if cloud is not None:
        cloud = finite_points(cloud, notes)
        cloud = cloud if len(cloud) else None
    if mesh is not None:
        mesh = finite_mesh(mesh, notes)
        if not len(mesh.faces):
            notes.append("the mesh has no triangles")
            mesh = None
    positions = mesh.vertices if mesh is not None else cloud.points if cloud is not None else None
    if positions is None and scene is not None and len(scene):
        positions = np.array([view.center for view in scene])
    if positions is None or not len(positions):
        if isinstance(shown, RunRecord):
            raise InputError(
                f"Nothing is left to show of the run {shown.name}.",
                "It ended before it had a model, or `recon3d clean` removed it. Choose another run.",
            )
        raise InputError(
            "There is nothing to show" + (f": {', '.join(notes)}." if notes else " yet."),
            "Check the file that it was read from." if notes else "Run the pipeline first.",
        )
    origin = np.median(positions, axis=0)
    size = float(np.linalg.norm(np.percentile(positions, 98, axis=0) - np.percentile(positions, 2, axis=0)))
    parts: dict[str, object] = {}
    if cloud is not None and len(cloud):
        parts |= thin_points(cloud, origin, budget, notes)
    if mesh is not None:
        parts |= thin_mesh(mesh, origin, budget, notes)
    if scene is not None and len(scene):
        parts |= {
            "frusta": frusta(scene, origin, size),
            "names": tuple(v.name for v in scene),
            "cameras": tuple(v.camera for v in scene),
        }
    up = scene.up if scene is not None and scene.up is not None else np.array([0.0, 1.0, 0.0])
    unit = scene.unit if scene is not None else ""
    parts |= {"up": up, "unit": unit, "images": images, "dense": dense, "reconstruction": reconstruction}
    return Content(origin, notes=tuple(notes), **parts)  # type: ignore[arg-type]

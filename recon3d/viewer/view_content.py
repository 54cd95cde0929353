"""What is sent to a browser: points, a mesh and cameras, thinned to a budget.

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

from recon3d.conversion import split_at_seams
from recon3d.errors import InputError
from recon3d.io.ply import read_point_cloud
from recon3d.layout import POINT_CLOUD, images_folder
from recon3d.project.artifacts import Artifact
from recon3d.project.loading import load_mesh, load_scene
from recon3d.project.project import Project
from recon3d.rendering.framing import Opening, Photos
from recon3d.rendering.opening import find_opening, opening_of
from recon3d.rendering.texels import nearest_texels
from recon3d.types import Bytes, Camera, Floats, Floats32, Mesh, PointCloud, Scene, TexturedMesh
from recon3d.viewer.grid import sample

Shown = Project | Scene | PointCloud | Mesh | TexturedMesh
Indices = NDArray[np.uint32]


@dataclass(frozen=True)
class Budget:
    """How much is sent: at most so many points, triangles and texture pixels a side."""

    points: int = 1_000_000
    faces: int = 500_000
    texture: int = 4096


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
        photos = None if self.frusta is None else _photos(self.frusta)
        if self.vertices is not None and self.faces is not None and len(self.faces):
            return opening_of(self.surface(), photos, self.up)
        if self.points is not None:
            return find_opening(self.points, colors=self.point_colors, photos=photos, up=self.up)
        return find_opening(np.asarray(self.frusta)[:, :4].reshape(-1, 3), up=self.up)

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
        )


def content_of(shown: Shown, budget: Budget | None = None, *, images: Path | None = None) -> Content:
    """Turn an object of recon3d into what a viewer needs.

    Parameters
    ----------
    shown : Project, Scene, PointCloud, Mesh or TexturedMesh
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
    if isinstance(shown, Project):
        made = _belonging_together(shown, notes)
        if "sparse_reconstruction" in made:
            scene, reconstruction = load_scene(made), made["sparse_reconstruction"].manifest.fingerprint
        if "dense_reconstruction" in made:
            dense = made["dense_reconstruction"].path
            cloud = read_point_cloud(dense / POINT_CLOUD)
        if "texturing" in made or "mesh_generation" in made:
            mesh = load_mesh(made)
        if "frame_extraction" in made:
            images = images or images_folder(made["frame_extraction"].path)
    elif isinstance(shown, Scene):
        scene = shown
    elif isinstance(shown, PointCloud):
        cloud = shown
    else:
        mesh = shown
    if cloud is None and scene is not None and len(scene.points):
        cloud = PointCloud(scene.points.xyz, colors=scene.points.rgb)
    positions = mesh.vertices if mesh is not None else cloud.points if cloud is not None else None
    if positions is None and scene is not None and len(scene):
        positions = np.array([view.center for view in scene])
    if positions is None or not len(positions):
        raise InputError("There is nothing to show yet.", "Run the pipeline first.")
    origin = np.median(positions, axis=0)
    size = float(np.linalg.norm(np.percentile(positions, 98, axis=0) - np.percentile(positions, 2, axis=0)))
    parts: dict[str, object] = {}
    if cloud is not None and len(cloud):
        parts |= _points(cloud, origin, budget, notes)
    if isinstance(mesh, TexturedMesh):
        parts |= _textured(mesh, origin, budget, notes)
    elif mesh is not None:
        parts |= _plain(mesh, origin, budget, notes)
    if scene is not None and len(scene):
        parts |= {
            "frusta": frusta(scene, origin, _frustum_depth(scene, size)),
            "names": tuple(v.name for v in scene),
            "cameras": tuple(v.camera for v in scene),
        }
    up = scene.up if scene is not None and scene.up is not None else np.array([0.0, 1.0, 0.0])
    unit = scene.unit if scene is not None else ""
    parts |= {"up": up, "unit": unit, "images": images, "dense": dense, "reconstruction": reconstruction}
    return Content(origin, notes=tuple(notes), **parts)  # type: ignore[arg-type]


def frusta(scene: Scene, origin: Floats, depth: float) -> Floats32:
    """Compute the line segments of all cameras.

    Parameters
    ----------
    scene : Scene
    origin : ndarray of float64, shape (3,)
        Subtracted from all positions.
    depth : float
        Length of a frustum, in the scene's units.

    Returns
    -------
    ndarray of float32, shape (C, 8, 2, 3)
        Of each camera four edges and the four sides of its image.
    """
    lines = np.empty((len(scene), 8, 2, 3))
    for row, view in zip(lines, scene, strict=True):
        width, height = view.camera.width, view.camera.height
        pixels = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], dtype=np.float64)
        rays = pixels @ np.linalg.inv(view.camera.K).T * depth
        corners = (rays - view.cam_from_world[:3, 3]) @ view.cam_from_world[:3, :3]
        row[:4, 0], row[:4, 1] = view.center, corners
        row[4:, 0], row[4:, 1] = corners, np.roll(corners, -1, axis=0)
    return (lines - origin).astype(np.float32)


def _photos(lines: Floats32) -> Photos:
    """Where photos were taken, from the lines of their cameras."""
    center, corner = lines[:, 0, 0].astype(np.float64), lines[:, :4, 1].astype(np.float64)
    right, down = corner[:, 1] - corner[:, 0], corner[:, 3] - corner[:, 0]
    sizes = np.stack([np.linalg.norm(right, axis=1), np.linalg.norm(down, axis=1)], axis=1)
    ahead = np.cross(right, down) / np.maximum(sizes.prod(axis=1), 1e-30)[:, None]
    depth = np.einsum("nc,nc->n", corner[:, 0] - center, ahead)
    rotation = np.stack([right / sizes[:, :1], down / sizes[:, 1:], ahead], axis=1)
    poses = np.tile(np.eye(4), (len(lines), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = rotation, -np.einsum("nij,nj->ni", rotation, center)
    return Photos(poses, sizes / 2 / depth[:, None])


def cluster_vertices(mesh: Mesh, max_faces: int) -> Mesh:
    """Coarsen a mesh: the vertices of each grid cell become their mean.

    Parameters
    ----------
    mesh : Mesh
    max_faces : int
        Most faces of the result.

    Returns
    -------
    Mesh

    Notes
    -----
    Rossignac and Borrel, "Multi-resolution 3D approximations for rendering complex scenes", 1993.
    """
    if len(mesh.faces) <= max_faces:
        return mesh
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    area = float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2
    # A surface of n cells has about 2 n triangles.
    cell = (2 * area / max_faces) ** 0.5 or 1e-9
    while True:
        keys = np.floor((mesh.vertices - mesh.vertices.min(axis=0)) / cell).astype(np.int64)
        sizes = keys.max(axis=0) + 1
        flat = (keys[:, 0] * sizes[1] + keys[:, 1]) * sizes[2] + keys[:, 2]
        _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
        faces = inverse[mesh.faces]
        whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        if whole.sum() <= max_faces:
            break
        cell *= 1.2

    def mean(values: NDArray[np.generic]) -> Floats:
        columns = [np.bincount(inverse, values[:, i].astype(np.float64)) / counts for i in range(3)]
        return np.stack(columns, axis=1)

    colors = None if mesh.colors is None else mean(mesh.colors).round().astype(np.uint8)
    return Mesh(mean(mesh.vertices), faces[whole].astype(np.int32), colors)


def _belonging_together(project: Project, notes: list[str]) -> dict[str, Artifact]:
    """The newest artifacts that one sparse reconstruction, and so one world, is behind.

    A run that ended early leaves new cameras beside the surface of an earlier run.
    """
    made = dict(project.artifacts)
    newest = made.get("sparse_reconstruction")
    surfaces = [
        _family(project, made[stage])
        for stage in ("texturing", "mesh_generation", "dense_reconstruction")
        if stage in made
    ]
    for family in surfaces:
        if newest is not None and family.get("sparse_reconstruction") == newest:
            return family
    if surfaces:
        notes.append("an earlier run's model, since the newest has none yet")
        return surfaces[0]
    return made


def _family(project: Project, artifact: Artifact) -> dict[str, Artifact]:
    """An artifact and all that it was made from, by stage."""
    found = {artifact.stage: artifact}
    for stage, fingerprint in artifact.manifest.inputs.items():
        source = project.store.find(stage, fingerprint)
        if source is not None:
            found |= _family(project, source)
    return found


def _frustum_depth(scene: Scene, size: float) -> float:
    """A tenth of the model, but no deeper than cameras are apart, so that frusta do not overlap."""
    centers = np.array([view.center for view in scene])
    spread = float(np.linalg.norm(np.ptp(centers, axis=0)))
    depth = 0.1 * size if size > 0 else 0.1
    return min(depth, spread / len(scene) ** 0.5) if spread > 0 else depth


def _points(cloud: PointCloud, origin: Floats, budget: Budget, notes: list[str]) -> dict[str, object]:
    if len(cloud) > budget.points:
        notes.append(f"{budget.points:,} of {len(cloud):,} points")
    keep = np.random.default_rng(0).permutation(len(cloud))[: budget.points]
    colors = None if cloud.colors is None else cloud.colors[keep]
    return {"points": (cloud.points[keep] - origin).astype(np.float32), "point_colors": colors}


def _plain(mesh: Mesh, origin: Floats, budget: Budget, notes: list[str]) -> dict[str, object]:
    coarse = cluster_vertices(mesh, budget.faces)
    if coarse is not mesh:
        notes.append(f"{len(coarse.faces):,} of {len(mesh.faces):,} triangles")
    return {
        "vertices": (coarse.vertices - origin).astype(np.float32),
        "faces": coarse.faces.astype(np.uint32),
        "vertex_colors": coarse.colors,
    }


def _textured(mesh: TexturedMesh, origin: Floats, budget: Budget, notes: list[str]) -> dict[str, object]:
    if len(mesh.faces) > budget.faces:
        plain = Mesh(mesh.vertices, mesh.faces, _vertex_colors(mesh))
        notes.append("its vertices' colours instead of the texture")
        return _plain(plain, origin, budget, notes)
    vertices, uv, faces = split_at_seams(mesh)
    texture = mesh.texture
    scale = budget.texture / max(texture.shape[:2])
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in texture.shape[:2])
        notes.append(f"texture {width} x {height} of {texture.shape[1]} x {texture.shape[0]}")
        texture = np.asarray(cv2.resize(texture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return {
        "vertices": (vertices - origin).astype(np.float32),
        "faces": faces.astype(np.uint32),
        "uv": uv,
        "texture": texture,
    }


def _vertex_colors(mesh: TexturedMesh) -> Bytes:
    colors = np.zeros((len(mesh.vertices), 3), np.uint8)
    colors[mesh.faces.ravel()] = nearest_texels(mesh.texture, mesh.uv)[mesh.face_uv.ravel()]
    return colors

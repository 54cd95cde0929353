"""How good a reconstruction is, against a true one.

Clouds and meshes are compared as in Tanks and Temples [1]_: precision is the share of the
reconstruction's points within a distance of the truth, recall the share of the truth's points within
that distance of the reconstruction, and the F-score their harmonic mean. Cameras are compared after
a similarity alignment of their centres [2]_.

References
----------
.. [1] Knapitsch et al., Tanks and Temples: Benchmarking Large-Scale Scene Reconstruction, TOG 2017.
.. [2] Umeyama, Least-Squares Estimation of Transformation Parameters Between Two Point Patterns,
   PAMI 1991.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from recon3d.errors import InputError
from recon3d.similarity import umeyama
from recon3d.types import Floats, Mesh, PointCloud, Scene

_SAMPLES = 1_000_000


@dataclass(frozen=True)
class SurfaceScore:
    """Agreement of a reconstruction with the truth at one distance.

    Parameters
    ----------
    distance : float
    precision, recall, f_score : float
        0 to 1.
    """

    distance: float
    precision: float
    recall: float
    f_score: float

    def __str__(self) -> str:
        parts = f"precision {self.precision:.3f}, recall {self.recall:.3f}"
        return f"{self.distance:g}: F {self.f_score:.3f} ({parts})"


@dataclass(frozen=True, eq=False)
class PoseErrors:
    """Errors of the cameras that two scenes share.

    Parameters
    ----------
    names : tuple of str
        Views in both scenes.
    rotation : ndarray of float64, shape (N,)
        Degrees, after alignment.
    position : ndarray of float64, shape (N,)
        In the true scene's unit, after alignment.
    relative : ndarray of float64, shape (N * (N - 1) / 2,)
        Of each pair, the larger of the errors of the relative rotation and of the direction of the
        relative translation, in degrees; needs no alignment.
    """

    names: tuple[str, ...]
    rotation: Floats
    position: Floats
    relative: Floats

    def auc(self, degrees: float) -> float:
        """Compute the area under the recall curve of the relative errors.

        Parameters
        ----------
        degrees : float
            Largest error of the curve.

        Returns
        -------
        float
            0 to 1.
        """
        return area_under_recall(self.relative, degrees)

    def __repr__(self) -> str:
        if not self.names:
            return "<PoseErrors: no common views>"
        return (
            f"<PoseErrors of {len(self.names)} views: rotation {np.median(self.rotation):.3f}°, "
            f"position {np.median(self.position):.4g}, AUC@5° {self.auc(5):.3f}>"
        )


def surface_scores(
    made: PointCloud | Mesh,
    truth: PointCloud | Mesh,
    distances: Sequence[float],
    *,
    box: tuple[Sequence[float], Sequence[float]] | None = None,
    voxel: float = 0.0,
    samples: int = _SAMPLES,
    seed: int = 0,
) -> list[SurfaceScore]:
    """Precision, recall and F-score at several distances.

    Distances are those to the nearest point of the other set, as in Tanks and Temples, not to the
    surface between its samples: with samples that are a distance s apart they are up to about s / 2
    too long across the surface, so keep s (and `voxel`) well below the distances asked for.

    Parameters
    ----------
    made, truth : PointCloud or Mesh
        Meshes are sampled uniformly by area. Both must be in one world frame.
    distances : sequence of float
    box : (low, high), optional
        Only points inside count, of both.
    voxel : float
        Thin both to one point (the mean) in each voxel of this size first, so that densely
        covered places do not count more; 0 does not.
    samples : int
        Points that a mesh is sampled with.
    seed : int

    Returns
    -------
    list of SurfaceScore
        One for each distance.

    Raises
    ------
    InputError
        One of the two has no point (inside the box), or is a mesh without faces.
    """
    a = _prepared(made, box, voxel, samples, seed)
    b = _prepared(truth, box, voxel, samples, seed)
    for name, points in (("reconstruction", a), ("truth", b)):
        if not len(points):
            raise InputError(f"The {name} has no points to compare.", "Check its world frame and the box.")
    to_truth, _ = cKDTree(b).query(a, workers=-1)
    to_made, _ = cKDTree(a).query(b, workers=-1)
    scores = []
    for distance in distances:
        precision, recall = float(np.mean(to_truth <= distance)), float(np.mean(to_made <= distance))
        total = precision + recall
        scores.append(
            SurfaceScore(distance, precision, recall, 2 * precision * recall / total if total else 0.0)
        )
    return scores


def sample_mesh(mesh: Mesh, count: int, seed: int = 0) -> Floats:
    """Sample points on a mesh, uniform by area.

    Parameters
    ----------
    mesh : Mesh
    count : int
        Number of points.
    seed : int

    Returns
    -------
    ndarray of float64, shape (count, 3)

    Raises
    ------
    InputError
        The mesh has no area.
    """
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    if not areas.sum() > 0:
        raise InputError("The mesh has no surface to compare.", "Give a mesh with faces.")
    rng = np.random.default_rng(seed)
    face = rng.choice(len(areas), count, p=areas / areas.sum())
    u, v = rng.random(count), rng.random(count)
    root = np.sqrt(u)[:, None]
    points: Floats = (1 - root) * a[face] + root * (1 - v[:, None]) * b[face] + root * v[:, None] * c[face]
    return points


def thin(points: Floats, voxel: float) -> Floats:
    """Thin a cloud to one point per voxel, the mean of its points.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    voxel : float
        Side of a voxel, in the units of `points`.

    Returns
    -------
    ndarray of float64, shape (M, 3)
    """
    _, inverse, counts = np.unique(
        np.floor(points / voxel).astype(np.int64), axis=0, return_inverse=True, return_counts=True
    )
    sums = np.stack([np.bincount(inverse.ravel(), points[:, k]) for k in range(3)], axis=1)
    return sums / counts[:, None]


def pose_errors(made: Scene, truth: Scene) -> PoseErrors:
    """Compare camera poses of views with the same name.

    Parameters
    ----------
    made, truth : Scene

    Returns
    -------
    PoseErrors
        Errors after aligning `made` to `truth`.

    Raises
    ------
    InputError
        Fewer than three views are in both.
    """
    true_views = {view.name: view for view in truth}
    pairs = [(view, true_views[view.name]) for view in made if view.name in true_views]
    if len(pairs) < 3:
        raise InputError(
            f"Only {len(pairs)} views are in both scenes.", "Check that the images' names are the same."
        )
    ours = np.array([a.cam_from_world for a, _ in pairs])
    theirs = np.array([b.cam_from_world for _, b in pairs])
    our_centers = np.array([a.center for a, _ in pairs])
    true_centers = np.array([b.center for _, b in pairs])
    scale, rotation, translation = umeyama(our_centers, true_centers)
    aligned = scale * our_centers @ rotation.T + translation
    position = np.linalg.norm(aligned - true_centers, axis=1)
    turned = ours[:, :3, :3] @ rotation.T
    angles = _angles(turned @ np.swapaxes(theirs[:, :3, :3], 1, 2))
    i, j = np.triu_indices(len(pairs), 1)
    relative = np.maximum(_relative_rotation(ours, theirs, i, j), _relative_direction(ours, theirs, i, j))
    return PoseErrors(tuple(a.name for a, _ in pairs), angles, position, relative)


def area_under_recall(errors: Floats, limit: float) -> float:
    """Compute the area under the recall curve, divided by `limit`.

    Parameters
    ----------
    errors : ndarray of float64, shape (N,)
        One error per measurement.
    limit : float
        Largest error of the curve.

    Returns
    -------
    float
        0 to 1.
    """
    below = np.clip(limit - np.asarray(errors), 0, limit)
    return float(below.mean() / limit) if len(below) else 0.0


def _prepared(
    shape: PointCloud | Mesh,
    box: tuple[Sequence[float], Sequence[float]] | None,
    voxel: float,
    samples: int,
    seed: int,
) -> Floats:
    points = sample_mesh(shape, samples, seed) if isinstance(shape, Mesh) else shape.points
    if box is not None:
        low, high = np.asarray(box[0]), np.asarray(box[1])
        points = points[((points >= low) & (points <= high)).all(axis=1)]
    return thin(points, voxel) if voxel > 0 and len(points) else points


def _angles(rotations: Floats) -> Floats:
    """Angles of rotation matrices of shape (N, 3, 3), in degrees; exact for small ones too."""
    skew = np.stack(
        [
            rotations[:, 2, 1] - rotations[:, 1, 2],
            rotations[:, 0, 2] - rotations[:, 2, 0],
            rotations[:, 1, 0] - rotations[:, 0, 1],
        ],
        axis=1,
    )
    sine = np.linalg.norm(skew, axis=1)
    angles: Floats = np.degrees(np.arctan2(sine, np.trace(rotations, axis1=1, axis2=2) - 1))
    return angles


def _relative(poses: Floats, i: np.ndarray, j: np.ndarray) -> tuple[Floats, Floats]:
    """Rotation and translation from camera i to camera j."""
    R = poses[:, :3, :3]
    t = poses[:, :3, 3]
    rotation = R[j] @ np.swapaxes(R[i], 1, 2)
    return rotation, t[j] - np.einsum("nab,nb->na", rotation, t[i])


def _relative_rotation(ours: Floats, theirs: Floats, i: np.ndarray, j: np.ndarray) -> Floats:
    return _angles(_relative(ours, i, j)[0] @ np.swapaxes(_relative(theirs, i, j)[0], 1, 2))


def _relative_direction(ours: Floats, theirs: Floats, i: np.ndarray, j: np.ndarray) -> Floats:
    a, b = _relative(ours, i, j)[1], _relative(theirs, i, j)[1]
    cross = np.linalg.norm(np.cross(a, b), axis=1)
    degrees: Floats = np.degrees(np.arctan2(cross, np.einsum("nc,nc->n", a, b)))
    return degrees

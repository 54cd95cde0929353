"""Placing images that see few points of a model, but match its images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from recon3d import colmap
from recon3d.colmap.database import write_database, write_matches
from recon3d.colmap.resection import Matched, rays_of, resect
from recon3d.colmap.tying import tie_images
from recon3d.similarity import umeyama

IMAGES = 14
#: Left out of the model; each pair with one of them has few features in common with other pairs.
LOST = (4, 5)
FOCALS = (800.0, 1200.0)  # of even and odd images
SIZE = (800, 600)


@dataclass
class Ring:
    """Photos of a ball from a ring of cameras that are zoomed in turns."""

    common: int  # points that the pairs of a lost image share with other pairs
    same_place: bool = False  # whether the first lost image is taken where the one before is
    poses: list[pycolmap.Rigid3d] = field(default_factory=list)
    features: list[dict[tuple[int, str], int]] = field(default_factory=list)
    keypoints: list[list[np.ndarray]] = field(default_factory=list)
    matches: dict[tuple[int, int], list[tuple[int, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(0)
        balls = self.rng.normal(size=(1200, 3))
        self.points = balls / np.linalg.norm(balls, axis=1, keepdims=True)
        for index in range(IMAGES):
            angle = 2 * np.pi * (index - (self.same_place and index == LOST[0])) / IMAGES
            center = 3.5 * np.array([np.cos(angle), np.sin(angle), 0.0])
            forward = -center / np.linalg.norm(center)
            right = np.cross(forward, [0.0, 0.0, 1.0])
            rotation = np.array([right, np.cross(forward, right), forward])
            self.poses.append(pycolmap.Rigid3d(pycolmap.Rotation3d(rotation), -rotation @ center))
            self.features.append({})
            self.keypoints.append([])
        for first in range(IMAGES):
            for step in (1, 2):
                self._match(first, (first + step) % IMAGES, step)

    def _match(self, first: int, second: int, step: int) -> None:
        lost = bool({first, second} & set(LOST))
        if lost and step == 2:
            return
        both = self._sees(first) & self._sees(second)
        # What a pair has in common with others, a neighbour sees, too.
        neighbor = (first - 1 if first not in LOST else second + 1) % IMAGES
        common = self.rng.permutation(np.flatnonzero(both & self._sees(neighbor)))[: self.common]
        shared = set(common.tolist())
        rows = []
        for point in np.flatnonzero(both).tolist():
            # A feature of its own has no match in any other pair.
            own = f"{first}-{second}" if lost and point not in shared else ""
            rows.append((self._feature(first, point, own), self._feature(second, point, own)))
        for row in range(0, len(rows), 20):  # wrong ones
            rows[row] = (rows[row][0], rows[row - 7][1])
        self.matches[min(first, second), max(first, second)] = (
            rows if first < second else [(b, a) for a, b in rows]
        )

    def _sees(self, index: int) -> np.ndarray:
        center = np.asarray(self.poses[index].inverse().translation)
        to_camera = center - self.points
        facing = (self.points * to_camera).sum(axis=1) / np.linalg.norm(to_camera, axis=1)
        return facing > 0.3

    def _feature(self, index: int, point: int, own: str) -> int:
        key = (point, own)
        if key not in self.features[index]:
            x, y, z = self.poses[index] * self.points[point]
            at = FOCALS[index % 2] * np.array([x, y]) / z + np.array(SIZE) / 2
            self.features[index][key] = len(self.keypoints[index])
            self.keypoints[index].append(at + self.rng.normal(0, 0.1, 2))
        return self.features[index][key]

    def database(self, path: Path) -> Path:
        rows = [colmap.ImageRow(f"{index}.jpg", 1, *SIZE, None) for index in range(IMAGES)]

        def features(index: int) -> tuple[np.ndarray, np.ndarray]:
            found = np.array(self.keypoints[index], np.float32)
            return np.column_stack([found, np.ones((len(found), 2))]).astype(np.float32), np.zeros(
                (len(found), 128), np.uint8
            )

        write_database(path, rows, "SIMPLE_RADIAL", features)
        entries = []
        for (first, second), matches in self.matches.items():
            geometry = pycolmap.TwoViewGeometry()
            geometry.config = pycolmap.TwoViewGeometryConfiguration.UNCALIBRATED
            geometry.inlier_matches = np.array(matches, np.uint32)
            entries.append((first + 1, second + 1, np.array(matches, np.uint32), geometry))
        write_matches(path, entries)
        return path

    def model(self, folder: Path, drift: float = 0.0) -> Path:
        """The images but for the lost ones; each step round the ring turns and shrinks by the drift."""
        model = pycolmap.Reconstruction()
        for number, focal in enumerate(FOCALS, 7):
            camera = pycolmap.Camera.create_from_model_name(number, "SIMPLE_RADIAL", focal, *SIZE)
            model.add_camera_with_trivial_rig(camera)
        kept = [(LOST[-1] + 1 + step) % IMAGES for step in range(IMAGES - len(LOST))]
        tracks: dict[int, list[tuple[int, int]]] = {}
        for step, index in enumerate(kept):
            image = pycolmap.Image(name=f"{index}.jpg", camera_id=7 + index % 2, image_id=index + 1)
            points = [pycolmap.Point2D(xy) for xy in self.keypoints[index]]
            image.points2D = pycolmap.Point2DList(points)
            model.add_image_with_trivial_frame(image, self._drifted(self.poses[index], drift * step))
            for (point, own), row in self.features[index].items():
                if not own:
                    tracks.setdefault(point, []).append((step, row))
        for point, seen in tracks.items():
            if len(seen) > 1:
                track = pycolmap.Track()
                for step, row in seen:
                    track.add_element(kept[step] + 1, row)
                amount = drift * float(np.mean([step for step, _ in seen]))
                xyz = self._similarity(amount) * self.points[point]
                model.add_point3D(xyz, track, np.zeros(3, np.uint8))
        folder.mkdir()
        model.write(str(folder))
        return folder

    @staticmethod
    def _similarity(amount: float) -> pycolmap.Sim3d:
        turn = pycolmap.Rotation3d(np.array([0.0, 0.0, np.sin(amount / 2), np.cos(amount / 2)]))
        return pycolmap.Sim3d(1 - amount, turn, np.zeros(3))

    def _drifted(self, pose: pycolmap.Rigid3d, amount: float) -> pycolmap.Rigid3d:
        return self._similarity(amount).transform_camera_world(pose)

    def errors(self, folder: Path) -> np.ndarray:
        """Distances of the centres from the true ones, as shares of the ring's radius."""
        model = pycolmap.Reconstruction(str(folder))
        ids = sorted(model.reg_image_ids())
        found = np.array([model.image(image_id).projection_center() for image_id in ids])
        truth = np.array([self.poses[image_id - 1].inverse().translation for image_id in ids])
        scale, rotation, translation = umeyama(found, truth)
        return np.linalg.norm(scale * found @ rotation.T + translation - truth, axis=1) / 3.5


GROUPS = {f"{index}.jpg": 3 for index in range(IMAGES)}


def test_both_images_are_tied_with_the_right_cameras(tmp_path: Path) -> None:
    ring = Ring(common=14)
    added = tie_images(
        ring.model(tmp_path / "model"), ring.database(tmp_path / "db"), tmp_path / "out", GROUPS, seed=0
    )
    assert added == {"4.jpg": "0.jpg", "5.jpg": "1.jpg"}
    assert len(ring.errors(tmp_path / "out")) == IMAGES
    assert ring.errors(tmp_path / "out").max() < 0.004
    model = pycolmap.Reconstruction(str(tmp_path / "out"))
    assert (model.image(5).camera_id, model.image(6).camera_id) == (7, 8)
    # All matches of a pair have become points, but for the wrong ones.
    assert model.image(5).num_points3D > 300
    for point in model.points3D.values():
        images = [element.image_id for element in point.track.elements]
        assert len(set(images)) == len(images)


def test_a_ring_that_was_open_and_bent_closes(tmp_path: Path) -> None:
    ring = Ring(common=14)
    model = ring.model(tmp_path / "model", drift=0.004)
    assert ring.errors(model).max() > 0.02
    added = tie_images(model, ring.database(tmp_path / "db"), tmp_path / "out", GROUPS, seed=0)
    assert set(added) == {"4.jpg", "5.jpg"}
    assert ring.errors(tmp_path / "out").max() < 0.004


def test_too_few_points_tie_nothing(tmp_path: Path) -> None:
    ring = Ring(common=3)
    model = ring.model(tmp_path / "model")
    assert tie_images(model, ring.database(tmp_path / "db"), tmp_path / "out", GROUPS, seed=0) == {}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other", [{"4.jpg": 9, "5.jpg": 9}, {}])
def test_an_image_gets_no_camera_of_another_group(tmp_path: Path, other: dict[str, int]) -> None:
    ring = Ring(common=14)
    model = ring.model(tmp_path / "model")
    groups = {name: 3 for name in GROUPS if name not in ("4.jpg", "5.jpg")} | other
    assert tie_images(model, ring.database(tmp_path / "db"), tmp_path / "out", groups, seed=0) == {}


def test_points_that_several_images_see_count_once(tmp_path: Path) -> None:
    ring = Ring(common=14)
    model = pycolmap.Reconstruction(str(ring.model(tmp_path / "model")))
    opened = pycolmap.Database.open(str(ring.database(tmp_path / "db")))
    try:
        matched = Matched(opened, 30)
        found = resect(model, matched, 5, [7], 0)
        assert found is not None
        keep = sorted(
            {
                point.point3D_id
                for _, row in matched.matches(5, 4)
                if (point := model.image(4).points2D[int(row)]).has_point3D()
            }
        )
        for point_id in keep[7:]:
            model.delete_point3D(point_id)
        assert resect(model, matched, 5, [7], 0) is None
    finally:
        opened.close()


def test_an_image_taken_from_the_place_of_another_is_no_error(tmp_path: Path) -> None:
    ring = Ring(common=14, same_place=True)
    added = tie_images(
        ring.model(tmp_path / "model"), ring.database(tmp_path / "db"), tmp_path / "out", GROUPS, seed=0
    )
    assert "4.jpg" in added
    assert ring.errors(tmp_path / "out").max() < 0.004


def test_pixels_beyond_the_distortion_are_left_out(tmp_path: Path) -> None:
    ring = Ring(common=14)
    folder = ring.model(tmp_path / "model")
    model = pycolmap.Reconstruction(str(folder))
    for camera in model.cameras.values():
        camera.params = [*camera.params[:3], -3.0]
    assert not np.isfinite(rays_of(next(iter(model.cameras.values())), np.zeros((1, 2)))).all()
    model.write(str(folder))
    tie_images(folder, ring.database(tmp_path / "db"), tmp_path / "out", GROUPS, seed=0)
    if (tmp_path / "out").exists():
        tied = pycolmap.Reconstruction(str(tmp_path / "out"))
        assert all(np.isfinite(point.xyz).all() for point in tied.points3D.values())

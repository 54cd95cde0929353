"""The sparse model that COLMAP's dense stage reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pycolmap

from recon3d.errors import InputError
from recon3d.types import Scene


def write_model(folder: Path, scene: Scene, names: Sequence[str]) -> None:
    """Write a scene without distortion as a binary COLMAP model.

    Parameters
    ----------
    folder : Path
    scene : Scene
        Image ids are the views' indices plus one.
    names : sequence of str
        The images' names, one a view.

    Raises
    ------
    InputError
        A camera has distortion, which COLMAP's dense stage does not know.
    """
    model = pycolmap.Reconstruction()
    points = scene.points
    point_of = np.repeat(np.arange(len(points)), np.diff(points.track_starts))
    camera_ids: dict[object, int] = {}
    # Where in its image's list of observations each element of `track_views` stands.
    place = np.empty(len(points.track_views), np.int64)
    for index, (view, name) in enumerate(zip(scene, names, strict=True)):
        if not view.camera.is_pinhole:
            raise InputError(f"{view.name} is distorted.", "Undistort the images first.")
        if view.camera not in camera_ids:
            camera_ids[view.camera] = len(camera_ids) + 1
            pinhole = view.camera.undistorted()
            camera = pycolmap.Camera(
                model="PINHOLE", width=pinhole.width, height=pinhole.height, params=list(pinhole.params)
            )
            camera.camera_id = camera_ids[view.camera]
            model.add_camera_with_trivial_rig(camera)
        seen = np.flatnonzero(points.track_views == index)
        place[seen] = np.arange(len(seen))
        T = view.cam_from_world
        pixels = view.camera.project(points.xyz[point_of[seen]] @ T[:3, :3].T + T[:3, 3])
        image = pycolmap.Image(
            name=name,
            keypoints=pixels.reshape(-1, 2),
            camera_id=camera_ids[view.camera],
            image_id=index + 1,
        )
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(T[:3]))
    for i in range(len(points)):
        track = pycolmap.Track()
        for k in range(points.track_starts[i], points.track_starts[i + 1]):
            track.add_element(int(points.track_views[k]) + 1, int(place[k]))
        model.add_point3D(points.xyz[i], track, points.rgb[i])
    folder.mkdir(parents=True, exist_ok=True)
    model.write(str(folder))

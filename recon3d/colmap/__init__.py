"""The only package that imports pycolmap: features, matches, databases, mapping and models.

Everything here runs in worker processes: COLMAP aborts the interpreter on some ordinary mistakes.
Only arrays, paths and numbers cross this package's border.
"""

import signal
import threading

import pycolmap

from recon3d.colmap.components import write_components
from recon3d.colmap.database import (
    ImageRow,
    camera_model,
    copy_database,
    features_per_image,
    other_initial_pair,
    read_rows,
    write_database,
    write_matches,
)
from recon3d.colmap.dense_workspace import write_model
from recon3d.colmap.intrinsics import (
    ImageIntrinsics,
    calibrate_from_pairs,
    free_intrinsics,
    regroup_cameras,
)
from recon3d.colmap.joining import join_models
from recon3d.colmap.mapping import Demands, map_globally, map_incrementally, triangulate
from recon3d.colmap.models import (
    camera_groups,
    color_points,
    copy_model,
    drop_implausible,
    drop_uncertain,
    image_statistics,
    read_scene,
    transform_model,
    without_misplaced,
)
from recon3d.colmap.patch_match import match_views
from recon3d.colmap.sift import SiftSettings, extract_sift, match_pairs
from recon3d.colmap.sightings import read_sightings
from recon3d.colmap.snapshots import Growing
from recon3d.colmap.tying import tie_images
from recon3d.colmap.verification import guide, verify_pairs

if threading.current_thread() is threading.main_thread():
    # Importing pycolmap installs its own SIGTERM handler behind Python's back; put ours back.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
pycolmap.logging.minloglevel = pycolmap.logging.WARNING.value

__all__ = [
    "Demands",
    "Growing",
    "ImageIntrinsics",
    "ImageRow",
    "SiftSettings",
    "calibrate_from_pairs",
    "camera_groups",
    "camera_model",
    "color_points",
    "copy_database",
    "copy_model",
    "drop_implausible",
    "drop_uncertain",
    "extract_sift",
    "features_per_image",
    "free_intrinsics",
    "guide",
    "image_statistics",
    "join_models",
    "map_globally",
    "map_incrementally",
    "match_pairs",
    "match_views",
    "other_initial_pair",
    "read_rows",
    "read_scene",
    "read_sightings",
    "regroup_cameras",
    "tie_images",
    "transform_model",
    "triangulate",
    "verify_pairs",
    "without_misplaced",
    "write_components",
    "write_database",
    "write_matches",
    "write_model",
]

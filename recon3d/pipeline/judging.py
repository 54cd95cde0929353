"""The evidence for a verdict, gathered from the artifacts of a run."""

from __future__ import annotations

from collections.abc import Mapping

from recon3d.errors import InputError
from recon3d.layout import DenseCounts, SparseCounts, counts_of, read_registration
from recon3d.pipeline.coverage import measure_coverage
from recon3d.pipeline.verdict import Evidence, Verdict, judge
from recon3d.project.artifacts import Artifact
from recon3d.types import Scene


def judge_artifacts(done: Mapping[str, Artifact], *, known_cameras: bool) -> Verdict | None:
    """Judge the model that a run has made so far.

    Parameters
    ----------
    done : mapping of str to Artifact
        Finished artifacts by stage.
    known_cameras : bool
        Whether the user gave the cameras.

    Returns
    -------
    Verdict or None
        None before there are cameras, or when another version of recon3d left other counts.
    """
    sparse, dense = done.get("sparse_reconstruction"), done.get("dense_reconstruction")
    if sparse is None:
        return None
    try:
        counts = counts_of(SparseCounts, sparse.manifest.counts)
        dense_counts = None if dense is None else counts_of(DenseCounts, dense.manifest.counts)
    except InputError:
        return None
    scene = Scene.load(sparse.path)
    return judge(
        Evidence(
            registration=read_registration(sparse.path),
            counts=counts,
            coverage=measure_coverage(scene),
            feature_scale=_feature_scale(scene, done.get("feature_extraction")),
            known_cameras=known_cameras,
            dense=dense_counts,
        )
    )


def _feature_scale(scene: Scene, features: Artifact | None) -> float:
    """Pixels of a frame for each pixel of the image in which its features were found."""
    if features is None or not len(scene):
        return 1.0
    largest = max(max(view.camera.width, view.camera.height) for view in scene)
    return max(1.0, largest / int(features.manifest.options["max_image_size"]))

"""How good a reconstruction is, as one number from 0 to 1.

The score is sqrt(registered) * (accuracy * completeness) ** 0.25: a geometric mean, half of whose
weight is on the first, of

- registered: the fraction of frames whose camera was found;
- accuracy: 1 / (1 + e²) with the mean reprojection error e in pixels;
- completeness: the fraction of the surface that at least one photo shows.
"""

from __future__ import annotations

from recon3d import Project


def quality_score(project: Project) -> float:
    """Score of a project's newest artifacts; 0 when they are not complete."""
    counts = {stage: artifact.manifest.counts for stage, artifact in project.artifacts.items()}
    sparse, texture = counts.get("sparse_reconstruction", {}), counts.get("texturing", {})
    images, faces = (
        sparse.get("images", 0),
        texture.get("faces_seen", 0) + texture.get("faces_unseen", 0),
    )
    if not images or not faces:
        return 0.0
    registered = sparse.get("registered", 0) / images
    accuracy = 1 / (1 + sparse.get("reprojection_error", 0.0) ** 2)
    completeness = texture["faces_seen"] / faces
    score = registered**0.5 * (accuracy * completeness) ** 0.25
    return round(min(max(float(score), 0.0), 1.0), 4)


def frame_count(project: Project) -> int:
    """Frames of the newest extraction."""
    artifact = project.artifacts.get("frame_extraction")
    return int(artifact.manifest.counts.get("frames", 0)) if artifact else 0

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
    """Score a project's newest artifacts.

    Parameters
    ----------
    project : Project

    Returns
    -------
    float
        0 to 1; 0 when they are not complete.
    """
    made = project.artifacts
    if "sparse_reconstruction" not in made or "texturing" not in made:
        return 0.0
    sparse, texture = made["sparse_reconstruction"].counts, made["texturing"].counts
    faces = texture.faces_seen + texture.faces_unseen
    if not sparse.images or not faces:
        return 0.0
    registered = sparse.registered / sparse.images
    accuracy = 1 / (1 + (sparse.reprojection_error or 0.0) ** 2)
    completeness = texture.faces_seen / faces
    score = registered**0.5 * (accuracy * completeness) ** 0.25
    return round(min(max(float(score), 0.0), 1.0), 4)


def frame_count(project: Project) -> int:
    """Count the frames of the newest extraction.

    Parameters
    ----------
    project : Project

    Returns
    -------
    int
    """
    return len(project.frames)

"""How long the stages of a run take, as far as its finished stages tell what the work is."""

from __future__ import annotations

from collections.abc import Mapping

from recon3d.layout import read_frames
from recon3d.options import StageOptions
from recon3d.preflight.cost import Job, expected_counts, seconds_by_stage, usual_features
from recon3d.preflight.history import measured_counts
from recon3d.project.artifacts import Artifact


def foretell(
    done: Mapping[str, Artifact],
    options: Mapping[str, StageOptions],
    workers: int,
    factors: Mapping[str, float],
) -> dict[str, float]:
    """Foretell how long each stage takes, those that are done included.

    Parameters
    ----------
    done : mapping of str to Artifact
        Finished stages, frame_extraction among them; what they counted takes the place of what was
        expected.
    options : mapping of str to StageOptions
        Those of the run, for all stages.
    workers : int
        Worker processes.
    factors : mapping of str to float
        See `recon3d.preflight.result.InputCheck`.

    Returns
    -------
    dict of str to float
        Seconds by stage.
    """
    extracted = done["frame_extraction"]
    frames = read_frames(extracted.path).frames
    width, height = frames[0].width, frames[0].height
    job = Job(
        frames=len(frames),
        video_frames=sum(frame.kind == "video" for frame in frames),
        width=width,
        height=height,
        features=usual_features(width, height),
        scanned=extracted.manifest.counts["scanned"] * width * height / 1e6,
        input_bytes=0,
        photo_bytes=0,
    )
    measured = measured_counts({stage: artifact.manifest for stage, artifact in done.items()})
    return seconds_by_stage({**expected_counts(job, options), **measured}, workers, factors)

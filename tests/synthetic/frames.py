"""A frame_extraction artifact of made-up pictures, and the stages after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2

from recon3d.compute import InlineContext
from recon3d.layout import Frame, FrameList, images_folder, write_frame_list
from recon3d.options import FeatureExtractionOptions, FeatureMatchingOptions
from recon3d.selection.sharpness import sharpness
from recon3d.stages import feature_extraction, feature_matching
from tests.synthetic.media import Image


def write_frames(folder: Path, images: Sequence[Image], *, video: bool = False) -> Path:
    """Write images as ``000.png``, … with the list of frames; a `video` is one sequence."""
    images_folder(folder).mkdir(parents=True)
    frames = []
    for k, image in enumerate(images):
        name = f"{k:03d}.png"
        cv2.imwrite(str(images_folder(folder) / name), image)
        height, width = image.shape[:2]
        frames.append(
            Frame(
                name=name,
                kind="video" if video else "photo",
                source="clip.mp4" if video else name,
                time=k / 2 if video else None,
                width=width,
                height=height,
                sharpness=sharpness(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)),
                focal_px=None,
                gps=None,
                camera=0,
            )
        )
    names = tuple(frame.name for frame in frames)
    write_frame_list(folder, FrameList(tuple(frames), (names,) if video else ()))
    return folder


def extract(tmp_path: Path, frames: Path, context: InlineContext | None = None) -> Path:
    """Run feature_extraction."""
    out = tmp_path / "features"
    out.mkdir()
    options = FeatureExtractionOptions(max_features=1000, first_octave=0)
    feature_extraction.run({"frame_extraction": frames}, options, out, context or InlineContext())
    return out


def match(tmp_path: Path, frames: Path, context: InlineContext | None = None) -> Path:
    """Run feature_extraction and feature_matching."""
    features = extract(tmp_path, frames)
    out = tmp_path / "matches"
    out.mkdir()
    inputs = {"frame_extraction": frames, "feature_extraction": features}
    feature_matching.run(inputs, FeatureMatchingOptions(), out, context or InlineContext())
    return out

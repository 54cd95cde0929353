"""A project: the folder that holds inputs, artifacts, runs and results of one reconstruction."""

from __future__ import annotations

from recon3d.layout import Input
from recon3d.project.artifacts import Artifact, ArtifactStore, Manifest
from recon3d.project.project import MARKER, Project
from recon3d.project.results import Results
from recon3d.project.runs import RunRecord

__all__ = ["MARKER", "Artifact", "ArtifactStore", "Input", "Manifest", "Project", "Results", "RunRecord"]

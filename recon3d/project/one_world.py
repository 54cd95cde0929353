"""Which artifacts of a project belong to one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from recon3d.project.artifacts import Artifact, ArtifactStore
from recon3d.project.scale import ScaledProject


class ShownProject(ScaledProject, Protocol):
    """What of a project viewers need."""

    @property
    def artifacts(self) -> Mapping[str, Artifact]:
        """Its artifacts by stage."""
        ...

    @property
    def store(self) -> ArtifactStore:
        """Where artifacts are kept."""
        ...


def belonging_together(project: ShownProject) -> tuple[dict[str, Artifact], str]:
    """Choose the newest artifacts that one sparse reconstruction, and so one world, is behind.

    A run that ended early leaves new cameras beside the surface of an earlier run.

    Parameters
    ----------
    project : ShownProject

    Returns
    -------
    artifacts : dict of str to Artifact
        By stage.
    note : str
        What people must know of the choice, in words; empty where there is nothing.
    """
    made = dict(project.artifacts)
    newest = made.get("sparse_reconstruction")
    surfaces = [
        _family(project.store, made[stage])
        for stage in ("texturing", "mesh_generation", "dense_reconstruction")
        if stage in made
    ]
    for family in surfaces:
        if newest is not None and family.get("sparse_reconstruction") == newest:
            return family, ""
    if surfaces:
        return surfaces[0], "an earlier run's model, since the newest has none yet"
    return made, ""


def _family(store: ArtifactStore, artifact: Artifact) -> dict[str, Artifact]:
    """An artifact and all that it was made from, by stage."""
    found = {artifact.stage: artifact}
    for stage, fingerprint in artifact.manifest.inputs.items():
        source = store.find(stage, fingerprint)
        if source is not None:
            found |= _family(store, source)
    return found

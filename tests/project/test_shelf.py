"""Finished artifacts in a storage."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import fsspec
import pytest

from recon3d.errors import Cancelled, StageError
from recon3d.project.shelf import Shelf
from tests.synthetic.made_project import made_project, start_anew


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_another_project_gets_an_artifact_as_it_was(tmp_path: Path) -> None:
    shelf = Shelf(f"memory://{tmp_path.name}", threading.Event())
    project = made_project(tmp_path / "one")
    made = project.artifacts["texturing"]
    before = files_in(made.path)
    shelf.put(made, replace=False)
    other = made_project(tmp_path / "other")
    start_anew(other)
    for path in other.store.finished.glob("texturing-*"):
        other.store.remove(path)
    assert shelf.fetch(other.store, "texturing", "0" * 16) is None
    found = shelf.fetch(other.store, "texturing", made.manifest.fingerprint)
    assert found is not None
    assert files_in(found.path) == before
    assert found.manifest == made.manifest


def test_what_is_there_in_part_is_not_taken(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    shelf, project = Shelf(url, threading.Event()), made_project(tmp_path / "one")
    made = project.artifacts["texturing"]
    shelf.put(made, replace=False)
    fingerprint = made.manifest.fingerprint
    project.store.remove(made.path)
    files, root = fsspec.url_to_fs(url)
    blobs = files.find(f"{root}/blobs")
    files.rm_file(blobs[0])
    assert shelf.fetch(project.store, "texturing", fingerprint) is None
    assert project.store.find("texturing", fingerprint) is None
    rows = json.dumps([["../../outside", blobs[1].rpartition("/")[2], 1]])
    files.pipe_file(f"{root}/artifacts/texturing-{fingerprint}.json", rows.encode())
    with pytest.raises(StageError, match="names a file outside the artifact"):
        shelf.fetch(project.store, "texturing", fingerprint)
    assert not (tmp_path / "outside").exists()


def test_cancelling_ends_it(tmp_path: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    made = made_project(tmp_path / "one").artifacts["texturing"]
    with pytest.raises(Cancelled):
        Shelf(f"memory://{tmp_path.name}", cancelled).put(made, replace=True)

"""Finished artifacts in a storage."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from recon3d.errors import Cancelled, StageError
from recon3d.project import Project
from recon3d.project.artifacts import ArtifactStore
from recon3d.project.shelf import Shelf
from tests.synthetic.made_project import made_project, start_anew


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    return tmp_path / "bucket"


@pytest.fixture
def shelf(bucket: Path) -> Shelf:
    return Shelf(bucket.as_uri(), threading.Event())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return made_project(tmp_path / "one")


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_another_project_gets_an_artifact_as_it_was(
    shelf: Shelf, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = project.artifacts["texturing"]
    (made.path / "empty" / "inner").mkdir(parents=True)
    before = files_in(made.path)
    shelf.put(made, replace=False)
    (tmp_path / "sub").mkdir()
    other = made_project(tmp_path / "sub" / ".." / "other")
    start_anew(other)
    for path in other.store.finished.glob("texturing-*"):
        other.store.remove(path)
    assert shelf.fetch(other.store, "texturing", "0" * 16) is None
    synced: set[int] = set()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.add(os.fstat(file).st_ino), fsync(file)))
    found = shelf.fetch(other.store, "texturing", made.manifest.fingerprint)
    assert found is not None
    assert files_in(found.path) == before
    assert found.manifest == made.manifest
    assert (found.path / "empty" / "inner").is_dir()
    assert {(found.path / name).stat().st_ino for name in before} <= synced
    assert found.path.parent.stat().st_ino in synced


def test_what_is_there_in_part_is_not_taken_and_is_sent_again(
    shelf: Shelf, project: Project, bucket: Path, tmp_path: Path
) -> None:
    made = project.artifacts["texturing"]
    shelf.put(made, replace=False)
    fingerprint = made.manifest.fingerprint
    blobs = sorted((bucket / "blobs").glob("*/*"))
    blobs[0].unlink()
    other = made_project(tmp_path / "other")
    for path in other.store.finished.glob("texturing-*"):
        other.store.remove(path)
    assert shelf.fetch(other.store, "texturing", fingerprint) is None
    assert other.store.find("texturing", fingerprint) is None
    shelf.put(made, replace=False)
    assert sorted((bucket / "blobs").glob("*/*")) == blobs
    assert shelf.fetch(other.store, "texturing", fingerprint) is not None


DIGEST = "0" * 64


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'[["manifest.json", "', "is damaged"),
        (b'{"files": 3}', "is damaged"),
        (b'[["manifest.json"]]', "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (json.dumps([["mesh.ply", DIGEST, 1]]).encode(), "is damaged"),
        (json.dumps([["manifest.json", "../../key", 1]]).encode(), "is damaged"),
        (
            json.dumps([["../../outside", DIGEST, 1]]).encode(),
            "names a file outside the artifact: ../",
        ),
        (json.dumps([["/outside", DIGEST, 1]]).encode(), "names a file outside the artifact: /outside"),
    ],
    ids=["cut", "no list", "short row", "no text", "no manifest", "no digest", "outside", "absolute"],
)
def test_a_damaged_list_is_named(
    shelf: Shelf, bucket: Path, tmp_path: Path, text: bytes, problem: str
) -> None:
    (bucket / "blobs" / DIGEST[:2]).mkdir(parents=True)
    (bucket / "blobs" / DIGEST[:2] / DIGEST).touch()
    (bucket / "artifacts").mkdir()
    (bucket / "artifacts" / "texturing-0.json").write_bytes(text)
    store = ArtifactStore(tmp_path / "project")
    with pytest.raises(StageError, match=f"^artifacts/texturing-0.json in the storage {problem}") as told:
        shelf.fetch(store, "texturing", "0")
    assert told.value.hint == "Remove it there: the stage is run again then."
    assert not store.finished.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bucket"]


def test_a_damaged_list_of_an_artifact_that_is_here_is_replaced(
    shelf: Shelf, project: Project, bucket: Path
) -> None:
    made = project.artifacts["texturing"]
    shelf.put(made, replace=False)
    path = bucket / "artifacts" / f"{made.path.name}.json"
    before = path.read_text()
    path.write_text(before[:-10])
    shelf.put(made, replace=False)
    assert path.read_text() == before


def test_cancelling_ends_it(project: Project, bucket: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        Shelf(bucket.as_uri(), cancelled).put(project.artifacts["texturing"], replace=True)

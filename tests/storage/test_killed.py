"""Processes that are killed while they send: nothing half there counts, and the next one sends it again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recon3d.io.digest import digest_of
from recon3d.project import Project
from recon3d.project.shelf import Shelf
from recon3d.storage import Storage
from tests.storage.s3_server import S3Server, bucket_of, serving
from tests.synthetic.made_project import made_project

#: Bytes from which a file is sent in parts.
_IN_PARTS = 2 * 50 << 20

_SHELVE = """
import sys, threading
from pathlib import Path
from recon3d.project import Project
from recon3d.project.shelf import Shelf
made = Project.open(Path(sys.argv[1])).artifacts["frame_extraction"]
Shelf(sys.argv[2], threading.Event()).put(made, replace=False)
"""
_SEND = """
import sys
from pathlib import Path
from recon3d.io.digest import digest_of
from recon3d.storage import Storage
path = Path(sys.argv[1])
Storage(sys.argv[2]).put(path, digest_of(path))
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with serving() as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made
        made.writes = None


@pytest.fixture
def bucket(server: S3Server) -> Iterator[Any]:
    with bucket_of(server) as made:
        yield made


def kill_when(reached: Callable[[], bool], code: str, *arguments: object) -> None:
    """Run some Python, and kill it at a moment."""
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()


def test_an_artifact_that_is_sent_in_part_is_not_there(server: S3Server, bucket: Any, tmp_path: Path) -> None:
    project = made_project(tmp_path / "box")
    made = project.artifacts["frame_extraction"]
    server.writes = 3
    kill_when(lambda: len(list(bucket.objects.all())) == 3, _SHELVE, project.path, server.url)
    server.writes = None
    assert all(entry.key.startswith("projects/blobs/") for entry in bucket.objects.all())
    other = Project.create(tmp_path / "other")
    shelf = Shelf(server.url, threading.Event())
    assert shelf.fetch(other.store, made.stage, made.manifest.fingerprint) is None
    shelf.put(made, replace=False)
    found = shelf.fetch(other.store, made.stage, made.manifest.fingerprint)
    assert found is not None
    files = [path.relative_to(made.path) for path in made.path.rglob("*") if path.is_file()]
    assert files
    for file in files:
        assert (found.path / file).read_bytes() == (made.path / file).read_bytes()


def test_a_large_file_whose_parts_are_sent_in_part_is_not_there(
    server: S3Server, bucket: Any, tmp_path: Path
) -> None:
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.write(os.urandom(1000))
        file.truncate(_IN_PARTS + 1000)
    digest = digest_of(path)
    server.writes = 1

    def has_a_part() -> bool:
        return any(list(upload.parts.all()) for upload in bucket.multipart_uploads.all())

    kill_when(has_a_part, _SEND, path, server.url)
    server.writes = None
    left = list(bucket.multipart_uploads.all())
    assert [upload.object_key for upload in left] == [f"projects/blobs/{digest[:2]}/{digest}"]
    storage = Storage(server.url)
    assert not storage.has(digest)
    storage.put(path, digest)
    storage.fetch(digest, tmp_path / "came")
    assert digest_of(tmp_path / "came") == digest

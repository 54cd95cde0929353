"""Runs over S3 that are killed: the same command goes on, here or on another machine, to the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from recon3d.project import Project
from recon3d.stage_table import STAGE_NAMES
from recon3d.storage import Cache
from tests.compute import clusters
from tests.storage.s3_server import bucket_of, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

#: Where a run is killed: when this much of a stage is done, in the stage's units.
_KILLS = {"feature_extraction": 6.0, "dense_reconstruction": 50.0, "mesh_generation": 60.0}
_LAST = "mesh_generation"
_FINISHED = STAGE_NAMES[: STAGE_NAMES.index(_LAST)]

#: A file is the same as long as this is.
State = tuple[int, int]


@dataclass
class Runs:
    """Runs of one project over one prefix of a bucket.

    Parameters
    ----------
    project : Path
    scheduler : str
    bucket : Any
        Of boto3.
    prefix : str
    left : dict of Path to State
        Whole products of the stage that was killed last.
    repeated : list of Path
        Those of them that were made again.
    """

    project: Path
    scheduler: str
    bucket: Any
    prefix: str
    left: dict[Path, State] = field(default_factory=dict)
    repeated: list[Path] = field(default_factory=list)

    @property
    def storage(self) -> str:
        """Its address."""
        return f"s3://{self.bucket.name}/{self.prefix}"

    def kill_in(self, stage: str, done: float) -> None:
        """Run, and kill the run when so much of a stage is done."""
        process = self._start()
        assert process.stdout is not None
        for event in map(json.loads, process.stdout):
            self._watch()
            if event["type"] == "stage_progress" and event["stage"] == stage and event["done"] >= done:
                break
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL, f"{stage} was over"
        (work,) = (self.project / "work").glob(f"{stage}-*")
        self.left = {path: _state(path) for path in work.rglob("*") if _is_product(path)}
        assert self.left

    def finish(self) -> list[dict[str, Any]]:
        """Run to the end, and return the events."""
        process = self._start()
        assert process.stdout is not None
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            self._watch()
        process.stdout.close()
        assert process.wait() == 0, events[-3:]
        return events

    def _start(self) -> subprocess.Popen[str]:
        where = ("--scheduler", self.scheduler, "--storage", self.storage)
        return clusters.small_run(self.project, *where, "--events", stdout=subprocess.PIPE, text=True)

    def _watch(self) -> None:
        """Look whether what was left is made again; steps remove what nothing needs any more."""
        for path, state in self.left.items():
            for place in (path, self.project / "artifacts" / path.relative_to(self.project / "work")):
                if place.exists() and _state(place) != state:
                    self.repeated.append(path)


def _is_product(path: Path) -> bool:
    """Whether a task made a file; the run itself writes the points that each view sees, for the tasks."""
    own = path.parent.name == "seen" or any(part.startswith(".tmp-") for part in path.parts)
    return path.is_file() and not own


def _state(path: Path) -> State:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def stored_stages(runs: Runs) -> set[str]:
    """Check that nothing in a storage is half there, and tell which stages are."""
    folder = f"{runs.prefix}/"
    found = {entry.key.removeprefix(folder): entry for entry in runs.bucket.objects.filter(Prefix=folder)}
    blobs = {name.rpartition("/")[2] for name in found if name.startswith("blobs/")}
    assert blobs
    stages = set()
    for name, entry in found.items():
        content = entry.get()["Body"].read()
        if name.startswith("blobs/"):
            assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]
        else:
            assert name.startswith("artifacts/"), name
            assert {digest for _, digest, _ in json.loads(content) if digest} <= blobs
            stages.add(name.removeprefix("artifacts/").partition("-")[0])
    assert not list(runs.bucket.multipart_uploads.all())
    return stages


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runs, Runs]]:
    """A run that was killed in three stages and goes on; and one elsewhere, with a storage as it was then."""
    folder = tmp_path_factory.mktemp("killed")
    with serving() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        options = ["--processes", "2", "--cache", str(folder / "cache"), "--cache-size", "1GB"]
        with (
            clusters.scheduler(folder) as (_, address),
            clusters.workers(address, folder, *options),
            bucket_of(server) as bucket,
        ):
            runs = Runs(folder / "here" / "bust", address, bucket, "here")
            for stage, done in _KILLS.items():
                runs.kill_in(stage, done)
                assert stored_stages(runs) == set(STAGE_NAMES[: STAGE_NAMES.index(stage)])
            for entry in bucket.objects.filter(Prefix="here/"):
                source = {"Bucket": bucket.name, "Key": entry.key}
                bucket.copy(source, entry.key.replace("here/", "there/", 1))
            yield runs, Runs(folder / "there" / "statue", address, bucket, "there")


def test_a_killed_run_goes_on_and_does_nothing_twice(
    killed: tuple[Runs, Runs], local_model: dict[str, str]
) -> None:
    runs, _ = killed
    events = runs.finish()
    skipped = {event["stage"]: event["reason"] for event in events if event["type"] == "stage_skipped"}
    assert skipped == dict.fromkeys(_FINISHED, "up to date")
    assert not runs.repeated
    assert clusters.digests(runs.project) == local_model
    assert stored_stages(runs) == set(STAGE_NAMES)
    # What was arriving when the runs were killed is gone.
    assert not list((runs.project / "work").iterdir())


def test_another_machine_takes_finished_stages_and_makes_the_rest(
    killed: tuple[Runs, Runs], local_model: dict[str, str]
) -> None:
    here, there = killed
    # Workers of another machine have nothing either.
    Cache(here.project.parents[1] / "cache").drop()
    events = there.finish()
    skipped = {event["stage"]: event["reason"] for event in events if event["type"] == "stage_skipped"}
    assert skipped == dict.fromkeys(_FINISHED, f"fetched from {there.storage}")
    made = [event["stage"] for event in events if event["type"] == "stage_completed"]
    assert made == list(STAGE_NAMES[len(_FINISHED) :])
    assert clusters.digests(there.project) == local_model
    assert stored_stages(there) == set(STAGE_NAMES)
    assert Project.open(there.project).results.textured_mesh is not None

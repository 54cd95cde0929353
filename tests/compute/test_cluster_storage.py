"""Hosts without a common disk, and a real S3 server between them; needs root and iproute2."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from recon3d.compute import Cluster, StageContext, cluster_for_run, reads
from recon3d.errors import StageError
from recon3d.storage import store as store_module
from tests.compute import clusters
from tests.compute.namespaces import NO_NAMESPACES, Hosts, Network, hosts_without_disk, without
from tests.compute.task_times import measured

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(NO_NAMESPACES), reason=NO_NAMESPACES)]


@pytest.fixture
def hosts(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    projects = tmp_path / "projects"
    projects.mkdir()
    with hosts_without_disk(network, tmp_path, projects, {"a": 2, "b": 2}) as made:
        for name, value in made.server.environment.items():
            monkeypatch.setenv(name, value)
        yield made


def test_hosts_without_a_common_disk_make_the_same_model(
    hosts: Hosts, tmp_path: Path, local_model: dict[str, str]
) -> None:
    project = tmp_path / "projects" / "statue"
    run = clusters.small_run(project, "--scheduler", hosts.scheduler, "--storage", hosts.server.url)
    assert run.wait() == 0
    assert clusters.digests(project) == local_model
    counted = clusters.moved(project)
    print(json.dumps(counted, indent=1))
    assert all(stage["fetched"] and stage["sent"] and stage["downloaded"] for stage in counted.values())
    # Each host fetches the film once, however many tasks read it.
    film = next((project / "inputs").rglob("*.mp4")).stat().st_size
    assert counted["frame_extraction"]["uploaded"] - film < 1000
    assert counted["frame_extraction"]["fetched"] < 2.5 * film
    # No more comes back than was made.
    assert all(stage["downloaded"] == stage["sent"] for stage in counted.values())


def test_workers_that_are_killed_make_the_same_model(
    hosts: Hosts, tmp_path: Path, local_model: dict[str, str]
) -> None:
    project = tmp_path / "projects" / "statue"
    run = clusters.small_run(project, "--scheduler", hosts.scheduler, "--storage", hosts.server.url)
    with measured(hosts.scheduler, hosts.processes, every=6) as times:
        assert run.wait() == 0
    print(times)
    assert times.killed >= 2
    assert sum(times.needed.values()) > 10
    assert sum(times.lost.values()) < 6 * times.killed
    assert clusters.digests(project) == local_model
    left = [path for cache in hosts.caches for path in (cache / "tasks").glob("*/*")]
    assert len(left) <= times.killed


def test_a_storage_that_fails_is_one_sentence_and_the_run_resumes(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PATIENCE", 3.0)
    project = tmp_path / "projects" / "statue"
    folder = project / "work" / "stage-0"
    folder.mkdir(parents=True)
    make = {"folder": project, "storage": hosts.server.url}
    with cluster_for_run(lambda: Cluster(hosts.scheduler, **make)) as cluster:
        context = StageContext(cluster, lambda *_: None)
        context.call(write, folder / "first", 1000)
        hosts.server.always = "500"
        with pytest.raises(StageError) as told:
            context.call(write, folder / "second", 1000)
        message = told.value.message
        assert message.startswith(f"The storage {hosts.server.url} failed on ")
        assert "InternalError" in message or "We failed" in message
        assert "finished work is reused" in told.value.hint
        hosts.server.always = None
        context.call(write, folder / "second", 1000)
        assert (folder / "second").stat().st_size == 1000


@reads(lambda path, size: [])
def write(path: Path, size: int) -> None:
    path.write_bytes(os.urandom(size))


@reads(lambda source, target: [source])
def copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def test_a_full_disk_drops_the_cache_and_then_is_one_sentence(tmp_path: Path) -> None:
    project, small = tmp_path / "projects" / "statue", tmp_path / "cache"
    folder = project / "work" / "stage-0"
    folder.mkdir(parents=True)
    small.mkdir()
    prefix = without(project.parent, mebibytes=8, small=small)
    options = ["--processes", "1", "--cache", str(small), "--cache-size", "1GB"]
    make = {"folder": project, "storage": f"file://{tmp_path}/store"}
    with (
        clusters.scheduler(tmp_path) as (_, address),
        clusters.workers(address, tmp_path, *options, prefix=prefix),
        cluster_for_run(lambda: Cluster(address, **make)) as cluster,
    ):
        context = StageContext(cluster, lambda *_: None)
        # Twelve megabytes go through a disk of eight.
        for number in range(6):
            context.call(write, folder / f"{number}", 2 << 20)
        context.call(copy, folder / "0", folder / "copy")
        assert (folder / "copy").read_bytes() == (folder / "0").read_bytes()
        with pytest.raises(StageError, match=rf"disk of the worker's machine .* is full at {small}") as told:
            context.call(write, folder / "large", 10 << 20)
        assert "--cache" in told.value.hint
        assert not (folder / "large").exists()
        context.call(write, folder / "last", 1000)
        assert (folder / "last").stat().st_size == 1000

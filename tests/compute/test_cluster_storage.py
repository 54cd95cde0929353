"""Hosts without a common disk, and a real S3 server between them; needs root and iproute2."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from recon3d.compute import Cluster, StageContext, cluster_for_run, reads
from recon3d.errors import StageError
from recon3d.storage import store as store_module
from tests.compute import clusters
from tests.compute.test_cluster_hosts import Network, network
from tests.storage.s3_server import S3Server, serving

__all__ = ["network"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and iproute2"
    ),
]


def without(folder: Path, *, mebibytes: int = 0, small: Path | None = None) -> list[str]:
    """The beginning of a command that does not see a folder, and may have a small disk at another one."""
    mounts = f"mount -t tmpfs none {folder}"
    if small is not None:
        mounts += f" && mount -t tmpfs -o size={mebibytes}m none {small}"
    return ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]


class Hosts:
    """A scheduler, workers on two hosts, and S3, all with addresses of their own."""

    def __init__(self, scheduler: str, workers: Sequence[psutil.Popen], server: S3Server) -> None:
        self.scheduler, self.workers, self.server = scheduler, workers, server


@pytest.fixture
def hosts(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    projects = tmp_path / "projects"
    projects.mkdir()
    address = network.host("s")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("10.77.0.1"))
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        _, scheduler = stack.enter_context(
            clusters.scheduler(tmp_path, host=address, prefix=[*network.inside("s"), *without(projects)])
        )
        started = []
        for name in ("a", "b"):
            network.host(name)
            options = ["--processes", "1", "--cache", str(tmp_path / f"cache-{name}"), "--cache-size", "1GB"]
            prefix = [*network.inside(name), *without(projects)]
            started.append(
                stack.enter_context(clusters.workers(scheduler, tmp_path, *options, prefix=prefix))
            )
        yield Hosts(scheduler, started, server)


def moved(project: Path) -> dict[str, dict[str, int]]:
    manifests = [json.loads(path.read_text()) for path in project.glob("artifacts/*/manifest.json")]
    return {m["stage"]: m["moved"] for m in sorted(manifests, key=lambda m: m["started"])}


def test_hosts_without_a_common_disk_make_the_same_model(
    hosts: Hosts, tmp_path: Path, local_model: dict[str, str]
) -> None:
    project = tmp_path / "projects" / "statue"
    run = clusters.small_run(project, "--scheduler", hosts.scheduler, "--storage", hosts.server.url)
    assert run.wait() == 0
    assert clusters.digests(project) == local_model
    counted = moved(project)
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
    choose, killed = random.Random(5), 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(6)
            break
        running = [process for worker in hosts.workers for process in clusters.worker_processes(worker)]
        if running:
            choose.choice(running).send_signal(signal.SIGKILL)
            killed += 1
    assert run.returncode == 0
    assert killed >= 2
    assert clusters.digests(project) == local_model
    left = [path for name in "ab" for path in (tmp_path / f"cache-{name}" / "tasks").glob("*/*")]
    assert len(left) <= killed


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
